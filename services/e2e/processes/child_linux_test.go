package processes

import (
	"os"
	"syscall"
)

// child has the system end a process with its parent. Linux ends it with the
// thread that started it; Go ends a thread before the process only with a goroutine
// that is locked to it, and none is here.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// freeze stops a process in its tracks: its connections stay, and nothing answers on them.
func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// thaw has it go on.
func thaw(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
