package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash/crc32"
	"strings"
)

// Kind is the kind of a generated secret. It is also the prefix of secrets of that
// kind, so that a leaked one can be recognized.
type Kind string

// Kinds of generated secrets.
const (
	// ClientSecret is a secret of an OAuth client.
	ClientSecret Kind = "tgcs_"
	// RefreshToken refreshes a sign-in.
	RefreshToken Kind = "tgrt_"
)

// clientIDs is the prefix of every client_id.
const clientIDs = "tgci_"

// Sizes of generated secrets.
const (
	secretBytes = 32
	secretChars = 43
	sumChars    = 6
)

// New generates a secret: the kind, 256 random bits and a checksum. Only the hash
// may be stored.
func New(kind Kind) (secret string, hash []byte) {
	raw := make([]byte, secretBytes)
	rand.Read(raw)
	secret = string(kind) + base64.RawURLEncoding.EncodeToString(raw)
	secret += checksum(secret)
	return secret, digest(secret)
}

// Hash returns the hash of a secret, or false when s cannot be a secret of the
// kind, so that no look-up is needed.
func Hash(kind Kind, s string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(s, string(kind))
	if !ok || len(rest) != secretChars+sumChars {
		return nil, false
	}
	at := len(s) - sumChars
	if checksum(s[:at]) != s[at:] {
		return nil, false
	}
	return digest(s), true
}

// Same reports whether two hashes are of the same secret. It takes constant time.
func Same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// NewClientID generates the client_id of an OAuth client, which is unique and not
// secret.
func NewClientID() string { return clientIDs + rand.Text() }

// digest returns what the database keeps of a secret. A secret has 256 random bits,
// so it needs no salt and no slow hash.
func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// checksum tells a generated secret from a mistyped one. It adds no security.
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
