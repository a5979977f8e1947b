package grpcserver_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestConfig(t *testing.T) {
	lis := memnet.Listen("x")
	for _, tt := range []struct {
		args string
		cfg  grpcserver.Config
		want []string
	}{
		{"", grpcserver.Config{}, nil},
		{"", grpcserver.Config{Listener: lis, InternalListener: lis, Addr: "nonsense", InternalAddr: "nonsense"}, nil},
		{"-x.grpc=127.0.0.1:1 -x.grpc-internal=[::1]:1", grpcserver.Config{}, nil},
		{"-x.grpc=localhost:1", grpcserver.Config{}, nil},
		{"-x.grpc=:1 -x.grpc-internal=0.0.0.0:1 -x.grpc-drain=-1s", grpcserver.Config{}, []string{
			"-x.grpc-drain: must not be negative",
			"-x.grpc: :1 is not on loopback: give -x.grpc-cert and -x.grpc-key, or -x.grpc-plaintext",
			"-x.grpc-internal: 0.0.0.0:1 is not on loopback: give -x.grpc-client-ca, -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc=:1 -x.grpc-plaintext", grpcserver.Config{}, nil},
		{"-x.grpc=:1 -x.grpc-internal=:2 -x.grpc-cert=c -x.grpc-key=k -x.grpc-client-ca=a", grpcserver.Config{}, nil},
		{"-x.grpc-internal=:2 -x.grpc-cert=c -x.grpc-key=k", grpcserver.Config{}, []string{
			"-x.grpc-internal: :2 is not on loopback: give -x.grpc-client-ca, -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc-cert=c", grpcserver.Config{}, []string{"-x.grpc-cert and -x.grpc-key go together"}},
		{"-x.grpc-client-ca=c", grpcserver.Config{}, []string{"-x.grpc-client-ca needs -x.grpc-cert and -x.grpc-key"}},
		{"-x.grpc=nonsense -x.grpc-internal=nonsense", grpcserver.Config{}, []string{
			`-x.grpc: "nonsense" is not host:port`, `-x.grpc-internal: "nonsense" is not host:port`}},
	} {
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		tt.cfg.Flags(fs, "x.")
		if err := fs.Parse(strings.Fields(tt.args)); err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		got := ""
		if err := tt.cfg.Check(); err != nil {
			got = err.Error()
		}
		if want := strings.Join(tt.want, "\n"); got != want {
			t.Errorf("Check of %q = %q, want %q", tt.args, got, want)
		}
	}
}

func TestFlagsKeepDefaults(t *testing.T) {
	cfg := grpcserver.Config{Addr: "127.0.0.1:9190"}
	cfg.Flags(flag.NewFlagSet("x", flag.ContinueOnError), "")
	if cfg.Addr != "127.0.0.1:9190" || cfg.Drain != 10*time.Second {
		t.Errorf("Flags made %+v of the defaults", cfg)
	}
}
