package page_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

func TestFilter(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                       {},
		"  ":                                     {},
		`a = "x"`:                                {"a": "x"},
		`a="x"`:                                  {"a": "x"},
		` a = "x" AND b.c_1 = "" `:               {"a": "x", "b.c_1": ""},
		`a = "x AND b = \"y\" \\"`:               {"a": `x AND b = "y" \`},
		"a = \"ä\"\nAND\tb.c_1 = \"AND\"":        {"a": "ä", "b.c_1": "AND"},
		`a = "x"AND b.c_1 = "y"`:                 {"a": "x", "b.c_1": "y"},
		`a = "` + strings.Repeat("y", 999) + `"`: {"a": strings.Repeat("y", 999)},
	} {
		got, err := page.Filter(text, "a", "b.c_1")
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("Filter(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	const form = `filter: must be field = "value", joined by AND`
	for text, want := range map[string]string{
		`a`:                     form,
		`a = x`:                 form,
		`a = 'x'`:               form,
		`a == "x"`:              form,
		`a != "x"`:              form,
		`a = "x`:                form,
		`a = "x\n"`:             form,
		`a = "x\`:               form,
		`= "x"`:                 form,
		`a = "x" AND`:           form,
		`a = "x" OR b.c_1 = ""`: form,
		`a = "x" and a = "x"`:   form,
		`a = "x" ANDb.c_1 = ""`: form,
		`a = "x", b.c_1 = "y"`:  form,
		`(a = "x")`:             form,
		`ä = "x"`:               form,
		`z = "x"`:               `filter: no field "z": there are a, b.c_1`,
		`A = "x"`:               `filter: no field "A": there are a, b.c_1`,
		`a = "x" AND a = "y"`:   `filter: has the field "a" twice`,
		"a = \"\x00\"":          "filter: must be at most 4096 bytes of text",
		"a = \"\xff\"":          "filter: must be at most 4096 bytes of text",
		`a = "` + strings.Repeat("y", 5000) + `"`: "filter: must be at most 4096 bytes of text",
	} {
		got, err := page.Filter(text, "a", "b.c_1")
		if !fault.Is(err, codes.InvalidArgument) || err.Error() != want {
			t.Errorf("Filter(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if terms, err := page.Filter(`a = ""`, "a", "b"); err != nil || terms.Value("a") == nil || *terms.Value("a") != "" || terms.Value("b") != nil {
		t.Errorf("Filter = %q, %v, want an empty a and no b", terms, err)
	}
	if _, err := page.Filter(`a = "x"`); err == nil || !strings.Contains(err.Error(), "there is none to choose from") {
		t.Errorf("Filter without fields = %v", err)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`a = "x" AND b = "y\""`)
	f.Fuzz(func(t *testing.T, text string) {
		values, err := page.Filter(text, "a", "b")
		if err != nil && !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("Filter(%q) = %v", text, err)
		}
		for field := range values {
			if field != "a" && field != "b" {
				t.Errorf("Filter(%q) has the field %q", text, field)
			}
		}
	})
}

func TestMask(t *testing.T) {
	m := &backplanev1.Hello{Build: "x", Features: []string{"a"}, Cursor: "y"}
	may := []string{"build", "kind", "features", "features.sub"}
	for _, tt := range []struct {
		mask []string
		want []string
		err  string
	}{
		{nil, []string{"build", "features"}, ""},
		{[]string{"*"}, []string{"build", "kind", "features"}, ""},
		{[]string{"kind"}, []string{"kind"}, ""},
		{[]string{"features.sub", "build", "build"}, []string{"features.sub", "build"}, ""},
		{[]string{"since"}, nil, `update_mask: no field "since": there are build, kind, features, features.sub`},
		{[]string{"kind", ""}, nil, `update_mask: no field "": there are build, kind, features, features.sub`},
		{[]string{"*", "kind"}, nil, `update_mask: no field "*": there are build, kind, features, features.sub`},
	} {
		got, err := page.ReadMask(&fieldmaskpb.FieldMask{Paths: tt.mask}, m, may...)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("Mask(%q) = %q, %v, want %q, %q", tt.mask, got, err, tt.want, tt.err)
		}
	}
	if got, err := page.ReadMask(nil, m, may...); err != nil || !slices.Equal(got, []string{"build", "features"}) {
		t.Errorf("Mask(nil) = %q, %v", got, err)
	}
}
