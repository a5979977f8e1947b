package apidocs

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// TestFiles compares the files of Swagger UI with the sums of those that npm has.
func TestFiles(t *testing.T) {
	sums, err := files.ReadFile("swagger-ui/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(sums))
	if len(lines) != 4 {
		t.Fatalf("SHA256SUMS has %q, want two files", lines)
	}
	for i := 0; i < len(lines); i += 2 {
		f, err := files.Open("swagger-ui/" + lines[i+1] + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != lines[i] {
			t.Errorf("the sum of %s = %s, want %s", lines[i+1], got, lines[i])
		}
	}
	for _, name := range []string{"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} {
		if text, err := files.ReadFile("swagger-ui/" + name); err != nil || len(text) == 0 {
			t.Errorf("%s: %v, want it beside what it is about", name, err)
		}
	}
}

// TestRoutes follows every address of the page, and has none that leads elsewhere.
func TestRoutes(t *testing.T) {
	all, err := Routes()
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		all[path].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		return w
	}
	page := get(Path)
	if page.Code != 200 || page.Header().Get("Content-Security-Policy") != policy || strings.Contains(policy, "unsafe") {
		t.Errorf("GET %s = %d %v, want a page with a strict policy", Path, page.Code, page.Header())
	}
	found := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	for _, m := range found {
		if m[1] == "data:," || m[1] == "/openapi.json" {
			continue
		}
		if all[m[1]] == nil || get(m[1]).Code != 200 {
			t.Errorf("the page leads to %s, which is not served", m[1])
		}
	}
	if len(found) != 5 {
		t.Errorf("the page has %d addresses, want 5", len(found))
	}
}
