package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// inProcess starts "tidegate serve" on SQLite in a folder of its own, has it measured, and
// ends it.
func (r *runner) inProcess(ctx context.Context, built string, measure func(*place) error) error {
	if err := build(ctx, built, "tidegate"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(built, "run-")
	if err != nil {
		return fmt.Errorf("make a folder for the server: %w", err)
	}
	defer os.RemoveAll(dir)
	at, err := freeAddrs(4)
	if err != nil {
		return err
	}
	data, log := filepath.Join(dir, "data"), filepath.Join(dir, "log")
	process, err := start(ctx, log, filepath.Join(built, "tidegate"), "serve", "--data", data, "--no-sample", "--ops", "",
		"--grpc", at[0], "--ws", at[1], "--https", at[2], "--wss", at[3], "--gateway.max-handshake-rate", "0")
	if err != nil {
		return err
	}
	defer process.stop()
	p := &place{name: "one process, " + sqlite, portal: true, target: &target{name: tidegate, addr: at[1], path: "/bench/1.0.0"}}
	err = p.reach(ctx, at[0], data, r.backend)
	if p.conn != nil {
		defer p.conn.Close()
	}
	if err == nil {
		err = measure(p)
	}
	if err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// reach waits until the server with a data folder serves gRPC, and publishes the API there.
func (p *place) reach(ctx context.Context, addr, data, backend string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	secret, err := await(ctx, filepath.Join(data, "admin-password"))
	if err != nil {
		return err
	}
	p.password = string(bytes.TrimSpace(secret))
	ca := filepath.Join(data, "ca.pem")
	if _, err := await(ctx, ca); err != nil {
		return err
	}
	source, err := certs.Open(certs.Files{CA: ca}, nil)
	if err != nil {
		return err
	}
	if p.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(source.Client()))); err != nil {
		return err
	}
	in, err := signedIn(ctx, p.conn, p.password)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	if p.made, err = publish(in, p.conn, p.conn, backend, none); err != nil {
		return fmt.Errorf("publish the API: %w", err)
	}
	p.target.header = "Authorization: Bearer " + p.made.token + "\r\n"
	return waitHandshake(ctx, p.target)
}

// await reads a file as soon as it is there, whole: programs put such files in place.
func await(ctx context.Context, path string) ([]byte, error) {
	for {
		text, err := os.ReadFile(path)
		if !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
