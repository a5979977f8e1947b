package docs

import (
	"bufio"
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// compose is what the tests read of a compose file.
type compose struct {
	Services map[string]composeService
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

type composeService struct {
	Image           string
	Command         []string
	EnvFile         string                                `yaml:"env_file"`
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	Volumes         []string
	Secrets         []string
	Ports           []string
	ReadOnly        bool   `yaml:"read_only"`
	StopGracePeriod string `yaml:"stop_grace_period"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(file(t, "deploy/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// file reads a file of the tree.
func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// environment reads a sample of deploy/env.
func environment(t *testing.T, name string) map[string]string {
	t.Helper()
	env := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(file(t, filepath.Join("deploy", name))))
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			key, value, ok := strings.Cut(line, "=")
			if _, twice := env[key]; !ok || twice {
				t.Errorf("deploy/%s: the line %q is not NAME=value, or the second of its name", name, line)
			}
			env[key] = value
		}
	}
	return env
}

// TestSamples gives the samples of the environment to the services: each line
// is one of the service's flags, and together they are a configuration that the
// service takes.
func TestSamples(t *testing.T) {
	for _, service := range Services() {
		env := environment(t, "env/"+service+".env")
		variables := map[string]bool{}
		Flags(service).VisitAll(func(f *flag.Flag) { variables[run.Variable(service, f.Name)] = true })
		var given []string
		for name, value := range env {
			if !variables[name] {
				t.Errorf("deploy/env/%s.env has %s, which %s does not read", service, name, service)
			}
			given = append(given, name+"="+value)
		}
		var stderr strings.Builder
		check, register := configuration(service)
		code := run.Exec(t.Context(), run.Program{Name: service, Env: given, Stdout: io.Discard, Stderr: &stderr}, register, check,
			func(context.Context, *slog.Logger) error { return check() })
		if code != 0 {
			t.Errorf("deploy/env/%s.env is refused: %s", service, stderr.String())
		}
	}
}

// printed returns the configuration that a program runs with, without what gave each
// value.
func printed(t *testing.T, program string, env []string, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	check, register := configuration(program)
	p := run.Program{Name: program, Args: append(args, "-print-config"), Env: env, Stdout: &stdout, Stderr: &stderr}
	if code := run.Exec(t.Context(), p, register, check, nil); code != 0 {
		t.Errorf("%s %q with %q = %d: %s", program, args, env, code, stderr.String())
	}
	return regexp.MustCompile(`(?m) # .*$`).ReplaceAllString(stdout.String(), "")
}

// TestConfigurationSamples gives the sample files to the programs: a service's file says
// what its sample of the environment says.
func TestConfigurationSamples(t *testing.T) {
	for _, service := range Services() {
		path := filepath.Join(root, "deploy/config", service+".yaml")
		var all, database []string
		for name, value := range environment(t, "env/"+service+".env") {
			all = append(all, name+"="+value)
			if name == run.Variable(service, "db") {
				database = all[len(all)-1:]
			}
		}
		args := []string{"-config", path}
		if database != nil {
			args = append(args, "-db-file=") // there is no such file here
		}
		if file, env := printed(t, service, database, args...), printed(t, service, all); file != env {
			t.Errorf("deploy/config/%s.yaml is not what deploy/env/%s.env is:\n%s", service, service, cmp.Diff(env, file))
		}
	}
	if got := printed(t, "tidegate", nil, "-config", filepath.Join(root, "deploy/config/tidegate.yaml")); !strings.Contains(got, "\ngateway.ping: 1m0s\n") {
		t.Errorf("tidegate serve -config deploy/config/tidegate.yaml -print-config has no gateway.ping:\n%s", got)
	}
}

// TestPrintedConfiguration gives what each program prints of its configuration to the
// program again.
func TestPrintedConfiguration(t *testing.T) {
	needed := map[string][]string{
		"catalog": {"-master-key-file=key"}, "gateway": {"-master-key-file=key"}, "portal": {"-master-key-file=key", "-plaintext"},
		"subscription": {"-master-key-file=key", "-issuer=https://localhost"}, "tidegate": {"-gateway.dial-loopback", "-portal.trusted-proxies=10.0.0.0/8,::1"},
	}
	for program, args := range needed {
		first := printed(t, program, nil, args...)
		path := filepath.Join(t.TempDir(), "printed.yaml")
		if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		if again := printed(t, program, nil, "-config", path); again != first {
			t.Errorf("%s -print-config is read as something else:\n%s", program, cmp.Diff(first, again))
		}
		Flags(program).VisitAll(func(f *flag.Flag) {
			if f.Name != "config" && f.Name != "version" && f.Name != "print-config" && !strings.Contains(first, f.Name+":") {
				t.Errorf("%s -print-config leaves out %s", program, f.Name)
			}
		})
	}
}

// TestServiceLinks has a look at the names of all variables: none looks like one that
// Kubernetes makes for a Service, which programs ignore.
func TestServiceLinks(t *testing.T) {
	link := regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)$`)
	for _, program := range append(Services(), "tidegate") {
		Flags(program).VisitAll(func(f *flag.Flag) {
			if name := run.Variable(program, f.Name); link.MatchString(name) {
				t.Errorf("%s has the form of a variable that Kubernetes makes", name)
			}
		})
	}
}

// TestLists looks for flags whose help says that commas separate what they hold: a file
// can have a list there.
func TestLists(t *testing.T) {
	commas := regexp.MustCompile(`separated by commas|such as \S+,\S`)
	for _, program := range append(Services(), "tidegate") {
		Flags(program).VisitAll(func(f *flag.Flag) {
			if _, isList := f.Value.(run.List); isList != commas.MatchString(f.Usage) {
				t.Errorf("%s -%s: is a list in files: %v; its help: %s", program, f.Name, isList, f.Usage)
			}
		})
	}
}

// configuration returns how a program reads and checks its flags.
func configuration(program string) (check func() error, register func(*flag.FlagSet)) {
	if program == "tidegate" {
		c := standalone.Default()
		return c.Check, c.Flags
	}
	type config interface {
		Flags(fs *flag.FlagSet, prefix string)
		Check() error
	}
	c := map[string]config{
		"catalog": new(catalog.Default()), "subscription": new(subscription.Default()),
		"gateway": new(gateway.Default()), "portal": new(portal.Default()),
	}[program]
	return c.Check, func(fs *flag.FlagSet) { c.Flags(fs, "") }
}

// TestCompose checks that the parts of the compose file fit together: programs,
// files, volumes, ports and names.
func TestCompose(t *testing.T) {
	c := readCompose(t)
	certs := composeCerts(t, c)
	build := file(t, "deploy/build")
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				file(t, filepath.Join("deploy", source))
			} else if _, ok := c.Volumes[source]; !ok {
				t.Errorf("%s mounts the volume %q, which is not declared", name, source)
			}
		}
		for dependency := range s.DependsOn {
			if _, ok := c.Services[dependency]; !ok {
				t.Errorf("%s depends on %q, which is no service", name, dependency)
			}
		}
		if name == "postgres" {
			continue
		}
		if program := s.Command[0]; !strings.Contains(build, "/cmd/"+program+" ") && !strings.Contains(build, "/cmd/"+program+"\n") {
			t.Errorf("%s runs %q, which deploy/build does not build", name, program)
		}
		if !s.ReadOnly || !strings.Contains(s.Image, "tidegate:latest") || !strings.Contains(file(t, "deploy/image"), "tidegate:latest") {
			t.Errorf("%s: image %q, read_only %v, want the image of deploy/image, read-only", name, s.Image, s.ReadOnly)
		}
		if slices.Contains(Services(), name) {
			composeEnvironment(t, c, name, certs)
		}
	}
	for _, name := range Services() {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("compose.yaml does not run %s", name)
		}
	}
	if ignored := file(t, ".gitignore"); !strings.Contains(ignored, "/deploy/secrets/\n") || c.Secrets["admin-password"].File != "./secrets/admin-password" {
		t.Errorf("the secret admin-password is %q, want a file in deploy/secrets, which git ignores", c.Secrets["admin-password"].File)
	}
	for _, before := range []string{"catalog", "subscription"} {
		if _, ok := c.Services["gateway"].DependsOn[before]; !ok {
			t.Errorf("the gateway does not depend on %s: they would stop at once, and its last reports be lost", before)
		}
	}
	drain := Flags("gateway").Lookup("drain").DefValue
	if grace, long := duration(t, c.Services["gateway"].StopGracePeriod), duration(t, drain)+20*time.Second; grace < long {
		t.Errorf("the gateway is killed after %v, want %v at least: it drains, closes and reports", grace, long)
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// composeCerts runs the command of the setup service, twice, and returns the
// files that it makes, by their path in the containers.
func composeCerts(t *testing.T, c compose) []string {
	t.Helper()
	setup, dir := c.Services["setup"], filepath.Join(t.TempDir(), "certs")
	if setup.Command[0] != "tidegate" || !slices.Contains(setup.Volumes, "certs:/certs") {
		t.Fatalf("setup runs %q with %q, want tidegate certs into the volume", setup.Command, setup.Volumes)
	}
	var args []string
	for _, arg := range setup.Command[1:] {
		args = append(args, strings.Replace(arg, "/certs", dir, 1))
	}
	for range 2 {
		if out, err := exec.Command(filepath.Join(bin(t), "tidegate"), args...).CombinedOutput(); err != nil {
			t.Fatalf("tidegate %q: %v\n%s", args, err, out)
		}
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range made {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, want one for its owner only", path, info.Mode())
		}
		made[i] = "/certs/" + filepath.Base(path)
	}
	return made
}

// composeEnvironment checks that what a service is told exists: files, folders,
// other services at their ports, and databases.
func composeEnvironment(t *testing.T, c compose, name string, certs []string) {
	t.Helper()
	s := c.Services[name]
	if s.EnvFile != "env/"+name+".env" || !slices.Equal(s.Command, []string{name}) {
		t.Errorf("%s runs %q with %s, want %s with env/%s.env", name, s.Command, s.EnvFile, name, name)
	}
	env := environment(t, s.EnvFile)
	mounts := map[string]bool{"/run/secrets/": len(s.Secrets) > 0}
	for _, volume := range s.Volumes {
		parts := strings.Split(volume, ":")
		mounts[parts[1]+"/"] = true
	}
	postgres := environment(t, "env/postgres.env")
	for key, value := range env {
		folder, base := filepath.Split(value)
		host, port, err := net.SplitHostPort(value)
		switch {
		case strings.HasPrefix(value, "/"):
			if !mounts[folder] || folder == "/certs/" && !slices.Contains(certs, value) || folder == "/run/secrets/" && c.Secrets[base].File == "" {
				t.Errorf("%s=%s: there is no such file in the container", key, value)
			}
		case strings.HasPrefix(value, "postgres://"):
			want := "postgres://" + postgres["POSTGRES_USER"] + ":" + postgres["POSTGRES_PASSWORD"] + "@postgres:5432/" + name + "?sslmode=disable"
			if value != want || !strings.Contains(file(t, "deploy/postgres-init.sql"), "CREATE DATABASE "+name+";") {
				t.Errorf("%s=%s, want %s, and the database in postgres-init.sql", key, value, want)
			}
		case err == nil && host != "" && !strings.Contains(host, "/"):
			if _, ok := c.Services[host]; !ok || !listens(t, host, ":"+port) {
				t.Errorf("%s=%s: no service listens there", key, value)
			}
		}
	}
	for _, published := range s.Ports {
		if _, inside, _ := strings.Cut(published, ":"); !listens(t, name, ":"+inside) {
			t.Errorf("%s publishes %s, where it does not listen", name, published)
		}
	}
}

// listens reports whether a service is told to listen at an address.
func listens(t *testing.T, service, address string) bool {
	for key, value := range environment(t, "env/"+service+".env") {
		if value == address && regexp.MustCompile(`_(GRPC|GRPC_INTERNAL|LISTEN|WS|WSS)$`).MatchString(key) {
			return true
		}
	}
	return false
}

// TestImage checks that the image has what the compose file needs of it: the
// folders that volumes are mounted on, for the user that it runs as.
func TestImage(t *testing.T) {
	dockerfile := file(t, "deploy/Dockerfile")
	for _, line := range []string{
		"\nUSER 65532:65532\n",
		" && mkdir /volumes && mkdir -m 0700 /volumes/data /volumes/certs\n",
		"\nCOPY --from=build --chown=65532:65532 /volumes/ /\n",
		" HOME=/data\n",
	} {
		if !strings.Contains(dockerfile, line) {
			t.Errorf("deploy/Dockerfile has no %q", line)
		}
	}
	ignored := file(t, ".dockerignore")
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(dockerfile, -1) {
		for source := range strings.FieldsSeq(m[1]) {
			if !strings.Contains(ignored, "\n!"+strings.TrimSuffix(source, "*")+"\n") {
				t.Errorf("deploy/Dockerfile copies %s, which .dockerignore leaves out", source)
			}
		}
	}
	m := regexp.MustCompile(`(?m)^CMD \["tidegate", "serve", (.*)\]$`).FindStringSubmatch(dockerfile)
	if m == nil {
		t.Fatal("deploy/Dockerfile has no CMD that serves")
	}
	flags := Flags("tidegate")
	if err := flags.Parse(strings.Fields(strings.NewReplacer(`"`, "", ",", "").Replace(m[1]))); err != nil || flags.Lookup("host").Value.String() != "0.0.0.0" {
		t.Errorf("CMD has the flags %s, %v, want such that serve all interfaces", m[1], err)
	}
	for _, name := range []string{"https", "grpc", "ws", "wss"} {
		if port := flags.Lookup(name).DefValue; !regexp.MustCompile(`(?m)^EXPOSE .*\b` + port + `\b`).MatchString(dockerfile) {
			t.Errorf("deploy/Dockerfile does not EXPOSE %s", port)
		}
	}
}
