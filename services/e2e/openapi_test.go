package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegatehq/tidegate/services/portal/openapitest"
)

// TestOpenAPIClient makes a client of the OpenAPI document with openapi-typescript, has
// the story in testdata/node/openapi.ts type-checked with it, and runs it against a
// server. Every request and every answer is as the document says.
func TestOpenAPIClient(t *testing.T) {
	t.Parallel()
	modules := node(t)
	s := onSQLite(t)
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	story, err := os.ReadFile(filepath.Join(modules, "openapi.ts"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"openapi.ts": string(story), "package.json": `{"type": "module"}`,
		"tsconfig.json": `{"files": ["openapi.ts"], "compilerOptions": {"strict": true, "target": "es2022", "module": "nodenext",
			"lib": ["es2022", "dom", "dom.iterable"], "types": [], "skipLibCheck": true, "noUncheckedIndexedAccess": true}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document, err := filepath.Abs("../../gen/openapi/tidegate.json")
	if err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) string {
		cmd := exec.CommandContext(within(t), program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "BASE="+s.compared(t), "PASSWORD="+s.password(t), "BACKEND="+newBackend(t))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	run("node_modules/.bin/openapi-typescript", document, "-o", "tidegate.d.ts")
	run("node_modules/.bin/tsc", "-p", ".")
	if out := run("node", "openapi.js"); out != "ok\n" {
		t.Errorf("openapi.ts says %q, want ok", out)
	}
}

// sentKey finds the body of a request in its context.
type sentKey struct{}

// compared starts a proxy to the portal that compares what passes with the OpenAPI
// document, and returns its URL.
func (s *Stack) compared(t *testing.T) string {
	t.Helper()
	target, err := url.Parse(s.Portal)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: s.http(t).Transport,
		ModifyResponse: func(res *http.Response) error {
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			res.Body = io.NopCloser(bytes.NewReader(body))
			if err := openapitest.Answer(res.Request, res.StatusCode, res.Header, body); err != nil {
				t.Error(err)
			}
			sent, _ := res.Request.Context().Value(sentKey{}).([]byte)
			if err := openapitest.Request(res.Request, sent); err != nil && res.StatusCode < 300 {
				t.Errorf("it is served, but %v", err)
			}
			return nil
		},
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sentKey{}, body)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
