//go:build !unix

package main

import "context"

// server returns nil: the gateway's sockets and the lock of the data folder need
// a Unix.
func server() func(ctx context.Context, args []string) int { return nil }
