package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// buildTidegate builds the real program into a folder and returns its path.
func buildTidegate(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tidegate")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "../standalone/cmd/tidegate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as deploy/build does
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tidegate: %v\n%s", err, out)
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

// stopTime is how long a server may take to end after Ctrl-C: a few seconds, of
// which its drain is two.
const stopTime = 10 * time.Second

// TestRealProgram runs the real binary: server and command line. It is
// interrupted under a live session, which ends with 1012, and exits with 0 within
// stopTime.
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
	login := stdout.await(t, ctx, `(?m)^    (\S+ login --password-file tidegate-data/admin-password --server \S+)$`)[1]

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
	if out := tidegate(login); !strings.Contains(out, "as admin (admin)") {
		t.Errorf("%s: %s", login, out)
	}
	if out := tidegate("./tidegate api list"); !strings.Contains(out, "EchoWebSocket  /echowebsocket  1.0.0 published") {
		t.Errorf("api list: %s", out)
	}
	connect := stdout.await(t, ctx, `(?m)^    (TIDEGATE_TOKEN=\S+ \S+ connect \S+)$`)[1]
	if out := tidegate("echo pasted | " + connect); !strings.Contains(out, "pasted\n") || !strings.Contains(out, "Closed: 1000") {
		t.Errorf("%s: %s", connect, out)
	}

	// It belongs to no terminal here: a hangup ends nothing.
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, ctx, `msg="files read again"`)

	line := sampleLine.FindStringSubmatch(sampleLines(t, stdout.String())[0])
	s := &Stack{CA: filepath.Join(dir, "tidegate-data", "ca.pem")}
	conn := s.connect(t, line[2], line[4])
	echo(t, conn, websocket.MessageText, "alive")
	interrupted := time.Now()
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
	case <-time.After(time.Until(interrupted.Add(stopTime))):
		t.Errorf("the server still runs %v after Ctrl-C:\n%s", stopTime, stderr.String())
	}
}

// TestHangupOfATerminal starts the real server in a terminal, which hangs up: the
// server stops in order.
func TestHangupOfATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := buildTidegate(t, dir)
	ctx := within(t) // building may take as long
	cmd := exec.CommandContext(ctx, program, append([]string{"serve", "-no-sample"}, freePorts()...)...)
	cmd.Dir = dir
	stdout, stderr := newLineBuffer(), newLineBuffer()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal(t), stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	stdout.await(t, ctx, `Ctrl-C stops\.\n`)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "the terminal is gone; stopping") {
		t.Errorf("after a hangup: %v, want 0 and why it stopped:\n%s", err, stderr.String())
	}
}
