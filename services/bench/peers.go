package bench

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed peers/*.tmpl
var peerFiles embed.FS

// peer is another proxy.
type peer struct {
	name   string
	config string                            // template below peers/
	args   func(config, dir string) []string // command line
}

var peers = []peer{
	{"nginx", "nginx.conf.tmpl", func(config, dir string) []string { return []string{"-c", config, "-p", dir} }},
	{"haproxy", "haproxy.cfg.tmpl", func(config, _ string) []string { return []string{"-f", config, "-db"} }},
}

func (c *Config) wantsPeer(name string) bool {
	return c.Peers == "" || slices.Contains(strings.Split(c.Peers, ","), name)
}

func (c *Config) wants(measurement string) bool {
	return !slices.Contains(strings.Split(c.Skip, ","), measurement)
}

// startPeer writes a peer's configuration and runs it. stop is never nil.
func startPeer(ctx context.Context, p peer, bin, dir, backend string) (t *target, stop func(), err error) {
	stop = func() {}
	listen, err := freeAddr()
	if err != nil {
		return nil, stop, err
	}
	config := filepath.Join(dir, strings.TrimSuffix(p.config, ".tmpl"))
	if err := writeConfig(config, p.config, map[string]string{"Dir": dir, "Listen": listen, "Backend": backend}); err != nil {
		return nil, stop, err
	}
	log := filepath.Join(dir, p.name+".log")
	proc, err := start(ctx, log, bin, p.args(config, dir)...)
	if err != nil {
		return nil, stop, err
	}
	t = &target{name: p.name, addr: listen, path: "/", procs: []func() []int{func() []int { return family(proc.cmd.Process.Pid) }}}
	if err := waitEcho(ctx, t); err != nil {
		b, _ := os.ReadFile(log)
		return nil, proc.stop, fmt.Errorf("%s does not answer: %w\n%s", p.name, err, b)
	}
	return t, proc.stop, nil
}

func writeConfig(path, name string, data any) error {
	tmpl, err := template.ParseFS(peerFiles, "peers/"+name)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(tmpl.Execute(f, data), f.Close())
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

// portTaken reports whether a start failed because a port that was free when it
// was chosen no longer is: the programs say so in their logs.
func portTaken(err error) bool {
	return err != nil && strings.Contains(strings.ToLower(err.Error()), "address already in use")
}

// waitEcho waits until a target does handshakes.
func waitEcho(ctx context.Context, t *target) error {
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
