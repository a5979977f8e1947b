package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf sums the CPU time that processes have used, user and system. It is exact to
// the nanosecond, whereas /proc counts in ticks of 10 ms. It fails if a process has
// gone.
func cpuOf(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		// Derive the process's clock from its id, as clock_getcpuclockid(3) does.
		if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
			return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// statFields returns the fields of /proc/PID/stat that follow the command's name,
// beginning with the state.
func statFields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	s := string(b)
	return strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
}

// rssOf sums the resident memory of processes in bytes, counted page by page,
// because the total in /proc/PID/status may be off by some hundred KiB. It fails if
// a process has gone.
func rssOf(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Rss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				sum += n << 10
			}
		}
	}
	return sum, nil
}

// family returns the ids of a process and its children.
func family(pid int) []int {
	ids := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if f := statFields(child); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			ids = append(ids, child)
		}
	}
	return ids
}

// process is a child process of the benchmark.
type process struct {
	cmd  *exec.Cmd
	addr string // the address that it printed, if it prints one
}

// start runs a command that ends with the benchmark. Its output is appended to log.
func start(ctx context.Context, log string, bin string, args ...string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := command(ctx, bin, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(bin), err)
	}
	return &process{cmd: cmd}, nil
}

// command is exec.CommandContext for a child that dies with its parent, if the
// system supports that.
func command(ctx context.Context, bin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.SysProcAttr = child()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// stop asks the process to end and waits for it.
func (p *process) stop() {
	if p == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.cmd.Wait()
}

// startBackend runs the echo backend in a process of its own: the benchmark's
// binary again.
func startBackend(ctx context.Context, self string) (*process, error) {
	cmd := command(ctx, self, "-echo-backend")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the backend: %w", err)
	}
	p := &process{cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("read the backend's address: %w", err)
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}
