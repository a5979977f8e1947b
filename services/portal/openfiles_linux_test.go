package portal_test

import (
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/openfiles"
	"github.com/tidegatehq/tidegate/services/portal"
)

// TestTooFewOpenFiles: a portal in a process of its own does not start where it could not
// serve, and says which limit of open files it needs.
func TestTooFewOpenFiles(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	})
	few := syscall.Rlimit{Cur: uint64(openfiles.Open() + 40), Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	cfg := portal.Default()
	cfg.Listen, cfg.GRPC, cfg.Ops.Addr, cfg.Plaintext = "127.0.0.1:0", "127.0.0.1:0", "", true
	cfg.MasterKeyFile = masterKey(t)
	err := portal.Run(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "the limit of open files is ") || !strings.Contains(err.Error(), "are needed") {
		t.Errorf("Run = %v, want that the limit of open files is too low", err)
	}
}
