// Command tidegate is Tidegate's command line, and with "tidegate serve" the
// whole server in one process, on Linux and macOS.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/kit/run"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, stop) // a second signal ends the process
	code := cli.Main(ctx, cli.Program{
		Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Serve: server(), Recover: recovery(), Version: run.Version(),
	})
	unhook()
	stop()
	os.Exit(code)
}
