// Command tidegate is Tidegate's command line, and with "tidegate serve" the
// whole server in one process.
package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, stop) // a second signal ends the process
	code := cli.Main(ctx, cli.Program{
		Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Serve: func(ctx context.Context, args []string) int {
			return standalone.Serve(ctx, run.Program{
				Name: "tidegate", Args: args, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
			}, standalone.Options{Program: called()})
		},
		Version: run.Version(),
	})
	unhook()
	stop()
	os.Exit(code)
}

// called returns what calls this program when it is pasted into a shell here.
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
