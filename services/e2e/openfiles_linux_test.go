package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// limited is tidegate serve in a process of its own with a limit of open files.
type limited struct {
	*Stack
	cmd            *exec.Cmd
	stdout, stderr *lineBuffer
	ended          chan error
}

// serveLimited starts the program with a limit of open files, 0 for none of the test's.
func serveLimited(t *testing.T, program, dir string, limit int) *limited {
	t.Helper()
	set := ""
	if limit > 0 {
		set = fmt.Sprintf("ulimit -n %d && ", limit)
	}
	args := append([]string{"-c", set + `exec "$0" serve "$@"`, program}, freePorts()...)
	l := &limited{
		Stack: &Stack{CA: filepath.Join(dir, "tidegate-data", "ca.pem")}, cmd: exec.CommandContext(within(t), "sh", args...),
		stdout: newLineBuffer(), stderr: newLineBuffer(), ended: make(chan error, 1),
	}
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = dir, l.stdout, l.stderr
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.ended <- l.cmd.Wait() }()
	t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	return l
}

// open returns how many descriptors the server has open.
func (l *limited) open(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestOpenFiles: with room for 80 open files beyond what the server needs when nobody
// is there, 200 clients come at once over ws and wss. Each has a session that works, or
// 503 with Retry-After and no 101 before it; and there are as many sessions as
// docs/deployment.md says.
//
// With a limit that is too low, the server does not start, and says which it needs; with
// that one it runs.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	program := buildTidegate(t, t.TempDir())
	t.Run("80 more than idle", func(t *testing.T) { t.Parallel(); roomFor80(t, program) })
	t.Run("too few", func(t *testing.T) { t.Parallel(); tooFew(t, program) })
}

func roomFor80(t *testing.T, program string) {
	t.Helper()
	dir, ctx := t.TempDir(), within(t)
	idle := serveLimited(t, program, dir, 0)
	idle.stdout.await(t, ctx, `Ctrl-C stops\.\n`)
	limit := idle.open(t) + 80
	if err := idle.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-idle.ended; err != nil {
		t.Fatalf("serve: %v\n%s", err, idle.stderr)
	}

	l := serveLimited(t, program, dir, limit)
	l.stdout.await(t, ctx, `Ctrl-C stops\.\n`)
	const without, kept, each = 32, 64, 3 // of docs/deployment.md; the sample is in the same process
	want := (limit - without - kept) / each
	l.Stack = stackOf(t, l.stdout.String(), l.CA)
	urls, token := []string{l.WS + samplePath, l.WSS + samplePath}, l.sampleToken(t)
	sessions, refused := l.crowd(t, 200, urls, token)
	if len(sessions) != want || len(sessions)+refused != 200 {
		t.Errorf("with a limit of %d: %d sessions and %d answers of 503, want %d sessions and 503 for all others\n%s",
			limit, len(sessions), refused, want, l.stderr)
	}
	for _, conn := range sessions {
		echo(t, conn, websocket.MessageText, "still there")
	}
	_ = sessions[0].Close(websocket.StatusNormalClosure, "")
	eventually(t, func() error {
		conn, status, err := l.tryConnect(t, urls[0], token)
		if err != nil {
			return fmt.Errorf("after one has left: %d, %w", status, err)
		}
		echo(t, conn, websocket.MessageText, "hello")
		return nil
	})
	if text := l.stderr.String(); strings.Contains(text, "too many open files") {
		t.Errorf("the server ran out of open files:\n%s", text)
	}
}

// crowd has so many clients connect at once, and returns the sessions and how many
// clients were answered 503.
func (l *limited) crowd(t *testing.T, clients int, urls []string, token string) (sessions []*websocket.Conn, refused int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	h, client := http.Header{"Authorization": {"Bearer " + token}}, l.http(t)
	for i := range clients {
		all.Go(func() {
			conn, res, err := websocket.Dial(within(t), urls[i%len(urls)], &websocket.DialOptions{HTTPClient: client, HTTPHeader: h}) //nolint:bodyclose // Dial has read the body
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				t.Cleanup(func() { _ = conn.CloseNow() })
				sessions = append(sessions, conn)
			case res != nil && res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
				refused++
			default:
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
	return sessions, refused
}

func tooFew(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	l := serveLimited(t, program, dir, 60)
	err := <-l.ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(l.stderr.String(), "the limit of open files is 60, and at least 99 are needed") {
		t.Fatalf("with a limit of 60: %v\n%s\nwant 2 and what is needed", err, l.stderr)
	}
	l = serveLimited(t, program, dir, 99)
	l.stdout.await(t, within(t), `Ctrl-C stops\.\n`)
	l.Stack = stackOf(t, l.stdout.String(), l.CA)
	if sessions, refused := l.crowd(t, 10, []string{l.WS + samplePath}, l.sampleToken(t)); len(sessions) != 1 || refused != 9 {
		t.Errorf("with a limit of 99: %d sessions and %d answers of 503, want 1 and 9\n%s", len(sessions), refused, l.stderr)
	}
}
