//go:build !linux

package bench

import "syscall"

// child does nothing: only Linux can end a process with its parent.
func child() *syscall.SysProcAttr { return nil }
