package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// built is the folder of the real program, or empty.
var built string

// compiled builds the real program once, and returns its path.
var compiled = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tidegate-e2e-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "tidegate")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../standalone/cmd/tidegate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as deploy/build does
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tidegate: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// buildTidegate puts the real program into a folder and returns its path.
func buildTidegate(t *testing.T, dir string) string {
	t.Helper()
	from, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tidegate")
	if err := os.Link(from, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// lineBuffer is a buffer that tells when something was written.
type lineBuffer struct {
	changed chan struct{}
	text    chan string // holds the text
}

func newLineBuffer() *lineBuffer {
	b := &lineBuffer{changed: make(chan struct{}, 1), text: make(chan string, 1)}
	b.text <- ""
	return b
}

// Write writes.
func (b *lineBuffer) Write(p []byte) (int, error) {
	b.text <- <-b.text + string(p)
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// String returns what was written.
func (b *lineBuffer) String() string {
	text := <-b.text
	b.text <- text
	return text
}

// await waits until something matches and returns the match.
func (b *lineBuffer) await(t *testing.T, ctx context.Context, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for {
		if m := re.FindStringSubmatch(b.String()); m != nil {
			return m
		}
		select {
		case <-b.changed:
		case <-ctx.Done():
			t.Fatalf("%q does not appear in\n%s", pattern, b.String())
		}
	}
}

// TestRealProgram runs the real binary: server and command line. It is
// interrupted under a live session, which ends with 1012, and exits with 0.
func TestRealProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := buildTidegate(t, dir)
	ctx := within(t)
	cmd := exec.CommandContext(ctx, program, append([]string{"serve"}, freePorts()...)...)
	cmd.Dir = dir // the data folder is ./tidegate-data
	stdout, stderr := newLineBuffer(), newLineBuffer()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	stdout.await(t, ctx, `Ctrl-C stops\.\n`)
	login := stdout.await(t, ctx, `(?m)^  (\S+ login --password-file tidegate-data/admin-password --server \S+)$`)[1]

	tidegate := func(line string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	connect := stdout.await(t, ctx, `(?m)^  (\S+ connect EchoWebSocket/1.0.0 --app EchoSample --server \S+)$`)[1]
	if out := tidegate("echo pasted | " + connect); !strings.Contains(out, "pasted\n") || !strings.Contains(out, "Closed: 1000") {
		t.Errorf("%s, before anybody signs in: %s", connect, out)
	}
	if out := tidegate(login); !strings.Contains(out, "as admin (admin)") {
		t.Errorf("%s: %s", login, out)
	}
	if out := tidegate("./tidegate api list"); !strings.Contains(out, "EchoWebSocket  /echowebsocket  1.0.0 published") {
		t.Errorf("api list: %s", out)
	}
	// It belongs to no terminal here: a hangup ends nothing.
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, ctx, `msg="files read again"`)

	s := stackOf(t, stdout.String(), filepath.Join(dir, "tidegate-data", "ca.pem"))
	conn := s.connect(t, s.WS+samplePath, s.sampleToken(t))
	echo(t, conn, websocket.MessageText, "alive")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code, reason := closed(t, conn); code != 1012 || !strings.HasPrefix(reason, "DRAIN ref=") {
		t.Errorf("closed with %d %q, want 1012 DRAIN", code, reason)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the server ends with %v, want 0\n%s", err, stderr.String())
		}
		if want := "Stopping: live sessions have 2s to end.\nTidegate has stopped.\n"; !strings.HasSuffix(stdout.String(), want) {
			t.Errorf("at its end the server says\n%s\nwant\n%s", stdout.String(), want)
		}
	case <-time.After(patience):
		t.Errorf("the server still runs %v after Ctrl-C:\n%s", patience, stderr.String())
	}
}

// TestHangupOfATerminal starts the real server in a terminal, which hangs up: the
// server stops in order. Nothing that is only information is logged to the terminal.
func TestHangupOfATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := buildTidegate(t, dir)
	ctx := within(t) // building may take as long
	cmd := exec.CommandContext(ctx, program, append([]string{"serve", "-no-sample"}, freePorts()...)...)
	cmd.Dir = dir
	stdout := newLineBuffer()
	screen, logged := terminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, stdout, screen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	stdout.await(t, ctx, `Ctrl-C stops\.\n`)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.HasSuffix(stdout.String(), "Tidegate has stopped.\n") {
		t.Errorf("after a hangup: %v, want 0 and that it stopped:\n%s", err, stdout.String())
	}
	screen.Close()
	if text := logged(); text != "" {
		t.Errorf("the terminal shows what nobody has asked for:\n%s", text)
	}
}
