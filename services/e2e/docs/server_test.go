package docs

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// group gives a command a process group of its own, and ends whatever is left of
// it with the test.
func group(t *testing.T, cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
}

// server is a command that serves, and prints a banner when it does.
type server struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when err is set
	err   error

	mu     sync.Mutex
	stdout bytes.Buffer
	ready  chan struct{}
	stderr bytes.Buffer
}

// Write takes what the server prints.
func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.stdout.Write(p)
	select {
	case <-s.ready:
	default:
		if strings.Contains(s.stdout.String(), "\nCtrl-C stops.\n") {
			close(s.ready)
		}
	}
	return n, err
}

// banner returns what the server has printed.
func (s *server) banner() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stdout.String()
}

// serve starts a command that serves and waits for its banner.
func serve(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{cmd: cmd, ended: make(chan struct{}), ready: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s, &s.stderr
	group(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
	}()
	select {
	case <-s.ready:
	case <-s.ended:
		t.Fatalf("%s: %v\n%s", cmd, s.err, s.stderr.String())
	case <-time.After(patience):
		t.Fatalf("%s prints no banner, only\n%s", cmd, s.banner())
	}
	return s
}

// stop sends what Ctrl-C sends and waits for the end.
func (s *server) stop(t *testing.T) {
	t.Helper()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not stop after Ctrl-C", s.cmd)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C { // what it has started ends with it
		if errors.Is(syscall.Kill(-s.cmd.Process.Pid, 0), syscall.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s leaves processes behind", s.cmd)
		}
	}
}
