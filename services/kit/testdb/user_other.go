//go:build !unix

package testdb

import (
	"errors"
	"os/exec"
)

// stepDown refuses: throwaway clusters need a unix shell.
func stepDown(*exec.Cmd, string) error {
	return errors.New("throwaway clusters need unix: set TIDEGATE_TEST_POSTGRES_URL")
}
