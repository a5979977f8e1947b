package standalone

import (
	"flag"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

// fixed is a listener that only has an address.
type fixed struct {
	net.Listener
	at string
}

// Addr returns the address.
func (f fixed) Addr() net.Addr {
	host, port, _ := net.SplitHostPort(f.at)
	number, _ := net.LookupPort("tcp", port)
	return &net.TCPAddr{IP: net.ParseIP(host), Port: number}
}

// TestLoopbackBackends configures where the server listens, and what the user says.
func TestLoopbackBackends(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, env []string
		ws        string
		want      bool
	}{
		{ws: "127.0.0.1:9099", want: true},
		{ws: "[::1]:9099", want: true},
		{ws: "0.0.0.0:9099", want: false},
		{ws: "[::]:9099", want: false},
		{ws: "192.0.2.1:9099", want: false},
		{args: []string{"-gateway.dial-loopback"}, ws: "0.0.0.0:9099", want: true},
		{args: []string{"-gateway.dial-loopback=false"}, ws: "127.0.0.1:9099", want: false},
		{env: []string{"TIDEGATE_GATEWAY_DIAL_LOOPBACK=true"}, ws: "0.0.0.0:9099", want: true},
	} {
		cfg := Default()
		fs := flag.NewFlagSet("tidegate", flag.ContinueOnError)
		cfg.Flags(fs)
		if err := run.Parse("tidegate", fs, tt.args, tt.env); err != nil {
			t.Fatal(err)
		}
		open := sockets{"https": fixed{at: "127.0.0.1:9443"}, "ops": fixed{at: "127.0.0.1:9091"}, "ws": fixed{at: tt.ws}, sampleFlag: fixed{at: "127.0.0.1:9098"}}
		cfg.reach(open, slog.New(slog.DiscardHandler))
		if got := cfg.gateway.Upstream.AllowLoopback; got != tt.want {
			t.Errorf("%q %q, with WebSocket at %s: loopback allowed = %v, want %v", tt.args, tt.env, tt.ws, got, tt.want)
		}
		var own []int
		for _, a := range cfg.gateway.Upstream.Own {
			own = append(own, a.(*net.TCPAddr).Port)
		}
		slices.Sort(own)
		if want := []int{9091, 9099, 9443}; !slices.Equal(own, want) || cfg.gateway.Upstream.Sample.String() != "127.0.0.1:9098" {
			t.Errorf("own ports %v, sample %v, want %v and 127.0.0.1:9098", own, cfg.gateway.Upstream.Sample, want)
		}
	}
}

// TestAddressesAreNamedAsTheyAreListenedOn gives hosts and addresses of both families.
func TestAddressesAreNamedAsTheyAreListenedOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ host, ws, at, want, local string }{
		{"127.0.0.1", "9099", "127.0.0.1:9099", "ws://localhost:9099", "127.0.0.1:9099"},
		{"localhost", "9099", "127.0.0.1:9099", "ws://localhost:9099", "127.0.0.1:9099"},
		{"0.0.0.0", "9099", "0.0.0.0:9099", "ws://localhost:9099", "127.0.0.1:9099"},
		{"::", "9099", "[::]:9099", "ws://localhost:9099", "127.0.0.1:9099"},
		{"::1", "9099", "[::1]:9099", "ws://[::1]:9099", "[::1]:9099"},
		{"127.0.0.1", "[::1]:0", "[::1]:4711", "ws://[::1]:4711", "[::1]:4711"},
		{"2001:db8::7", "9099", "[2001:db8::7]:9099", "ws://[2001:db8::7]:9099", "[2001:db8::7]:9099"},
		{"gateway.example.com", "9099", "192.0.2.1:9099", "ws://gateway.example.com:9099", "192.0.2.1:9099"},
		{"127.0.0.1", "192.0.2.1:9099", "192.0.2.1:9099", "ws://192.0.2.1:9099", "192.0.2.1:9099"},
	} {
		cfg := Default()
		cfg.Host, cfg.WS = tt.host, tt.ws
		if err := cfg.Check(); err != nil {
			t.Errorf("-host %s -ws %s: %v", tt.host, tt.ws, err)
		}
		open := sockets{"ws": fixed{at: tt.at}}
		if got := cfg.addresses(open).WS; got != tt.want || open.local("ws") != tt.local {
			t.Errorf("-host %s -ws %s at %s is named %s and probed at %s, want %s and %s", tt.host, tt.ws, tt.at, got, open.local("ws"), tt.want, tt.local)
		}
		if host, _, err := net.SplitHostPort(tt.want[len("ws://"):]); err != nil || !slices.Contains(cfg.names(), host) {
			t.Errorf("-host %s -ws %s: the certificate is for %q, want %s among them", tt.host, tt.ws, cfg.names(), host)
		}
	}
}
