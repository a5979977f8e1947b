package standalone

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// usual is the banner of a start without flags.
func usual() banner {
	return banner{
		program: ".bin/tidegate", data: "./tidegate-data", password: "tidegate-data/admin-password", ca: "tidegate-data/ca.pem", sample: true,
		at: Addresses{
			Portal: "https://localhost:9443", GRPC: "localhost:9090", WS: "ws://localhost:9099", WSS: "wss://localhost:8099",
			Ops: "http://127.0.0.1:9091", Pprof: "http://127.0.0.1:6060",
		},
	}
}

func (b *banner) text(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	if err := b.print(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestBannerFitsATerminal prints all that a banner can say: 20 lines of 80 columns.
func TestBannerFitsATerminal(t *testing.T) {
	t.Parallel()
	b := usual()
	text := b.text(t)
	if n := strings.Count(text, "\n"); n > 20 {
		t.Errorf("the banner has %d lines, want at most 20:\n%s", n, text)
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns, want at most 80: %s", n, line)
		}
	}
	for _, line := range []string{
		".bin/tidegate connect EchoWebSocket/1.0.0 --app EchoSample",
		".bin/tidegate login --password-file tidegate-data/admin-password",
	} {
		if !strings.Contains(text, "\n  "+line+"\n") {
			t.Errorf("the banner has no line %q:\n%s", line, text)
		}
	}
	b.password = ""
	if text := b.text(t); strings.Contains(text, "password") || strings.Contains(text, "login") {
		t.Errorf("the banner speaks of a password that was changed:\n%s", text)
	}
}

// TestBannerCanBePasted has a shell read the banner's commands about paths that
// have spaces in them.
func TestBannerCanBePasted(t *testing.T) {
	t.Parallel()
	b := usual()
	b.program, b.data, b.password, b.ca = "./my tidegate", "/my data", "/my data/admin-password", "/my data/ca.pem"
	b.at.GRPC, b.at.WSS = "localhost:1", "wss://localhost:2"
	var got [][]string
	text := strings.ReplaceAll(b.text(t), "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "'./my tidegate'") && !strings.HasPrefix(line, "wscat ") {
			continue
		}
		line = strings.Replace(line, "$('./my tidegate'", "$(printf '%s ' './my tidegate'", 1)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+line).Output()
		if err != nil {
			t.Fatalf("a shell reads %q: %v", line, err)
		}
		got = append(got, strings.Split(strings.TrimSpace(string(out)), "\n"))
	}
	where := []string{"--server", "localhost:1", "--ca", "/my data/ca.pem"}
	want := [][]string{
		slices.Concat([]string{"./my tidegate", "login", "--password-file", "/my data/admin-password"}, where),
		slices.Concat([]string{"./my tidegate", "connect", "EchoWebSocket/1.0.0", "--app", "EchoSample"}, where),
		{
			"wscat", "--ca", "/my data/ca.pem", "-c", "wss://localhost:2/echowebsocket/1.0.0",
			"-H", "Authorization: Bearer ./my tidegate token EchoSample --server localhost:1 --ca /my data/ca.pem",
		},
		slices.Concat([]string{"./my tidegate", "token", "EchoSample"}, where),
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("a shell reads %q, want %q in\n%s", got, want, text)
	}
}
