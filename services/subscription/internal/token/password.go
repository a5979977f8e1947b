package token

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
)

// The cost of a password's hash (argon2id), and how many are computed at once: each
// takes 19 MiB and about 30 ms of a core.
const (
	argonMemory  = 19 * 1024
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
	hashesAtOnce = 2
)

// noPassword is a hash that no password has. It stands in for the hash of users
// without a password and of unknown names, so that their answer takes as long as
// any other.
const noPassword = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Hash returns what is stored for a password.
func (s *HashSlot) Hash(plain string) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	return encodeHash(salt, argon2.IDKey([]byte(password.Normal(plain)), salt, argonTime, argonMemory, argonThreads, argonKey))
}

// Matches reports whether stored is the hash of the password plain. An empty stored matches
// no password, and takes as long.
func (s *HashSlot) Matches(stored, plain string) bool {
	known := stored != ""
	if !known {
		stored = noPassword
	}
	salt, key, ok := decodeHash(stored)
	if !ok {
		known = false
		salt, key, _ = decodeHash(noPassword)
	}
	got := argon2.IDKey([]byte(password.Normal(plain)), salt, argonTime, argonMemory, argonThreads, argonKey)
	return subtle.ConstantTimeCompare(got, key) == 1 && known
}

// hashParams is the beginning of a stored hash: algorithm, version and cost.
const hashParams = "$argon2id$v=19$m=19456,t=2,p=1$"

func encodeHash(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return hashParams + b64.EncodeToString(salt) + "$" + b64.EncodeToString(key)
}

func decodeHash(s string) (salt, key []byte, ok bool) {
	rest, ok := strings.CutPrefix(s, hashParams)
	if !ok {
		return nil, nil, false
	}
	saltText, keyText, ok := strings.Cut(rest, "$")
	if !ok {
		return nil, nil, false
	}
	salt, err := base64.RawStdEncoding.DecodeString(saltText)
	if err != nil || len(salt) != argonSalt {
		return nil, nil, false
	}
	key, err = base64.RawStdEncoding.DecodeString(keyText)
	if err != nil || len(key) != argonKey {
		return nil, nil, false
	}
	return salt, key, true
}
