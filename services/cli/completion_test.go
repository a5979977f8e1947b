package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestComplete asks for the completions of command lines.
func TestComplete(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, oneAPI{}) })
	c := f.signIn(t)
	for line, want := range map[string]string{
		"ap":                                "api app apikey",
		"oauth-client sec":                  "secret",
		"oauth-client secret ":              "create list delete",
		"--timeout 1s oauth-client secret ": "create list delete",
		"api list -o ":                      "table json yaml",
		"api list --output y":               "yaml",
		"api list --output=":                "--output=table --output=json --output=yaml",
		"api list --server=" + f.addr[:3]:   "--server=" + f.addr,
		"usage -o ":                         "table json yaml csv",
		"quota list --output=c":             "--output=csv",
		"usage --by app":                    "application",
		"api list --no-such=":               "none",
		"completion ":                       "bash zsh fish",
		"login --password":                  "--password-file",
		"token --s":                         "--sandbox --secret --secret-file --server",
		"server use ":                       f.addr,
		"--server ":                         f.addr,
		"login --password-file ":            "", // a file
		"serve -":                           "", // the server's flags
		"__comp":                            "none",
		"api get ":                          "yes",
		"api get yes ":                      "yes", // it takes several
		"api version get yes/1.0.0 ":        "yes/1.0.0",
		"subscription get Phone ":           "yes/1.0.0",
		"api update yes ":                   "none", // it takes one
		"api publish y":                     "yes/1.0.0",
		"usage --api ":                      "yes/1.0.0",
		"api version create yes ":           "none", // it is to be made
		"subscribe x yes --plan ":           "none", // the server cannot tell now
		"user roles x --role ":              "admin creator publisher subscriber",
		"record list --end-reason DRA":      "DRAIN",
		"record get ":                       "none",
	} {
		stdout, stderr, code := c.run(t, append([]string{"__complete", "--"}, strings.Split(line, " ")...)...)
		var got []string
		for row := range strings.Lines(stdout) {
			word, _, _ := strings.Cut(row, "\t")
			got = append(got, word)
		}
		if code == 1 && got == nil { // it is no file either
			got, code = []string{"none"}, 0
		}
		if strings.Join(got, " ") != want || code != 0 {
			t.Errorf("completions of %q = %q, %q, %d, want %q", line, got, stderr, code, want)
		}
	}
}

// TestMain is the program that shells complete, when it is told to be.
func TestMain(m *testing.M) {
	if os.Getenv("CLI_IS_TIDEGATE") == "1" {
		os.Exit(Main(context.Background(), Program{Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

// TestShells has shells complete a command line with their scripts.
func TestShells(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "tidegate")); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := (&store{dir: home}).update(func(known *state) error { known.server("h:90"); return nil }); err != nil {
		t.Fatal(err)
	}
	for shell, x := range map[string]struct {
		args []string
		try  string
		want string
	}{
		"bash": {[]string{"--norc", "-c"}, `source <(tidegate completion bash)
			complete -p tidegate >/dev/null || exit
			COMP_WORDS=(tidegate oauth-client secret "") COMP_CWORD=3; _tidegate; echo "${COMPREPLY[*]}"
			COMP_WORDS=(tidegate --output j) COMP_CWORD=2; _tidegate; echo "${COMPREPLY[*]}"
			COMP_WORDS=(tidegate --output = y) COMP_CWORD=3; _tidegate; echo "${COMPREPLY[*]}"
			COMP_WORDS=(tidegate server use h : 9) COMP_CWORD=5; _tidegate; echo "${COMPREPLY[*]}"
			compopt() { echo "$*"; }
			COMP_WORDS=(tidegate record get "") COMP_CWORD=3; _tidegate; echo "${COMPREPLY[*]}"`, "+o 90 create default delete json list yaml"},
		"zsh": {[]string{"-f", "-c"}, `compdef() { [[ $1 = _tidegate ]] }; _describe() { print ${${(P)2}%%:*} }; _files() { print files }
			source <(tidegate completion zsh)
			words=(tidegate oauth-client secret ""); CURRENT=4; _tidegate
			words=(tidegate --output j); CURRENT=3; _tidegate
			words=(tidegate record get ""); CURRENT=4; _tidegate || print none
			words=(tidegate certs ""); CURRENT=3; _tidegate`, "create delete files json list none"},
		"fish": {[]string{"--no-config", "-c"}, `tidegate completion fish | source
			complete -C "tidegate oauth-client secret " | cut -f 1 | sort -r | string join " "
			complete -C "tidegate --output j" | cut -f 1
			complete -C "tidegate server use h:9" | cut -f 1
			complete -C "tidegate record get " | cut -f 1`, "create delete h:90 json list"},
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			switch {
			case err != nil && os.Getenv("TIDEGATE_REQUIRE_SHELLS") != "":
				t.Fatalf("there is no %s, and TIDEGATE_REQUIRE_SHELLS is set", shell)
			case err != nil:
				t.Skipf("there is no %s", shell)
			}
			cmd := exec.CommandContext(t.Context(), path, append(x.args, x.try)...)
			cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "CLI_IS_TIDEGATE=1", "TIDEGATE_HOME="+home, "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			got := strings.Fields(string(out))
			slices.Sort(got)
			if err != nil || strings.Join(got, " ") != x.want {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
