package bench

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
	"time"
)

//go:embed peers/*.tmpl floor/relay.c
var peerFiles embed.FS

// peer is another proxy. Every peer can run in every shape.
type peer struct {
	name string
	// find returns the path of its binary, or errNotInstalled.
	find func(ctx context.Context, dir string) (bin string, err error)
	// config is its template below peers/; empty if it has none.
	config string
	// args is its command line.
	args func(o peerOptions, config string) []string
}

// peerOptions are the options of a peer's command line and configuration.
type peerOptions struct {
	Dir         string // a folder of its own
	Listen      string
	Backend     string
	Workers     int
	Sessions    int // that it has room for, even if one worker gets all of them
	Connections int // that these sessions need
}

var errNotInstalled = errors.New("not installed")

func peers() []peer {
	return []peer{
		{"nginx", installed("nginx"), "nginx.conf.tmpl", func(o peerOptions, config string) []string {
			return []string{"-c", config, "-p", o.Dir}
		}},
		{"haproxy", installed("haproxy"), "haproxy.cfg.tmpl", func(_ peerOptions, config string) []string {
			return []string{"-f", config, "-db"}
		}},
		{"relay", compiled, "", func(o peerOptions, _ string) []string {
			return []string{o.Listen, o.Backend, strconv.Itoa(o.Workers)}
		}},
	}
}

func peerNames() []string {
	var names []string
	for _, p := range peers() {
		names = append(names, p.name)
	}
	return names
}

// installed finds a program, also in folders that an ordinary user's PATH lacks.
func installed(name string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
		bin, err := exec.LookPath(filepath.Join("/usr/sbin", name))
		if err != nil {
			return "", errNotInstalled
		}
		return bin, nil
	}
}

// compiled compiles the relay in C, which only reads and writes, into dir.
func compiled(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", fmt.Errorf("%w: there is no C compiler, cc", errNotInstalled)
	}
	source, err := peerFiles.ReadFile("floor/relay.c")
	if err != nil {
		return "", err
	}
	file, bin := filepath.Join(dir, "relay.c"), filepath.Join(dir, "relay")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, cc, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", bin, file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile floor/relay.c: %w\n%s", err, out)
	}
	return bin, nil
}

// starter starts the peer's binary with room for more than sessions, because nginx
// drops clients that have sent no request yet when only a sixteenth of its room is
// left.
func (p peer) starter(bin string, sessions int) func(context.Context, shape, string, string) (*target, func(), error) {
	return func(ctx context.Context, s shape, dir, backend string) (t *target, stop func(), err error) {
		stop = func() {}
		room := sessions*5/4 + 64
		o := peerOptions{Dir: dir, Backend: backend, Workers: s.workers, Sessions: room, Connections: 2 * room}
		if o.Listen, err = freeAddr(); err != nil {
			return nil, stop, err
		}
		config, err := p.configure(o)
		if err != nil {
			return nil, stop, err
		}
		log := filepath.Join(dir, "log")
		proc, err := start(ctx, log, bin, p.args(o, config)...)
		if err != nil {
			return nil, stop, err
		}
		t = &target{addr: o.Listen, path: "/", plain: "/plain", procs: []func() []int{func() []int { return family(proc.cmd.Process.Pid) }}}
		if err := waitHandshake(ctx, t); err != nil {
			b, _ := os.ReadFile(log)
			return nil, proc.stop, fmt.Errorf("%s does not answer: %w\n%s", p.name, err, b)
		}
		return t, proc.stop, nil
	}
}

// configure writes the peer's configuration, if it has one, and returns its path.
func (p peer) configure(o peerOptions) (path string, err error) {
	if p.config == "" {
		return "", nil
	}
	tmpl, err := template.ParseFS(peerFiles, "peers/"+p.config)
	if err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(o.Dir, "config"))
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(tmpl.Execute(f, o), f.Close())
}

// freeAddr returns a loopback address that was free a moment ago, below the
// range that outgoing connections take their ports from.
func freeAddr() (addr string, err error) {
	for range 1000 {
		addr = fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		var lis net.Listener
		if lis, err = net.Listen("tcp", addr); err == nil {
			return addr, lis.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// waitHandshake waits until a target does handshakes.
func waitHandshake(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := dial(ctx, t)
		if err == nil {
			return c.close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
