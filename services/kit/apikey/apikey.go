// Package apikey has the table of the formats that API keys may have. Ours is the first:
// a made secret (package madesecret). A vendor's format is one more row: its keys are then
// told by their form wherever ours are, which is what a gateway takes out of handshakes,
// and what is of no format is refused without a look-up.
//
// A row needs no package but this one to know of it. The subscription service stores the
// name of a key's format with the key, and makes the key's next value in it.
package apikey

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// Format is the form of API keys of one kind. Its functions must be quick and must not
// keep what they are given: gateways call them for texts that anybody sends.
type Format struct {
	// Name is stored with each key of the format: 1 to 20 of a-z, and never changed.
	Name string
	// MinLength and MaxLength are the lengths of the shortest and the longest key, in
	// bytes, at most 8192.
	MinLength, MaxLength int
	// Beginnings are what keys may begin with, at least a byte each: they spare the decoding
	// of most of what is encoded.
	Beginnings []string
	// Is reports whether a text, of a length that the format has, is of this form: it
	// must be certain enough that nothing else that clients send is.
	Is func(text string) bool
	// Make returns a new key from at least 128 random bits; nil for a format whose keys
	// are only made elsewhere.
	Make func() string
}

// Formats are the formats of an installation.
type Formats []Format

// Declared returns the formats that there are, ours first.
func Declared() Formats { return Formats{tidegate()} }

// bodyBytes are the random bits of a key of ours: 256.
const bodyBytes = 32

// tidegate is our own format: tgak_, 43 characters of base64 for addresses, and a
// checksum.
func tidegate() Format {
	length := len(madesecret.Make(madesecret.APIKey, strings.Repeat("A", base64.RawURLEncoding.EncodedLen(bodyBytes))))
	return Format{
		Name: "tidegate", MinLength: length, MaxLength: length,
		Beginnings: []string{string(madesecret.APIKey)},
		Is: func(text string) bool {
			_, ok := madesecret.Body(madesecret.APIKey, text)
			return ok
		},
		Make: func() string {
			body := make([]byte, bodyBytes)
			rand.Read(body)
			return madesecret.Make(madesecret.APIKey, base64.RawURLEncoding.EncodeToString(body))
		},
	}
}

// Of returns the format that a text has, and false if it has none, so that it cannot be
// an API key.
func (f Formats) Of(text string) (Format, bool) {
	for _, one := range f {
		if one.MinLength <= len(text) && len(text) <= one.MaxLength && one.Is(text) {
			return one, true
		}
	}
	return Format{}, false
}

// Named returns the format with this name.
func (f Formats) Named(name string) (Format, bool) {
	for _, one := range f {
		if one.Name == name {
			return one, true
		}
	}
	return Format{}, false
}

// Begins reports whether a key of any of the formats may begin with these bytes, which may
// be fewer than its beginning has.
func (f Formats) Begins(start string) bool {
	for _, one := range f {
		for _, beginning := range one.Beginnings {
			n := min(len(start), len(beginning))
			if start[:n] == beginning[:n] {
				return true
			}
		}
	}
	return false
}

// MinLength returns the length of the shortest key, in bytes.
func (f Formats) MinLength() int {
	least := f[0].MinLength
	for _, one := range f[1:] {
		least = min(least, one.MinLength)
	}
	return least
}
