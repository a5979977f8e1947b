//go:build !linux

package processes

import (
	"errors"
	"os"
	"syscall"
)

// child does nothing: only Linux can end a process with its parent.
func child() *syscall.SysProcAttr { return nil }

// freeze does nothing: not every system has signals for it.
func freeze(*os.Process) error { return errors.ErrUnsupported }

// thaw does nothing.
func thaw(*os.Process) error { return errors.ErrUnsupported }
