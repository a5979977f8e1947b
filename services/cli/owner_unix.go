//go:build unix

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group that another has, if they differ.
func keepOwner(path string, of fs.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	had, ok := of.Sys().(*syscall.Stat_t)
	has, same := now.Sys().(*syscall.Stat_t)
	if !ok || !same || had.Uid == has.Uid && had.Gid == has.Gid {
		return nil
	}
	return os.Chown(path, int(had.Uid), int(had.Gid))
}
