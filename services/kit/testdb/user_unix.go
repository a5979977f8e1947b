//go:build unix

package testdb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// stepDown makes cmd run as another user if this process is root, because Postgres
// refuses to run as root. It also moves cmd out of the terminal's process group, so
// that it outlives an interrupt long enough to clean up.
func stepDown(cmd *exec.Cmd, folder string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			continue
		}
		if err := os.Chown(folder, int(uid), int(gid)); err != nil {
			return fmt.Errorf("give the cluster's folder to %s: %w", name, err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return nil
	}
	return errors.New("Postgres does not run as root, and there is no user postgres or nobody")
}
