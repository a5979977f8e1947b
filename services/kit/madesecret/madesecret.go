// Package madesecret has the form of the secrets that an installation makes, such as
// those of OAuth clients and refresh tokens: a prefix that says the kind, a body, and
// a checksum over both. By the form alone, without a look-up, a service tells a secret
// from something mistyped, and a gateway recognizes one that a client sent to the
// wrong place. Who makes a secret decides what its body is.
package madesecret

import (
	"hash/crc32"
	"strings"
)

// Kind is the kind of a made secret, and the prefix of secrets of that kind: "tg", two
// lower-case letters and "_".
type Kind string

// Kinds of made secrets.
const (
	// ClientSecret is a secret of an OAuth client.
	ClientSecret Kind = "tgcs_"
	// RefreshToken refreshes a sign-in.
	RefreshToken Kind = "tgrt_"
	// DeviceKey shows that a user has signed in from a device before.
	DeviceKey Kind = "tgdk_"
	// APIKey is a value of an API key.
	APIKey Kind = "tgak_"
	// Ticket opens one session.
	Ticket Kind = "tgtk_"
)

// Sizes of the parts of a secret, in characters.
const (
	kindChars = 5
	sumChars  = 6
	minBody   = 16
)

// MinLength is the length of the shortest made secret, in characters.
const MinLength = kindChars + minBody + sumChars

// Make returns the secret of a kind with this body: at least 16 characters of
// A-Z, a-z, 0-9, "-" and "_".
func Make(kind Kind, body string) string {
	secret := string(kind) + body
	return secret + checksum(secret)
}

// Body returns the body of a secret of the kind, and false for what cannot be one.
func Body(kind Kind, secret string) (string, bool) {
	if !strings.HasPrefix(secret, string(kind)) || !Recognized(secret) {
		return "", false
	}
	return secret[len(kind) : len(secret)-sumChars], true
}

// Recognized reports whether s has the form of a made secret of any kind, those that
// later versions make among them: a text that was not made has it once in 4 billion.
func Recognized(s string) bool {
	if len(s) < MinLength || !hasKind(s) {
		return false
	}
	at := len(s) - sumChars
	for i := kindChars; i < at; i++ {
		if !isBody(s[i]) {
			return false
		}
	}
	return checksum(s[:at]) == s[at:]
}

// hasKind reports whether s, which is long enough, begins as kinds do.
func hasKind(s string) bool {
	return s[0] == 't' && s[1] == 'g' && isLower(s[2]) && isLower(s[3]) && s[4] == '_'
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func isBody(c byte) bool {
	return isLower(c) || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// checksum tells a made secret from a mistyped one. It adds no security.
func checksum(s string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n := crc32.ChecksumIEEE([]byte(s))
	out := [sumChars]byte{}
	for i := sumChars - 1; i >= 0; i-- {
		out[i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}
