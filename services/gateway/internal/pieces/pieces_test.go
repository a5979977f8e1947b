package pieces

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCut(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"x", ""}, {"x&x", ""}, {"a", "a"}, {"a&b", "a&b"},
		{"x&a", "a"}, {"a&x", "a"}, {"a&x&b", "a&b"}, {"a&x;x&b", "a&b"},
		{"a;x;b", "a;b"}, {"a;x&b", "a&b"}, {"a&x;b", "a&b"}, {"x;a;b&x", "a;b"},
		{"&x&&a&", "&&a&"}, {";&;", ";&;"},
	} {
		if got := Cut(tt.in, OfQuery, func(piece string) bool { return piece == "x" }); got != tt.want {
			t.Errorf("Cut(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestCutLeavesTheRest compares with what splitting and joining gives.
func TestCutLeavesTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom([]string{"", "x", "a=1", "b", "%26"}), 1, 12).Draw(t, "pieces")
		var kept []string
		for _, piece := range list {
			if piece != "x" {
				kept = append(kept, piece)
			}
		}
		in, want := strings.Join(list, "&"), strings.Join(kept, "&")
		if got := Cut(in, OfQuery, func(piece string) bool { return piece == "x" }); got != want {
			t.Errorf("Cut(%q) = %q, want %q", in, got, want)
		}
	})
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{"": "", "a+b": "a+b", "%61%2B%2f": "a+/", "%00": "\x00"} {
		if got, ok := Unescape(in); got != want || !ok {
			t.Errorf("Unescape(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"%", "a%2", "%zz", "%+1"} {
		if got, ok := Unescape(in); ok {
			t.Errorf("Unescape(%q) = %q, want none", in, got)
		}
	}
}
