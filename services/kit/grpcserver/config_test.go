package grpcserver_test

import (
	"flag"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		args string
		lis  net.Listener
		want []string
	}{
		{"", nil, nil},
		{"-x.grpc=nonsense -x.grpc-internal=nonsense", memnet.Listen("x"), nil},
		{"-x.grpc=127.0.0.1:1 -x.grpc-internal=[::1]:1", nil, nil},
		{"-x.grpc=localhost:1", nil, nil},
		{"-x.grpc=:1 -x.grpc-internal=0.0.0.0:1 -x.grpc-drain=-1s", nil, []string{
			"-x.grpc-drain: must not be negative",
			"-x.grpc: :1 is not on loopback: give -x.grpc-cert and -x.grpc-key, or -x.grpc-plaintext",
			"-x.grpc-internal: 0.0.0.0:1 is not on loopback: give -x.grpc-client-ca, -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc=:1 -x.grpc-plaintext", nil, nil},
		{"-x.grpc=:1 -x.grpc-internal=:2 -x.grpc-cert=c -x.grpc-key=k -x.grpc-client-ca=a", nil, nil},
		{"-x.grpc-internal=:2 -x.grpc-cert=c -x.grpc-key=k", nil, []string{
			"-x.grpc-internal: :2 is not on loopback: give -x.grpc-client-ca, -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc-cert=c", nil, []string{"-x.grpc-cert and -x.grpc-key go together"}},
		{"-x.grpc-client-ca=c", nil, []string{"-x.grpc-client-ca needs -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc=nonsense -x.grpc-internal=nonsense", nil, []string{
			`-x.grpc: "nonsense" is not host:port`, `-x.grpc-internal: "nonsense" is not host:port`}},
	} {
		cfg := grpcserver.Default("", "")
		cfg.Listener, cfg.InternalListener = tt.lis, tt.lis
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		cfg.Flags(fs, "x.")
		if err := fs.Parse(strings.Fields(tt.args)); err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		got := ""
		if err := cfg.Check(); err != nil {
			got = err.Error()
		}
		if want := strings.Join(tt.want, "\n"); got != want {
			t.Errorf("Check of %q = %q, want %q", tt.args, got, want)
		}
	}
}

func TestFlagsKeepDefaults(t *testing.T) {
	cfg := grpcserver.Default("127.0.0.1:9190", "127.0.0.1:9290")
	cfg.Flags(flag.NewFlagSet("x", flag.ContinueOnError), "")
	if cfg.Addr != "127.0.0.1:9190" || cfg.InternalAddr != "127.0.0.1:9290" || cfg.Drain != 10*time.Second {
		t.Errorf("Flags made %+v of the defaults", cfg)
	}
}

func TestOnlyDefaultMakesAConfig(t *testing.T) {
	if err := new(grpcserver.Config).Check(); err == nil || err.Error() != "the gRPC of no service: its configuration is made by Default" {
		t.Errorf("Check of a Config that Default has not made = %v, want the field", err)
	}
}
