package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// clientIDs is the prefix of every client_id.
const clientIDs = "tgci_"

// Sizes of the body of a secret.
const (
	secretBytes = 32
	secretChars = 43
)

// New generates a secret, whose body is 256 random bits. Only the hash may be stored.
func New(kind madesecret.Kind) (secret string, hash []byte) {
	raw := make([]byte, secretBytes)
	rand.Read(raw)
	secret = madesecret.Make(kind, base64.RawURLEncoding.EncodeToString(raw))
	return secret, digest(secret)
}

// Hash returns the hash of a secret, or false when s cannot be a secret of the
// kind, so that no look-up is needed.
func Hash(kind madesecret.Kind, s string) ([]byte, bool) {
	if body, ok := madesecret.Body(kind, s); !ok || len(body) != secretChars {
		return nil, false
	}
	return digest(s), true
}

// HashKey returns the hash of a value of an API key, of which package apikey has the
// formats. It has at least 128 random bits, so its hash tells nothing of it.
func HashKey(value string) []byte { return digest(value) }

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
