//go:build !linux

package e2e

import (
	"os"
	"testing"
)

// terminal opens a terminal, which this test does on Linux only.
func terminal(t *testing.T) (program *os.File, shows func() string) {
	t.Skip("terminals are opened on Linux only")
	return nil, nil
}
