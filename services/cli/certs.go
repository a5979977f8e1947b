package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// certsCmd makes certificates, and renews them.
type certsCmd struct {
	Dir       string   `arg:"" help:"Folder to write ca.pem, ca-key.pem, catalog.pem, catalog-key.pem, … to."`
	Host      []string `sep:"none" placeholder:"NAME" help:"Additional DNS name or IP address of every certificate; can be repeated."`
	Days      int      `default:"365" help:"How many days the certificates are valid."`
	MasterKey bool     `help:"Also create the master key, as master-key."`
	IfMissing bool     `xor:"how" help:"Do nothing if all the files exist."`
	Renew     bool     `xor:"how" help:"Replace the services' certificates and keys by new ones of the authority that is in the folder, for the same names and those of --host. Services that run take them without a restart."`
}

// Run makes the files.
func (c *certsCmd) Run(s *shell) error {
	if c.Days < 1 || c.Days > 3650 {
		return usagef("--days: %d is not between 1 and 3650", c.Days)
	}
	if c.Renew {
		return c.renew(s)
	}
	master := filepath.Join(c.Dir, "master-key")
	paths := serviceFiles(c.Dir)
	if c.MasterKey {
		paths = append(paths, master)
	}
	missing := 0
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			missing++
		}
	}
	if missing == 0 && c.IfMissing {
		if s.whole() {
			return s.printValue(map[string][]string{"files": paths})
		}
		s.note("All files are in %s.", c.Dir)
		return nil
	}
	if _, err := os.Lstat(master); c.MasterKey && err == nil {
		return fmt.Errorf("DIR: %s exists; nothing was written", master)
	}
	if err := writeServices(c.Dir, c.Host, time.Duration(c.Days)*24*time.Hour, time.Now()); err != nil {
		return fmt.Errorf("DIR: %w", err)
	}
	if c.MasterKey {
		if _, err := seal.Create(master); err != nil {
			return fmt.Errorf("DIR: %w", err)
		}
	}
	return s.printFiles(paths)
}

// renew replaces the services' files.
func (c *certsCmd) renew(s *shell) error {
	if c.MasterKey {
		return usagef("--master-key: --renew makes none; docs/deployment.md says how the master key is exchanged")
	}
	paths, expires, err := renewServices(c.Dir, c.Host, time.Duration(c.Days)*24*time.Hour, time.Now())
	if err != nil {
		return fmt.Errorf("DIR: %w", err)
	}
	s.note("The certificates are valid until %s.", expires.Format(time.DateOnly))
	return s.printFiles(paths)
}

// printFiles prints the files that were written.
func (s *shell) printFiles(paths []string) error {
	if s.whole() {
		return s.printValue(map[string][]string{"files": paths})
	}
	for _, path := range paths {
		fmt.Fprintln(s.Stdout, path)
	}
	return nil
}
