//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// server returns what starts the server.
func server() func(ctx context.Context, args []string) int {
	return func(ctx context.Context, args []string) int {
		return standalone.Serve(ctx, run.Program{
			Name: "tidegate", Args: args, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
			Hangups: run.Hangups(), HangupStops: inTerminal(), LogLevel: logLevel(),
			OtherVariables: cli.Variables(),
		}, standalone.Options{Program: called()})
	}
}

// recovery returns what lets an administrator sign in again.
func recovery() func(ctx context.Context, r cli.Recovery) error {
	return func(ctx context.Context, r cli.Recovery) error {
		return standalone.Recover(ctx, standalone.Recovery(r))
	}
}

// logLevel returns what is logged when nothing else is asked for: to a user at a terminal
// only what is wrong.
func logLevel() slog.Level {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// inTerminal reports whether the program belongs to a terminal, which hangs up when it
// is closed.
func inTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) || term.IsTerminal(int(os.Stdout.Fd())) || term.IsTerminal(int(os.Stderr.Fd()))
}

// called returns how to call this program from a shell in this folder.
func called() string {
	self, err := os.Executable()
	if err != nil {
		return "tidegate"
	}
	if found, err := exec.LookPath("tidegate"); err == nil && same(found, self) {
		return "tidegate"
	}
	here, err := os.Getwd()
	if err != nil {
		return self
	}
	rel, err := filepath.Rel(here, self)
	if err != nil || strings.HasPrefix(rel, "..") {
		return self
	}
	if !strings.ContainsRune(rel, filepath.Separator) {
		return "./" + rel
	}
	return rel
}

// same reports whether two paths lead to one file.
func same(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}
