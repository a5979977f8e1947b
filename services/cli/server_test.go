package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signInToo signs in to another server with the same store.
func (f *fakeServer) signInToo(t *testing.T, c command) {
	t.Helper()
	c.stdin = strings.NewReader("secret\n")
	if _, stderr, code := c.run(t, "login", "--server", f.addr, "--ca", f.ca); code != 0 {
		t.Fatalf("login = %d, %q", code, stderr)
	}
}

// TestServers signs in to two servers, and works with each by turns: each has its own
// authority, and errors say which server is meant.
func TestServers(t *testing.T) {
	t.Parallel()
	one, two := newFakeServer(t), newFakeServer(t)
	c := command{dir: t.TempDir()}
	if stdout, stderr, code := c.run(t, "server", "list", "-o", "json"); stdout != "{\n  \"servers\": []\n}\n" || code != 0 {
		t.Errorf("server list = %q, %q, %d, want none", stdout, stderr, code)
	}
	one.signInToo(t, c)
	two.signInToo(t, c)
	stdout, stderr, code := c.run(t, "server", "list")
	rows := strings.Fields(strings.ReplaceAll(stdout, "in use", "in-use"))
	if code != 0 || len(rows) != 4+5+5 || !strings.Contains(stdout, one.ca) || !strings.Contains(stdout, two.ca) {
		t.Errorf("server list = %q, %q, %d, want two servers", stdout, stderr, code)
	}
	for _, f := range []*fakeServer{one, two, one} {
		if stdout, stderr, code := c.run(t, "server", "use", f.addr); code != 0 || !strings.Contains(stdout, f.addr) {
			t.Errorf("server use = %q, %q, %d", stdout, stderr, code)
		}
		if stdout, stderr, code := c.run(t, "whoami"); code != 0 || !strings.Contains(stdout, f.addr) {
			t.Errorf("whoami = %q, %q, %d, want that it asks %s", stdout, stderr, code, f.addr)
		}
	}
	for _, x := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"server", "use", "h:1"}, `tidegate: server use: ADDRESS: you have not signed in to "h:1"; name one of ` + min(one.addr, two.addr) + ", " + max(one.addr, two.addr), 2},
		{[]string{"app", "get", "applications/x"}, "tidegate: app get: " + one.addr + " does not know this command: method GetApplication not implemented", 1},
		{[]string{"oauth-client", "create", "Phone"}, "tidegate: oauth-client create: no secret for you (at " + one.addr + ")", 1},
		{[]string{"oauth-client", "create", "Phone", "--server", two.addr}, "tidegate: oauth-client create: no secret for you (at " + two.addr + ")", 1},
		{[]string{"whoami", "--server", "127.0.0.1:1"}, "tidegate: whoami: not signed in to 127.0.0.1:1; sign in with: tidegate login --server 127.0.0.1:1", 1},
	} {
		if _, stderr, code := c.run(t, x.args...); code != x.code || stderr != x.want+"\n" {
			t.Errorf("tidegate %q = %q, %d, want %q, %d", x.args, stderr, code, x.want, x.code)
		}
	}
	if stdout, stderr, code := c.run(t, "server", "remove", one.addr); code != 0 || stderr != "" || stdout != "Removed  "+one.addr+"\nWith     1 sign-in\n" {
		t.Errorf("server remove = %q, %q, %d", stdout, stderr, code)
	}
	if _, stderr, code := c.run(t, "whoami", "--server", one.addr); code != 1 || !strings.Contains(stderr, "not signed in to "+one.addr) {
		t.Errorf("whoami at a server that was removed = %q, %d", stderr, code)
	}
	// A server that is away is forgotten all the same, and the user is told.
	two.stop()
	if _, stderr, code := c.run(t, "server", "remove", two.addr); code != 0 || !strings.Contains(stderr, "the sign-in goes on at "+two.addr+" until it expires") {
		t.Errorf("server remove of one that is away = %q, %d", stderr, code)
	}
	if stdout, _, _ := c.run(t, "server", "list"); strings.Count(stdout, "\n") != 1 {
		t.Errorf("server list = %q, want none", stdout)
	}
}

// TestTrust stands in the folder of one server and works with another, whose authority
// was given at the sign-in.
func TestTrust(t *testing.T) {
	here, there := newFakeServer(t), newFakeServer(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir(filepath.Dir(defaultCA), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(f *fakeServer) {
		t.Helper()
		text, err := os.ReadFile(f.ca)
		if err == nil {
			err = os.WriteFile(defaultCA, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(here)
	c := command{dir: t.TempDir()}
	there.signInToo(t, c)
	if _, stderr, code := c.run(t, "whoami"); code != 0 {
		t.Errorf("whoami in the folder of another server = %q, %d", stderr, code)
	}
	// Signing in again needs no --ca.
	c.stdin = strings.NewReader("secret\n")
	if _, stderr, code := c.run(t, "login"); code != 0 {
		t.Errorf("login in the folder of another server = %q, %d", stderr, code)
	}
	// The folder's own needs none either, and is remembered elsewhere.
	c.stdin = strings.NewReader("secret\n")
	if _, stderr, code := c.run(t, "login", "--server", here.addr); code != 0 {
		t.Errorf("login = %q, %d", stderr, code)
	}
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, stderr, code := c.run(t, "whoami"); code != 0 {
		t.Errorf("whoami elsewhere = %q, %d", stderr, code)
	}
	// A folder that was made anew is believed at once: nobody gave its authority.
	t.Chdir(folder)
	put(there)
	if _, stderr, code := c.run(t, "whoami"); code != 1 || !strings.Contains(stderr, "not trusted") {
		t.Errorf("whoami with another authority in the folder = %q, %d", stderr, code)
	}
	// One that was given and is gone is missed, not replaced.
	if err := os.Remove(there.ca); err != nil {
		t.Fatal(err)
	}
	want := "tidegate: whoami: the authority that was given at the sign-in (another with --ca): open " + there.ca + ": no such file or directory\n"
	if _, stderr, code := c.run(t, "whoami", "--server", there.addr); code != 1 || stderr != want {
		t.Errorf("whoami without its authority = %q, %d, want %q", stderr, code, want)
	}
}
