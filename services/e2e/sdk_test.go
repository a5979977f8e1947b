package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTypeScriptSDK packs the SDK for TypeScript as it would be published, installs it
// into a project that has nothing of this repository, compiles the examples there as
// strictly as can be, and runs them against a server.
func TestTypeScriptSDK(t *testing.T) {
	t.Parallel()
	p := newSDKProject(t)
	modules := p.install(t, p.pack(t))
	p.compile(t)
	p.imports(t, modules)
	s := start(t, newData(t), append(quick(), "-no-sample")...)
	for example, want := range map[string]string{
		"grpc": "hello\nmessages to clients: 1\nINVALID_ARGUMENT api.context\n",
		"rest": "hello\nmessages to clients: 1\nINVALID_ARGUMENT\n",
	} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(within(t), "node", "out/"+example+".js")
			cmd.Dir = p.dir
			cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+s.CA, "BACKEND="+newBackend(t), "PASSWORD_FILE="+s.PasswordFile,
				"TIDEGATE_SERVER="+s.GRPC, "TIDEGATE_PORTAL="+s.Portal, "TIDEGATE_CA="+s.CA)
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
				t.Errorf("examples/%s.ts: %v\n%s\nwant\n%s", example, err, out, want)
			}
		})
	}
}

// sdkProject is somebody's project in TypeScript.
type sdkProject struct {
	dir, sdk string
}

// newSDKProject makes a project that has what the SDK's README tells to install, and the
// compiler, but not the SDK. It skips the test where there is no Node.
func newSDKProject(t *testing.T) *sdkProject {
	t.Helper()
	const variable, tools = "TIDEGATE_REQUIRE_NODE", "testdata/sdk"
	if _, err := exec.LookPath("npm"); err != nil {
		missing(t, variable, "no Node with npm on the path")
	}
	if _, err := os.Stat(filepath.Join(tools, "node_modules", ".bin", "tsc")); err != nil {
		missing(t, variable, "no TypeScript: run npm ci --prefix services/e2e/testdata/sdk")
	}
	sdk, err := filepath.Abs("../../gen/ts")
	if err != nil {
		t.Fatal(err)
	}
	p := &sdkProject{dir: t.TempDir(), sdk: sdk}
	for _, from := range []string{tools, filepath.Join(sdk, "examples")} {
		if out, err := exec.Command("cp", "-R", from+"/.", p.dir).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
	return p
}

// run runs a program in a folder and returns what it prints.
func (p *sdkProject) run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "npm_config_offline=true", "npm_config_update_notifier=false")
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr)
	}
	return out
}

// pack packs the SDK, as npm publish does, and returns the path of the package. It has
// the generated code of the public, and what npm shows of a package.
func (p *sdkProject) pack(t *testing.T) string {
	t.Helper()
	var packed []struct {
		Filename string
		Files    []struct{ Path string }
	}
	text := p.run(t, p.sdk, "npm", "pack", "--json", "--pack-destination", p.dir)
	if err := json.Unmarshal(text, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack said %v:\n%s", err, text)
	}
	allowed := regexp.MustCompile(`^(LICENSE|README\.md|package\.json|index\.(js|d\.ts)|lib/(google/rpc|tidegate/[a-z0-9]+/v[0-9]+)/(index|[a-z0-9_]+_pb)\.(js|d\.ts))$`)
	var files []string
	for _, file := range packed[0].Files {
		files = append(files, file.Path)
		if !allowed.MatchString(file.Path) || strings.Contains(file.Path, "backplane") {
			t.Errorf("the package has %s, which users do not need", file.Path)
		}
	}
	for _, want := range []string{"LICENSE", "README.md"} {
		if !slices.Contains(files, want) {
			t.Errorf("the package has no %s", want)
		}
	}
	if read(t, filepath.Join(p.sdk, "LICENSE")) != read(t, "../../LICENSE") {
		t.Error("gen/ts/LICENSE differs from LICENSE")
	}
	return filepath.Join(p.dir, packed[0].Filename)
}

// read returns a file's text.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// install installs the package, and returns the modules that it must have: one for
// each public package of the protos.
func (p *sdkProject) install(t *testing.T, file string) []string {
	t.Helper()
	// The SDK's peers are there already. To see that they fit, some releases of npm look into
	// the registry, which is out of reach; the compiler will tell.
	p.run(t, p.dir, "npm", "install", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", file)
	protos, err := filepath.Glob("../../proto/tidegate/*/v*")
	if err != nil || len(protos) < 8 {
		t.Fatalf("the protos = %v, %v, want at least 8 packages", protos, err)
	}
	modules := []string{"@tidegate/sdk", "@tidegate/sdk/google/rpc"}
	for _, dir := range protos {
		name := path.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
		if name != "backplane/v1" && name != "rules/v1" {
			modules = append(modules, "@tidegate/sdk/"+name)
		}
	}
	return modules
}

// compile compiles the examples: for Node, and as for a bundler, where the types are
// found in another way. It leaves the programs in out.
func (p *sdkProject) compile(t *testing.T) {
	t.Helper()
	tsc := filepath.Join("node_modules", ".bin", "tsc")
	p.run(t, p.dir, tsc)
	p.run(t, p.dir, tsc, "--noEmit", "--module", "esnext", "--moduleResolution", "bundler")
}

// imports imports each module.
func (p *sdkProject) imports(t *testing.T, modules []string) {
	t.Helper()
	const program = `
for (const name of process.argv.slice(1)) console.log(name, Object.keys(await import(name)).length > 0);
await import("@tidegate/sdk/backplane/v1").catch((error) => console.log(error.code));`
	out := p.run(t, p.dir, "node", append([]string{"--input-type=module", "-e", program}, modules...)...)
	want := strings.Join(modules, " true\n") + " true\nERR_MODULE_NOT_FOUND\n"
	if string(out) != want {
		t.Errorf("the modules are\n%s\nwant\n%s", out, want)
	}
}

// TestTypeScriptInDocuments compares the TypeScript of documents with the examples, which
// TestTypeScriptSDK runs: a line with an ellipsis stands for what is left out.
func TestTypeScriptInDocuments(t *testing.T) {
	examples, err := filepath.Glob("../../gen/ts/examples/*.ts")
	if err != nil || len(examples) == 0 {
		t.Fatalf("the examples = %v, %v", examples, err)
	}
	for _, document := range []string{"../../gen/ts/README.md", "../../README.md"} {
		blocks := regexp.MustCompile("(?s)\n```ts\n(.*?)```\n").FindAllStringSubmatch(read(t, document), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no TypeScript", document)
		}
		for _, block := range blocks {
			for part := range strings.SplitSeq(block[1], "// …\n") {
				if !slices.ContainsFunc(examples, func(file string) bool { return strings.Contains(read(t, file), part) }) {
					t.Errorf("%s has TypeScript that stands in none of the examples:\n%s", document, part)
				}
			}
		}
	}
}
