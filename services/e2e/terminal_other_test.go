//go:build !linux

package e2e

import (
	"os"
	"testing"
)

// terminal opens a terminal, which this test does on Linux only.
func terminal(t *testing.T) *os.File {
	t.Skip("terminals are opened on Linux only")
	return nil
}
