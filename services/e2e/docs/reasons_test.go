package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

// TestReasons compares the table of reasons in docs/api.md with the programs.
func TestReasons(t *testing.T) {
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `([A-Z_]+)` \\| [^|]+ \\|$").FindAllStringSubmatch(file(t, "docs/api.md"), -1) {
		documented[m[1]] = m[2]
	}
	for _, known := range slices.Concat(fault.Reasons(), oauthcode.Reasons()) {
		code := documented[known.Reason]
		if want := protocolName(known.Code.String()); code != want {
			t.Errorf("docs/api.md says that the reason %s belongs to %q, want a row that says %q", known.Reason, code, want)
		}
		delete(documented, known.Reason)
	}
	for reason := range documented {
		t.Errorf("docs/api.md has the reason %s, which no error has", reason)
	}
}

// protocolName turns Go's name of a code into the protocol's.
func protocolName(name string) string {
	if name == "Canceled" {
		return "CANCELLED"
	}
	var out strings.Builder
	for i, c := range name {
		if i > 0 && unicode.IsUpper(c) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToUpper(c))
	}
	return out.String()
}

// TestReasonsAreUsed reads the source: an error's reason is one of the listed ones,
// and each of those is an error's.
func TestReasonsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, f := range source(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Reason") {
				used[s.Sel.Name] = true
			}
			if call, ok := n.(*ast.CallExpr); ok && isWithReason(call) {
				if literal, ok := call.Args[1].(*ast.BasicLit); ok {
					t.Errorf("an error has the reason %s: give it a name in kit/fault/reason.go", literal.Value)
				}
			}
			return true
		})
	}
	declared := regexp.MustCompile(`(?m)^\t(Reason[A-Za-z]+) += "`).FindAllStringSubmatch(file(t, "services/kit/fault/reason.go"), -1)
	if len(declared) < 20 {
		t.Fatalf("kit/fault/reason.go has %d reasons", len(declared))
	}
	for _, m := range declared {
		if !used[m[1]] {
			t.Errorf("no error has the reason fault.%s", m[1])
		}
	}
}

// isWithReason reports whether a call is one of fault.WithReason.
func isWithReason(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "WithReason" && len(call.Args) > 1
}

// source returns the Go files of the services, without their tests.
func source(t *testing.T) []*ast.File {
	t.Helper()
	var all []*ast.File
	err := filepath.WalkDir(filepath.Join(root, "services"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		all = append(all, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
