// Package leaks finds secrets in what a system writes: in its logs, its answers, and what it
// passes on. A secret is found as it is, percent-encoded, as text of JSON or HTML, in base64 of
// either alphabet beginning at any byte, in several of these around each other, and where it was cut
// off at either end.
package leaks

import (
	"encoding/base64"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// piece is how much of a secret's beginning or end is looked for: enough to be no
// coincidence.
const piece = 24

// depth is how many encodings around each other are taken off a text.
const depth = 3

// Searcher finds secrets in texts. Its zero value knows none.
type Searcher struct{ needles []needle }

// needle is a text that is not there unless a secret is.
type needle struct{ what, as, text string }

// Add adds a secret. Of a token of three parts it is the last, without which the others are
// good for nothing. A secret has at least 8 characters.
func (s *Searcher) Add(what, secret string) {
	if parts := strings.Split(secret, "."); len(parts) == 3 && len(parts[2]) > piece {
		secret = parts[2]
	}
	if len(secret) < 8 {
		panic(fmt.Sprintf("%s is too short to be told from a coincidence", what))
	}
	ends := []string{secret}
	if len(secret) > piece {
		ends = []string{secret[:piece], secret[len(secret)-piece:]}
	}
	for _, end := range ends {
		s.needles = append(s.needles, needle{what, "as it is", end})
		for shift := range 3 {
			std := core(shift, end)
			s.needles = append(s.needles, needle{what, "in base64", std})
			if url := strings.NewReplacer("+", "-", "/", "_").Replace(std); url != std {
				s.needles = append(s.needles, needle{what, "in base64url", url})
			}
		}
	}
}

// core returns the characters of base64 that a text makes, wherever it is in what is
// encoded, if it begins shift bytes after a multiple of three.
func core(shift int, text string) string {
	all := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
	return all[(shift*8+5)/6 : (shift+len(text))*8/6]
}

// Leak is a secret in a text.
type Leak struct {
	// What is the secret, and As how it is there.
	What, As string
	// Around is the text around it.
	Around string
}

// String tells of the leak.
func (l Leak) String() string { return fmt.Sprintf("%s %s: …%s…", l.What, l.As, l.Around) }

// Find returns the secrets that are in a text, each once.
func (s *Searcher) Find(text string) []Leak {
	var found []Leak
	seen := map[string]bool{}
	for _, plain := range decoded(text) {
		for _, n := range s.needles {
			at := strings.Index(plain, n.text)
			if at < 0 || seen[n.what] {
				continue
			}
			seen[n.what] = true
			found = append(found, Leak{n.what, n.as, plain[max(0, at-100):min(len(plain), at+len(n.text)+100)]})
		}
	}
	return found
}

// decoded returns a text, and what it is when encodings are taken off, in any order.
func decoded(text string) []string {
	all, known := []string{text}, map[string]bool{text: true}
	begin := 0
	for range depth {
		end := len(all)
		for _, plain := range all[begin:end] {
			for _, decode := range []func(string) string{unpercent, unescape, html.UnescapeString} {
				if d := decode(plain); !known[d] {
					known[d] = true
					all = append(all, d)
				}
			}
		}
		begin = end
	}
	return all
}

// unpercent replaces what is percent-encoded; the rest stays.
func unpercent(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// unescape replaces what is escaped as in strings of JSON and of Go; the rest stays.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[i]]
		if digits == 0 || i+digits >= len(text) {
			b.WriteByte(text[i]) // also \n and the like, which no secret has
			continue
		}
		c, err := strconv.ParseUint(text[i+1:i+1+digits], 16, 32)
		if err != nil {
			b.WriteByte(text[i])
			continue
		}
		if c < utf8.RuneSelf || digits == 2 {
			b.WriteByte(byte(c))
		} else {
			b.WriteRune(rune(c))
		}
		i += digits
	}
	return b.String()
}
