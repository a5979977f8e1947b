package upstream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestOutOfDescriptors is no fault of the backend.
func TestOutOfDescriptors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		err := failed(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)}, Unreachable)
		var ours *Error
		if !errors.As(err, &ours) || ours.Kind != Exhausted {
			t.Errorf("failed(%v) = %v, want Exhausted", errno, fmt.Sprint(err))
		}
	}
}
