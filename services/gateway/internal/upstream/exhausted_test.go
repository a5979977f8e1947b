package upstream

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestOutOfDescriptors is no fault of the backend.
func TestOutOfDescriptors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		none := os.NewSyscallError("socket", errno)
		for _, cause := range []error{
			&net.OpError{Op: "dial", Err: none},
			&net.OpError{Op: "dial", Err: &net.DNSError{Err: "dial udp 192.0.2.1:53: " + none.Error(), Name: "backend"}},
		} {
			var ours *Error
			if err := failed(t.Context(), cause, Unreachable); !errors.As(err, &ours) || ours.Kind != Exhausted {
				t.Errorf("failed(%v) = %v, want Exhausted", cause, err)
			}
		}
	}
}
