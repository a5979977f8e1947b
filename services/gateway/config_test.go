package gateway

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// program runs the program as its command does and returns its exit code and what
// it says.
func program(t *testing.T, env []string, args ...string) (code int, said string) {
	t.Helper()
	cfg := Default()
	var out strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code = run.Exec(ctx, run.Program{Name: "gateway", Args: args, Env: env, Stdout: io.Discard, Stderr: &out},
		func(fs *flag.FlagSet) { cfg.Flags(fs, "") }, cfg.Check,
		func(ctx context.Context, _ *slog.Logger) error {
			cfg.Ready = func(Addrs) { cancel() }
			return Run(ctx, cfg, slog.New(slog.DiscardHandler))
		})
	return code, out.String()
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "master-key")
	if _, err := seal.Create(key); err != nil {
		t.Fatal(err)
	}
	good := []string{
		"-master-key-file", key, "-data", filepath.Join(dir, "data"), "-ws", "127.0.0.1:0", "-wss", "127.0.0.1:0",
		"-grpc", "", "-grpc-internal", "", "-ops", "", "-drain", "1ms",
	}
	for name, tt := range map[string]struct {
		env  []string
		args []string
		code int
		want []string
	}{
		"good":          {nil, good, 0, nil},
		"good from env": {[]string{"TIDEGATE_GATEWAY_INSTANCE=gw-7"}, good, 0, nil},
		"no key":        {nil, good[2:], 2, []string{"-master-key-file: is needed"}},
		"key that is not there": {nil, append(slices.Clip(good), "-master-key-file", "/nonexistent"), 1, []string{
			"read master key: stat /nonexistent: no such file or directory",
		}},
		"everything wrong": {[]string{"TIDEGATE_GATEWAY_PONG=-2s"}, []string{
			"-instance", "Gateway One", "-data", "", "-ping", "-1s", "-drain", "-1s", "-max-message", "-1", "-flood", "-1",
			"-tls-cert", "cert.pem", "-ws", "9099", "-catalog", "catalog:9291", "-subscription", "", "-grpc", "0.0.0.0:9193", "-grpc-advertise", "0.0.0.0:9293",
			"-ops", "here", "-dial-timeout", "-1s",
		}, 2, []string{
			`-instance: "Gateway One" is not 1 to 63 characters of a-z, 0-9 and - with a letter or digit at both ends`,
			"-master-key-file: is needed",
			"-data: is needed",
			"-grpc-advertise: 0.0.0.0:9293 is every interface, not one host",
			"-drain: must not be negative",
			"-catalog: catalog:9291 is not on loopback, so -catalog-ca, -catalog-cert and -catalog-key are needed",
			"-subscription: an address is needed",
			"-tls-cert and -tls-key go together",
			`-ws: "9099" is not host:port`,
			"-dial-timeout: must be more than 0, or no backend could be connected to",
			"-ping: must not be negative",
			"-pong: must not be negative (set by TIDEGATE_GATEWAY_PONG)",
			"-max-message: must not be negative",
			"-flood: must not be negative",
			"-grpc: 0.0.0.0:9193 is not on loopback: give -grpc-cert and -grpc-key, or -grpc-plaintext",
			`-ops: "here" is not host:port`,
		}},
		"no address to advertise": {nil, append(slices.Clip(good), "-grpc-internal", ":9293", "-grpc-cert", "c", "-grpc-key", "k", "-grpc-client-ca", "ca"), 2, []string{
			"-grpc-advertise: is needed, as gateway-1.example:9293: -grpc-internal :9293 is every interface, not one host",
		}},
		"unknown flag": {nil, append(slices.Clip(good), "-colour"), 2, []string{"unknown flag -colour"}},
		"no numbers, and more": {[]string{"TIDEGATE_GATEWAY_PING=often"}, append(slices.Clip(good), "-max-message", "large", "-drain", "-1s"), 2, []string{
			`TIDEGATE_GATEWAY_PING: invalid value "often": want a duration with its unit, such as 300ms, 10s, 5m or 24h`,
			`-max-message: invalid value "large": want a whole number`,
			"-drain: must not be negative",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := program(t, tt.env, tt.args...)
			var want strings.Builder
			for _, line := range tt.want {
				want.WriteString("gateway: " + line + "\n")
			}
			if code != tt.code || said != want.String() {
				t.Errorf("exit code %d, want %d; it says\n%swant\n%s", code, tt.code, said, want.String())
			}
		})
	}
}

func TestOnlyDefaultMakesAConfig(t *testing.T) {
	cfg := Default()
	cfg.MasterKeyFile = "key"
	if err := cfg.Check(); err != nil {
		t.Errorf("Check of Default with a master key = %v, want nil", err)
	}
	err := new(Config).Check()
	for _, want := range []string{
		`-instance: ""`, "-data: is needed", "-handshake-timeout: must be", "-dial-timeout: must be", "-close: must be", "Buffer must be", "-grant-ttl: must be", "RefreshPause", "-report-every: must be", "the gRPC of no service",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check of a Config that Default has not made = %v, want %q in it", err, want)
		}
	}
}

func TestFlagsBehindAPrefix(t *testing.T) {
	cfg := Default()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	cfg.Flags(fs, "gateway.")
	if err := fs.Parse([]string{"-gateway.instance", "", "-gateway.ws", "x"}); err != nil {
		t.Fatal(err)
	}
	err := cfg.Check()
	for _, want := range []string{`-gateway.instance: ""`, "-gateway.master-key-file: is needed", `-gateway.ws: "x" is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q in it", err, want)
		}
	}
}
