package standalone

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/standalone/internal/sample"
)

// TestBannerCanBePasted has a shell read the banner's commands about paths that
// have spaces in them.
func TestBannerCanBePasted(t *testing.T) {
	t.Parallel()
	b := &banner{
		program: "./my tidegate", data: "/my data", at: Addresses{GRPC: "localhost:1", WS: "ws://localhost:2"},
		password: "/my data/admin-password", ca: "/my data/ca.pem", sample: &sample.Result{Token: "t", Expires: time.Now()},
	}
	var text strings.Builder
	if err := b.print(&text); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "    ") || strings.Contains(line, "wscat") {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+line).Output()
		if err != nil {
			t.Fatalf("a shell reads %q: %v", line, err)
		}
		got = append(got, strings.Split(strings.TrimSpace(string(out)), "\n"))
	}
	want := [][]string{
		{"./my tidegate", "login", "--password-file", "/my data/admin-password", "--server", "localhost:1", "--ca", "/my data/ca.pem"},
		{"TIDEGATE_TOKEN=t", "./my tidegate", "connect", "ws://localhost:2/echowebsocket/1.0.0"},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("a shell reads %q, want %q in\n%s", got, want, text.String())
	}
}
