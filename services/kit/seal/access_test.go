package seal

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccess looks who else may read a key file. Groups are what Kubernetes gives a file
// of a secret with fsGroup.
func TestAccess(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		ours bool
		want string // "" if the file may be read
	}{
		{0o600, false, ""},
		{0o400, false, ""},
		{0o640, true, ""},
		{0o440, true, ""},
		{0o640, false, "has mode 0640, and its group, which this process is not in, can read it"},
		{0o440, false, "has mode 0440, and its group, which this process is not in, can read it"},
		{0o660, true, "has mode 0660, its group can do more than read it"},
		{0o644, true, "has mode 0644, others can read it"},
		{0o602, true, "has mode 0602, others can read it"},
	} {
		err := checkAccess(tt.mode, func() bool { return tt.ours })
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("checkAccess(%04o, of our group: %v) = %v, want %q", tt.mode, tt.ours, err, tt.want)
		}
	}
}

// TestGroup reads a file of a group of this process, and where that can be tried, of
// another one.
func TestGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	text := prefix + base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, -1, os.Getegid()); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o440} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err != nil {
			t.Errorf("Load of a file with mode %04o, of our group = %v", mode, err)
		}
	}
	const stranger = 54321
	if err := os.Chown(path, -1, stranger); err != nil {
		t.Logf("only TestAccess tries another group: %v", err)
		return
	}
	if _, err := Load(path); err == nil {
		t.Error("Load of a file that a group of others can read = nil, want an error")
	}
}
