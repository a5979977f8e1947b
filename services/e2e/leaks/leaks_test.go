package leaks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

// The secrets of this test: an opaque one with characters that encodings change, and a
// token of three parts.
const (
	opaque = "tgcs_7f+kq/3c2m9x==bTq4~zW1&pL0'dY8"
	token  = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2Vycy8xIn0.3k9Zp-Qw_LrT6vXyB2nM8cJ4hF7gD5sAaE1iUoPlKjHgFdSa"
)

// escaped writes every byte as JSON may.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, `\u%04x`, text[i])
	}
	return b.String()
}

// percented writes every byte percent-encoded.
func percented(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02x", text[i])
	}
	return b.String()
}

func inJSON(text string) string {
	b, err := json.Marshal(map[string]string{"path": "/x?" + text})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// encodings are ways in which a secret may be written.
func encodings() map[string]func(string) string {
	return map[string]func(string) string{
		"as it is": func(s string) string { return s },
		"query":    url.QueryEscape, "path": url.PathEscape, "every byte percent-encoded": percented,
		"JSON": inJSON, "every byte in JSON": escaped, "a quoted string": func(s string) string { return fmt.Sprintf("%q", s) }, "HTML": html.EscapeString,
		"base64":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64url":     func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"Basic":         func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
		"inside base64": func(s string) string { return base64.URLEncoding.EncodeToString([]byte("1" + s + "{}")) },
	}
}

// TestFindsWhatIsPlanted plants secrets in every encoding, in two around each other, and cut
// off at either end, and wants each found, and told from the other.
func TestFindsWhatIsPlanted(t *testing.T) {
	var s Searcher
	s.Add("opaque", opaque)
	s.Add("token", token)
	noise := `{"level":"INFO","msg":"handshake refused","ref":"0tQ9","path":"/x/%2e%zz\q"}`
	for what, secret := range map[string]string{"opaque": opaque, "token": token} {
		for inner, encode := range encodings() {
			for outer, again := range encodings() {
				if strings.Contains(inner, "ase64") && strings.Contains(outer, "ase64") || inner == "Basic" && outer == "Basic" ||
					inner == "Basic" && strings.Contains(outer, "ase64") || outer == "Basic" && strings.Contains(inner, "ase64") {
					continue // base64 of base64 is read by nobody
				}
				if (strings.Contains(outer, "ase64") || outer == "Basic") && inner != "as it is" {
					continue // what is encoded before it is put into base64 is not undone
				}
				found := s.Find(noise + "\n" + noise[:20] + again(encode(secret)) + noise)
				if len(found) != 1 || found[0].What != what {
					t.Errorf("%s, %s within %s: found %v, want it", what, inner, outer, found)
				}
			}
		}
		for name, cut := range map[string]string{"beginning": secret[:len(secret)-3], "end": secret[3:]} {
			if found := s.Find(noise + cut); len(found) != 1 || found[0].What != what {
				t.Errorf("the %s of %s: found %v, want it", name, what, found)
			}
		}
	}
	if found := s.Find(opaque + token); len(found) != 2 {
		t.Errorf("both: found %v", found)
	}
}

// TestFindsNothingElse: what is no secret is not found: others, hashes, and the parts of a
// token that are no secret.
func TestFindsNothingElse(t *testing.T) {
	var s Searcher
	s.Add("opaque", opaque)
	s.Add("token", token)
	for _, text := range []string{
		"", "tgcs_", "tgcs_7f+kq/3c2m9x", token[:strings.LastIndexByte(token, '.')+1], strings.Repeat("%41\\u0041", 1000),
		base64.StdEncoding.EncodeToString([]byte(strings.Repeat("no secret at all ", 100))),
	} {
		if found := s.Find(text); found != nil {
			t.Errorf("Find(%q) = %v, want nothing", text, found)
		}
	}
}
