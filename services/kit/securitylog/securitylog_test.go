package securitylog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// plain returns a logger whose lines have neither time nor level.
func plain(out io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func open(t *testing.T, path string, out io.Writer) *securitylog.Log {
	t.Helper()
	l, err := securitylog.Open(path, plain(out), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// An event is one line with who, from where, what and why not. Line ends and long
// texts of a caller stay in it.
func TestEventIsOneLine(t *testing.T) {
	var out bytes.Buffer
	l := open(t, "", &out)
	ctx := clientaddr.With(t.Context(), netip.MustParseAddr("::ffff:192.0.2.7"))
	l.Write(ctx, securitylog.Event{Kind: securitylog.SignInFailed, What: "ada\nevent=SIGNED_IN", Why: "wrong username or password"})
	l.Write(ctx, securitylog.Event{Kind: securitylog.SecretMade, Who: "users/ada", What: strings.Repeat("ü", 500)})
	want := `msg="security event" event=SIGN_IN_FAILED from=192.0.2.7 what="ada\nevent=SIGNED_IN" why="wrong username or password"
msg="security event" event=SECRET_MADE who=users/ada from=192.0.2.7 what=` + strings.Repeat("ü", 128) + "…\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// Who comes through the portal without a token is nobody, and not the portal.
func TestStrangerIsNotThePortal(t *testing.T) {
	for service, want := range map[string]string{
		identity.Portal:  "msg=\"security event\" event=SIGN_IN_FAILED what=ada\n",
		identity.Gateway: "msg=\"security event\" event=SIGN_IN_FAILED who=services/gateway what=ada\n",
	} {
		var out bytes.Buffer
		l := open(t, "", &out)
		guard := identity.Guard{Rules: identity.Rules{"/m": {Open: true}}, Service: func(context.Context) string { return service }}
		_, err := guard.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/m"}, func(ctx context.Context, _ any) (any, error) {
			l.Write(ctx, securitylog.Event{Kind: securitylog.SignInFailed, What: "ada"})
			return nil, nil
		})
		if got := out.String(); err != nil || got != want {
			t.Errorf("by way of %s: %q, %v, want %q", service, got, err, want)
		}
	}
}

// lines is a log that is read while others write it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// A flood of one kind is ten lines a second and the count of the rest; it hides no
// event of another kind.
func TestFloodIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		l := open(t, "", &out)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		for i := range 5000 {
			l.Write(ctx, securitylog.Event{Kind: securitylog.SignInFailed, What: fmt.Sprint("name", i)})
		}
		l.Write(ctx, securitylog.Event{Kind: securitylog.SignedIn, Who: "users/ada"})
		if got := strings.Count(out.String(), "SIGN_IN_FAILED"); got != 10 {
			t.Errorf("%d lines of one kind in a second, want 10", got)
		}
		if !strings.Contains(out.String(), "event=SIGNED_IN who=users/ada") {
			t.Errorf("another kind is hidden by the flood:\n%s", out.String())
		}
		time.Sleep(1500 * time.Millisecond)
		if !strings.Contains(out.String(), `msg="security events left out" event=SIGN_IN_FAILED count=4990`) {
			t.Errorf("no count of what was left out:\n%s", out.String())
		}
		out.Reset()
		for range 12 {
			l.Write(ctx, securitylog.Event{Kind: securitylog.SignInFailed})
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := out.String(); strings.Count(got, "security event\"") != 10 || !strings.Contains(got, "count=2") {
			t.Errorf("the next second, cut by a stop:\n%s", got)
		}
	})
}

// The file is its owner's only, is appended to, and is made again after it was renamed.
func TestFileIsAppendedAndReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	var out bytes.Buffer
	open(t, path, &out).Write(t.Context(), securitylog.Event{Kind: securitylog.SignedIn, Who: "users/ada"})
	l := open(t, path, &out)
	l.Write(t.Context(), securitylog.Event{Kind: securitylog.SignedIn, Who: "users/bob"})
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(t.Context(), securitylog.Event{Kind: securitylog.SignedIn, Who: "users/eve"})
	if diff := cmp.Diff([]string{"users/ada", "users/bob"}, who(t, path+".1")); diff != "" {
		t.Errorf("old file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"users/eve"}, who(t, path)); diff != "" {
		t.Errorf("new file (-want +got):\n%s", diff)
	}
}

// who returns who the events in a file are about.
func who(t *testing.T, path string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e struct{ Event, Who string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event != "SIGNED_IN" {
			t.Errorf("line %q: %v", line, err)
		}
		all = append(all, e.Who)
	}
	return all
}

func TestFileThatCannotBeOpened(t *testing.T) {
	c := securitylog.Config{File: filepath.Join(t.TempDir(), "missing", "file")}
	if _, err := c.Open(plain(&bytes.Buffer{})); err == nil || !strings.HasPrefix(err.Error(), "-security-log: open the security log: ") {
		t.Errorf("Open = %v", err)
	}
}

// A refused call is an event; one whose token has only expired is none.
func TestRefused(t *testing.T) {
	var out bytes.Buffer
	l := open(t, "", &out)
	l.Refused(t.Context(), nil, fault.Denied("this needs the role admin"))
	l.Refused(t.Context(), nil, fault.Unauthenticated("the token's signature is wrong"))
	l.Refused(t.Context(), nil, fault.WithReason(fault.Unauthenticated("the token has expired"), fault.ReasonTokenExpired))
	want := `msg="security event" event=DENIED why="this needs the role admin"
msg="security event" event=TOKEN_REFUSED why="the token's signature is wrong"
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// Whoever keeps the lines gets what the log has: events with all that is known of them,
// and the count of the rest.
func TestTell(t *testing.T) {
	var got []securitylog.Line
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l, err := securitylog.Open("", plain(io.Discard), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	l.Tell(func(line securitylog.Line) { got = append(got, line) })
	ctx := clientaddr.With(t.Context(), netip.MustParseAddr("192.0.2.7"))
	e := securitylog.Event{Kind: securitylog.SignInFailed, Who: "users/ada", What: "ada", Why: strings.Repeat("w", 300)}
	for range 12 {
		l.Write(ctx, e)
	}
	first := now
	now = now.Add(time.Second)
	l.Write(ctx, e)
	l.Tell(nil)
	l.Write(ctx, e)
	e.Why = strings.Repeat("w", 256) + "…"
	var want []securitylog.Line
	for range 10 {
		want = append(want, securitylog.Line{Time: first, Event: e, From: "192.0.2.7"})
	}
	want = append(want, securitylog.Line{Time: now, Event: securitylog.Event{Kind: securitylog.SignInFailed}, LeftOut: 2}, securitylog.Line{Time: now, Event: e, From: "192.0.2.7"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Kinds has each kind that there is, as the documentation does.
func TestKinds(t *testing.T) {
	text, err := os.ReadFile("../../../docs/deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## The security log")
	section, _, _ = strings.Cut(section, "\n## ")
	source, err := os.ReadFile("securitylog.go")
	if err != nil {
		t.Fatal(err)
	}
	all := securitylog.Kinds()
	if n := strings.Count(string(source), " Kind = \""); n != len(all) {
		t.Errorf("Kinds has %d of the %d kinds", len(all), n)
	}
	for _, kind := range all {
		if !strings.Contains(section, "`"+string(kind)+"`") {
			t.Errorf("docs/deployment.md does not say what %s is", kind)
		}
	}
}

// Services without a security log have a nil one.
func TestNilLogWritesNothing(t *testing.T) {
	var l *securitylog.Log
	l.Write(t.Context(), securitylog.Event{Kind: securitylog.SignedIn})
	l.Refused(t.Context(), nil, fault.Denied("no"))
	l.Tell(func(securitylog.Line) {})
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
