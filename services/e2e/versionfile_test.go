package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// versionFiles gives a version back as it was printed, as YAML and as JSON, with secrets that
// it does not have the values of: nothing changes. Its file is good for another version, too.
func versionFiles(t *testing.T, sh *shell, api, settings string) {
	t.Helper()
	of := api + "/2.0.0"
	sh.run(t, append([]string{
		"api", "version", "create", api, "2.0.0", "--from", "1.0.0", "--backend-identity", "headers", "--health-check", "/healthz", "--suspend-after", "2", "--backend-dial", "2s",
	}, strings.Fields(settings)...)...)
	versionCopies(t, sh, api)
	file := filepath.Join(t.TempDir(), "version")
	changing := regexp.MustCompile(`(?m)^ *"?(etag|updateTime|createTime|name|version|/?[a-z]*ws[^,]*)"?:.*$|^.*"?wss?://[^ ]*:[0-9]+/spoken/.*$`)
	shown := func(version, format string) string { return sh.run(t, "api", "version", "get", version, "-o", format) }
	alike := func(what, was, is string) {
		t.Helper()
		if diff := cmp.Diff(strings.Split(changing.ReplaceAllString(was, ""), "\n"), strings.Split(changing.ReplaceAllString(is, ""), "\n")); diff != "" {
			t.Errorf("%s (-was +is):\n%s", what, diff)
		}
	}
	for _, format := range []string{"yaml", "json"} {
		was := shown(of, format)
		if err := os.WriteFile(file, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		sh.run(t, "api", "version", "update", of, "-f", file)
		alike("given back as "+format, was, shown(of, format))
		_, stderr, code := sh.try(t, "", "api", "version", "update", of, "-f", file)
		if want := "somebody else changed it first"; code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("a file of before = %d %s, want %q", code, stderr, want)
		}
	}
	was := shown(of, "json")
	_, stderr, code := sh.try(t, was, "api", "version", "create", api, "3.0.0", "--file", "-")
	if want := "--file: -: backend_options.headers[0].secret.value: is required: none is stored"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a new version of a file without secrets = %d %s, want %q", code, stderr, want)
	}
	if _, stderr, code := sh.try(t, was, "api", "version", "create", api, "3.0.0", "--from", "2.0.0", "--file", "-"); code != 0 {
		t.Fatalf("a new version of a file = %d %s", code, stderr)
	}
	alike("a version that is made of the file", was, shown(api+"/3.0.0", "json"))
	_, stderr, code = sh.try(t, "tags: [rough]\nplans: [Gold]\nidle_timeout: 7s\n", "api", "version", "update", of, "-f", "-")
	if now := shown(of, "yaml"); code != 0 || !strings.Contains(now, "- rough") || !strings.Contains(now, "idleTimeout: \"7s\"") || !strings.Contains(now, "maxSessionAge: \"3600s\"") {
		t.Errorf("a part of a version = %d %s, and the version is\n%s", code, stderr, now)
	}
	_, stderr, code = sh.try(t, "max_session_age: 0.5s\n", "api", "version", "update", of, "-f", "-")
	if want := "api version update: --file: -: max_session_age: must be greater than or equal to 1s"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a bad value = %d %s, want %q", code, stderr, want)
	}
	sh.run(t, "api", "version", "delete", of, "--yes")
	sh.run(t, "api", "version", "delete", api+"/3.0.0", "--yes")
}

// versionCopies makes copies of an API's version 2.0.0, which is one of 1.0.0: a flag changes what
// it says and no more, also where that is nothing, and what is refused is not there.
func versionCopies(t *testing.T, sh *shell, api string) {
	t.Helper()
	field := regexp.MustCompile(`(?m)^(Endpoint|Headers for backends|Identity for backends|Health check|Suspension|Origins|Tags|Compression|Greatest message|Longest session|Description)  +(.*)$`)
	fields := func(version string) map[string]string {
		all := map[string]string{}
		for _, m := range field.FindAllStringSubmatch(sh.run(t, "api", "version", "get", api+"/"+version), -1) {
			all[m[1]] = m[2]
		}
		return all
	}
	first, second := fields("1.0.0"), fields("2.0.0")
	for _, name := range []string{"Endpoint", "Headers for backends"} {
		if first[name] == "" || second[name] != first[name] {
			t.Errorf("%s of the copy is %q, want %q", name, second[name], first[name])
		}
	}
	if second["Health check"] != "/healthz" || second["Suspension"] != "after 2 failures" || second["Identity for backends"] != "headers" {
		t.Errorf("the copy has %v, want what was given", second)
	}
	sh.run(t, "api", "version", "create", api, "2.1.0", "--from", "2.0.0", "--health-check", "off", "--origin", "", "--tag", "", "--no-deflate", "--max-message", "0", "--max-session-age", "0", "--description", "")
	want := maps.Clone(second)
	for _, name := range []string{"Health check", "Origins", "Tags", "Compression", "Greatest message", "Longest session", "Description"} {
		if want[name] = "-"; name == "Compression" {
			want[name] = "no"
		}
		if second[name] == want[name] || second[name] == "" {
			t.Errorf("the source has no %s", name)
		}
	}
	if diff := cmp.Diff(want, fields("2.1.0")); diff != "" {
		t.Errorf("a copy with settings taken away (-want +got):\n%s", diff)
	}
	_, stderr, code := sh.try(t, "", "api", "version", "create", api, "2.2.0", "--from", "2.0.0", "--endpoint", "ws://elsewhere.example")
	if again := "--backend-header: must be given again"; code != 1 || !strings.Contains(stderr, again) {
		t.Errorf("a copy for another backend without its secret = %d %s, want %q", code, stderr, again)
	}
	if list := sh.run(t, "api", "version", "list", api); strings.Contains(list, "2.2.0") {
		t.Errorf("what was refused is there:\n%s", list)
	}
	sh.run(t, "api", "version", "delete", api+"/2.1.0", "--yes")
}
