//go:build !windows

package cli

import "syscall"

// connectionRefused is what the system says where nobody listens.
const connectionRefused = syscall.ECONNREFUSED
