package bench

import "syscall"

// child has the system end a process with its parent. Linux ends it with the
// thread that started it; Go ends a thread before the process only with a goroutine
// that is locked to it, and none is here.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
