package apikey_test

import (
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

func TestKeysAreOfTheirFormatAlone(t *testing.T) {
	formats := apikey.Declared()
	for _, f := range formats {
		if f.Make == nil {
			continue
		}
		key, other := f.Make(), f.Make()
		if key == other {
			t.Errorf("format %s: two keys are equal", f.Name)
		}
		if got, ok := formats.Of(key); !ok || got.Name != f.Name {
			t.Errorf("Of(a key of %s) = %q, %v", f.Name, got.Name, ok)
		}
		if !formats.Begins(key[:4]) {
			t.Errorf("format %s: its keys do not begin as it says", f.Name)
		}
		for what, text := range map[string]string{
			"cut": key[:len(key)-1], "longer": key + "A", "mistyped": flip(key), "empty": "",
		} {
			if got, ok := formats.Of(text); ok {
				t.Errorf("a key of %s that is %s is of the format %s", f.Name, what, got.Name)
			}
		}
	}
	secret := madesecret.Make(madesecret.ClientSecret, strings.Repeat("a", 43))
	if _, ok := formats.Of(secret); ok {
		t.Errorf("the secret of an OAuth client counts as an API key")
	}
}

// flip returns a key with another character in its middle.
func flip(key string) string {
	at := len(key) / 2
	c := byte('A')
	if key[at] == c {
		c = 'B'
	}
	return key[:at] + string(c) + key[at+1:]
}

// What is stored names a format, so names are unique, and the first is ours for ever.
func TestNamesOfFormats(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range apikey.Declared() {
		if f.Name == "" || len(f.Name) > 20 || strings.Trim(f.Name, "abcdefghijklmnopqrstuvwxyz") != "" || seen[f.Name] {
			t.Errorf("format %q: its name must be 1 to 20 of a-z, and its own", f.Name)
		}
		seen[f.Name] = true
		if f.MinLength > f.MaxLength || f.MaxLength > 8192 {
			t.Errorf("format %s: lengths are %d to %d", f.Name, f.MinLength, f.MaxLength)
		}
	}
	if f, ok := apikey.Declared().Named("tidegate"); !ok || apikey.Declared()[0].Name != f.Name || f.Make == nil {
		t.Errorf("the first format is %q, want tidegate, which makes keys", apikey.Declared()[0].Name)
	}
}
