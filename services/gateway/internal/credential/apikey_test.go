package credential

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// vendor is the format of keys of somebody else's: two numbers and 30 letters and digits,
// with colons between.
func vendor() apikey.Format {
	return apikey.Format{
		Name: "vendor", MinLength: 34, MaxLength: 60,
		Beginnings: strings.Split("0123456789", ""),
		Is: func(text string) bool {
			parts := strings.Split(text, ":")
			return len(parts) == 3 && parts[0] != "" && parts[1] != "" && strings.Trim(parts[0]+parts[1], "0123456789") == "" && len(parts[2]) == 30 &&
				strings.Trim(parts[2], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
		},
	}
}

const vendorKey = "90071992:714:aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1"

// TestKeysOfEveryFormatAreRecognized: a format that is declared is told wherever our own
// keys are, and leaves what is not a key of it.
func TestKeysOfEveryFormatAreRecognized(t *testing.T) {
	formats := append(apikey.Declared(), vendor())
	r := NewRecognizer(ourIssuer, formats)
	for name, encode := range encodings {
		for _, key := range []string{formats[0].Make(), vendorKey} {
			if !r.Holds(encode(key)) {
				t.Errorf("%s: Holds(%q) = false", name, encode(key))
			}
		}
	}
	for _, value := range []string{
		vendorKey[:len(vendorKey)-1], vendorKey + "x", "x" + vendorKey, "1:2:" + strings.Repeat("-", 30), strings.Repeat("1:", 20),
		"192.0.2.1:40000:aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1", "2026-11-02T10:20:31.000000000Z, and more of it",
	} {
		if r.Holds(value) {
			t.Errorf("Holds(%q) = true", value)
		}
	}
	h := http.Header{"X-Key": {vendorKey}, "Cookie": {"a=b; key=" + vendorKey + "; c=d"}}
	protocols, query := r.Remove(h, []string{"chat"}, "a=1&key="+strings.ReplaceAll(vendorKey, ":", "%3A")+"&b=2&"+vendorKey)
	if h.Get("X-Key") != "" || h.Get("Cookie") != "a=b; c=d" || len(protocols) != 1 || query != "a=1&b=2" {
		t.Errorf("left are %v, %q and %q, want no key", h, protocols, query)
	}
	for text, want := range map[string]string{
		"/chat/" + vendorKey + "/room": "/chat/…/room", "key=" + vendorKey: "key=…", "a:b: " + vendorKey: "a:b: …",
		"token:" + application: "token:…",
	} {
		if got := r.Hide(text); got != want {
			t.Errorf("Hide(%q) = %q, want %q", text, got, want)
		}
	}
	if NewRecognizer(ourIssuer, apikey.Declared()).Holds(vendorKey) {
		t.Error("a key of a format that is not declared is recognized")
	}
}
