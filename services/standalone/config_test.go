package standalone_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// TestConfiguration gives flags and variables that are wrong: all of them are
// told at once, and nothing is made.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		env  []string
		want []string
	}{
		{"unknown flag", []string{"-nonsense"}, nil, []string{"unknown flag -nonsense"}},
		{"argument", []string{"more"}, nil, []string{`unexpected argument "more"`}},
		{"not a duration", []string{"-drain", "soon"}, nil, []string{`-drain: invalid value "soon": want a duration with its unit, such as 300ms, 10s, 5m or 24h`}},
		{"not a duration, in a variable", nil, []string{"TIDEGATE_DRAIN=soon"}, []string{`TIDEGATE_DRAIN: invalid value "soon": want a duration with its unit, such as 300ms, 10s, 5m or 24h`}},
		{
			"own flags", []string{"-data", "", "-host", "a b", "-https", "many", "-ws", "70000", "-wss", "h:p", "-grpc", "", "-ops", "x", "-pprof", "z", "-ops-hosts", "a:1", "-sample-listen", "y", "-drain", "-1s"}, nil,
			[]string{
				"-data: a folder is needed",
				`-host: "a b" is not a host name or an IP address`,
				`-https: "many" is not a port or host:port`,
				`-grpc: "" is not a port or host:port`,
				`-ws: "70000" is not a port or host:port`,
				`-wss: "h:p" is not a port or host:port`,
				`-ops: "x" is not a port or host:port`,
				`-pprof: "z" is not a port or host:port`,
				`-sample-listen: "y" is not a port or host:port`,
				`-ops-hosts: "a:1" is not a name without a port, such as gateway-1.example.com`,
				"-drain: must not be negative",
			},
		},
		{
			"flags of services", []string{
				"-catalog.db", "mysql://x", "-catalog.gateway-urls", "http://x", "-subscription.issuer", "http://x",
				"-subscription.token-lifetime", "0s", "-gateway.ping", "-1s", "-portal.drain", "-1s",
			}, []string{"TIDEGATE_CATALOG_AUDIT_KEEP=1h"},
			[]string{
				"-catalog.db: must start with postgres:// or sqlite:",
				`-catalog.gateway-urls: "http://x" is not a ws or wss URL such as ws://localhost:9099`,
				"-catalog.audit-keep: must be 0, or at least 168h0m0s (set by TIDEGATE_CATALOG_AUDIT_KEEP)",
				`-subscription.issuer: "http://x" is not an https URL without user, query, fragment and a slash at its end`,
				"-subscription.token-lifetime: must be at least 1s",
				"-gateway.ping: must not be negative",
				"-portal.drain: must not be negative",
			},
		},
		{
			"own flags and those of services", []string{"-data", "", "-drain", "-1s", "-catalog.audit-keep", "1h", "-portal.drain", "-1s"}, nil,
			[]string{
				"-data: a folder is needed", "-drain: must not be negative", "-catalog.audit-keep: must be 0, or at least 168h0m0s",
				"-portal.drain: must not be negative",
			},
		},
		{
			"what is no value and what is a wrong one",
			[]string{"-drain", "soon", "-catalog.audit-keep", "long", "-host", "a b", "-nonsense", "-subscription.audit-keep", "1h"},
			[]string{"TIDEGATE_GATEWAY_PING=often", "TIDEGATE_GATEWAY_MAX_MESSAGE=-1", "TIDEGATE_LOG_FORMAT=xml"},
			[]string{
				"unknown flag -nonsense",
				`TIDEGATE_GATEWAY_PING: invalid value "often": want a duration with its unit, such as 300ms, 10s, 5m or 24h`,
				`TIDEGATE_LOG_FORMAT: invalid value "xml": want text or json`,
				`-drain: invalid value "soon": want a duration with its unit, such as 300ms, 10s, 5m or 24h`,
				`-catalog.audit-keep: invalid value "long": want a duration with its unit, such as 300ms, 10s, 5m or 24h`,
				`-host: "a b" is not a host name or an IP address`,
				"-subscription.audit-keep: must be 0, or at least 168h0m0s",
				"-gateway.max-message: must not be negative (set by TIDEGATE_GATEWAY_MAX_MESSAGE)",
			},
		},
		{
			"a password on the command line", []string{"-catalog.db", "postgres://u:secret@h/x"}, nil,
			[]string{"-catalog.db: a password does not belong on the command line or in a file that others can read: give the URL in a file of its own, with -catalog.db-file, or in the environment"},
		},
		{
			"one database for two services", []string{"-catalog.db", "sqlite:x.db", "-subscription.db", "sqlite:./x.db"}, nil,
			[]string{"-subscription.db: is the database of -catalog.db, and each service needs its own"},
		},
		{
			"one Postgres for two services", []string{"-catalog.db", "postgres://h/x", "-subscription.db", "postgresql://h:5432/x?sslmode=disable"}, nil,
			[]string{"-subscription.db: is the database of -catalog.db, and each service needs its own"},
		},
		{"flags that are standalone's own", []string{"-gateway.ws", ":1"}, nil, []string{"unknown flag -gateway.ws; did you mean -ws?"}},
		{"log", []string{"-log-format", "xml"}, nil, []string{`-log-format: invalid value "xml": want text or json`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			var stdout, stderr bytes.Buffer
			p := run.Program{Name: "tidegate", Args: append([]string{"-data", data}, c.args...), Env: c.env, Stdout: &stdout, Stderr: &stderr}
			code := standalone.Serve(t.Context(), p, standalone.Options{})
			want := ""
			for _, line := range c.want {
				want += "tidegate: " + line + "\n"
			}
			if code != 2 || stderr.String() != want || stdout.Len() > 0 {
				t.Errorf("serve %q = %d\n%s%s\nwant 2\n%s", c.args, code, stdout.String(), stderr.String(), want)
			}
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("the data folder: %v, want none", err)
			}
		})
	}
}

func TestOnlyDefaultMakesAConfig(t *testing.T) {
	t.Parallel()
	cfg := standalone.Default()
	if err := cfg.Check(); err != nil {
		t.Errorf("Check of Default = %v, want nil", err)
	}
	if err := new(standalone.Config).Check(); err == nil || !strings.Contains(err.Error(), "Default") {
		t.Errorf("Check of a Config that Default has not made = %v, want a refusal", err)
	}
}

// TestServeHelp shows every flag with its default.
func TestServeHelp(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := standalone.Serve(t.Context(), run.Program{Name: "tidegate", Args: []string{"-h"}, Stdout: &stdout, Stderr: &stderr}, standalone.Options{})
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("serve -h = %d, %q, want 0", code, stderr.String())
	}
	for _, want := range []string{
		`  -data folder`, `default ./tidegate-data; TIDEGATE_DATA`, "  -no-sample\n", `default 9443; `, `default 2s; `,
		"\n-catalog.…\n\n  -catalog.", "\n-portal.…\n\n  -portal.", `  -catalog.db url`, `default sqlite:DATA/catalog.db; TIDEGATE_CATALOG_DB`, `  -subscription.issuer URL`, `  -gateway.max-message bytes`,
		"  -portal.drain long\n      how long requests may continue after a stop; 0 for not at all\n      default 2s; TIDEGATE_PORTAL_DRAIN\n", `  -log-format format`,
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("serve -h does not say %q:\n%s", want, stdout.String())
		}
	}
	for _, not := range []string{"-gateway.grpc", "-catalog.grpc", "-gateway.pprof", "-catalog.ops-hosts", "-portal.tls-cert", "-subscription.master-key-file"} {
		if strings.Contains(stdout.String(), not) {
			t.Errorf("serve -h speaks of %s, which is not the user's", not)
		}
	}
}
