package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// buildBench builds the benchmark of another commit's checkout into dir.
func buildBench(ctx context.Context, checkout, dir string) (bin string, err error) {
	bin = filepath.Join(dir, "bench-old")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "./services/bench/cmd/bench")
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the benchmark of %s: %w\n%s", checkout, err, out)
	}
	return bin, nil
}

// builtBy is the folder in dir for the services that a benchmark builds.
func builtBy(bench, dir string) string { return filepath.Join(dir, filepath.Base(bench)+"-services") }

// stackStarter starts the Tidegate of a checkout (the working folder if it is
// empty) with the benchmark of that checkout; see ServeStack. Only the gateway's
// process counts; authentication and metering are on. p says what its plans promise.
func stackStarter(bench, checkout, dir string, p promise) func(context.Context, shape, string, string) (*target, func(), error) {
	return gatewaysStarter(bench, checkout, dir, p, 1)
}

// gatewaysStarter is stackStarter for a Tidegate with several gateways.
func gatewaysStarter(bench, checkout, dir string, p promise, gateways int) func(context.Context, shape, string, string) (*target, func(), error) {
	return func(ctx context.Context, s shape, _, backend string) (*target, func(), error) {
		nothing := func() {}
		built := builtBy(bench, dir)
		if err := os.MkdirAll(built, 0o700); err != nil {
			return nil, nothing, fmt.Errorf("make a folder for the services: %w", err)
		}
		args := []string{"-stack", built}
		if p != none { // which benchmarks of older commits do not know
			args = append(args, "-promise", string(p))
		}
		if gateways > 1 { // likewise
			args = append(args, "-gateways", strconv.Itoa(gateways))
		}
		cmd := command(ctx, bench, append(args, backend)...)
		cmd.Dir = checkout
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", s.workers))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nothing, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nothing, fmt.Errorf("start %s: %w", filepath.Base(bench), err)
		}
		p := &process{cmd: cmd}
		t, err := readStack(out)
		if err != nil {
			p.stop() // after that, said is complete
			return nil, nothing, fmt.Errorf("start Tidegate: %w\n%s", err, &said)
		}
		return t, p.stop, nil
	}
}

// readStack reads what ServeStack prints.
func readStack(r io.Reader) (*target, error) {
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var s stackLine
	if err := json.Unmarshal(line, &s); err != nil {
		return nil, fmt.Errorf("read where it is: %w", err)
	}
	return &target{
		addr: s.Addr, more: s.More, path: s.Path, header: s.Header, keyed: s.Keyed, signIn: s.SignIn, catalog: s.Catalog, plan: s.Plan,
		procs: []func() []int{func() []int { return s.PIDs }},
	}, nil
}
