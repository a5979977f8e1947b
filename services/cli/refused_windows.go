package cli

import "golang.org/x/sys/windows"

// connectionRefused is what the system says where nobody listens. Package
// syscall's ECONNREFUSED is never returned on Windows.
const connectionRefused = windows.WSAECONNREFUSED
