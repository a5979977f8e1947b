//go:build unix

package seal

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// ofOurGroup reports whether a file belongs to one of this process's groups.
func ofOurGroup(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	groups, err := os.Getgroups()
	return int(stat.Gid) == os.Getegid() || err == nil && slices.Contains(groups, int(stat.Gid))
}
