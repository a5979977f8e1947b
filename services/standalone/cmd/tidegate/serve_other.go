//go:build !unix

package main

import (
	"context"

	"github.com/tidegatehq/tidegate/services/cli"
)

// server returns nil: the gateway's sockets and the lock of the data folder need
// a Unix.
func server() func(ctx context.Context, args []string) int { return nil }

// recovery returns nil: there is no server whose database it could be.
func recovery() func(ctx context.Context, r cli.Recovery) error { return nil }
