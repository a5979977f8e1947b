package bench

import "syscall"

// child makes the system end a process with its parent. Linux ends it with the
// thread that started it. Go ends a thread early only when a goroutine that is
// locked to it ends, and the benchmark locks none.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
