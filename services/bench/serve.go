package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// stackLine is what ServeStack prints about the Tidegate that it has started.
type stackLine struct {
	Addr   string   // where clients connect, host:port
	More   []string // the same, of further gateways
	Path   string   // request target of the handshake
	Header string   // further header lines of the handshake, each ended by CRLF
	Keyed  door     // where an API key opens
	PIDs   []int    // the gateways' processes
	SignIn string   // gRPC where users sign in, host:port

	Catalog string // gRPC of the catalog, host:port
	Plan    string // plans/{plan} of the subscription
}

// ServeStack starts the Tidegate of the checkout in the working folder, with as many
// gateways in front of a backend at host:port, prints its addresses as a line of JSON, and
// stops it when ctx ends. It builds the binaries into dir unless they are there already. promised
// says what the plans promise: "" nothing, "armed" more than anybody takes, "tight" next to
// nothing.
//
// The benchmarks of two commits share nothing else, so flags and protos may differ
// between them.
func ServeStack(ctx context.Context, dir, promised string, gateways int, backend string, out io.Writer) error {
	if err := buildTidegate(ctx, dir); err != nil {
		return err
	}
	own, err := os.MkdirTemp(dir, "run-") // the binaries are looked for above it
	if err != nil {
		return fmt.Errorf("make a folder for the services: %w", err)
	}
	defer os.RemoveAll(own)
	t, stop, err := startTidegate(ctx, own, backend, promise(promised), gateways)
	defer stop()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(stackLine{t.addr, t.more, t.path, t.header, t.keyed, t.pids(), t.signIn, t.catalog, t.plan}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
