package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// RefreshTokens makes and reads refresh tokens. The body of one is
//
//	16 bytes  the id of a sign-in
//	 4 bytes  a generation: how often the sign-in had been refreshed
//	16 bytes  the beginning of their HMAC-SHA256
//
// in base64url. So nothing is stored of a token but the sign-in, one that was made up
// is refused without a look-up, and the same one can be made again.
type RefreshTokens struct{ key []byte }

// Sizes of the parts of a refresh token's body, in bytes, and of the key.
const (
	uuidBytes       = 16
	generationBytes = 4
	macBytes        = 16
	refreshKeyBytes = 32
)

// NewRefreshKey makes a key for RefreshTokens.
func NewRefreshKey() []byte {
	key := make([]byte, refreshKeyBytes)
	rand.Read(key)
	return key
}

// NewRefreshTokens returns the refresh tokens that a key authenticates.
func NewRefreshTokens(key []byte) *RefreshTokens { return &RefreshTokens{key: key} }

// Make returns the refresh token of a generation of a sign-in, whose id is that of
// package id.
func (r *RefreshTokens) Make(signIn string, generation uint32) string {
	id := uuid.MustParse(signIn)
	body := binary.BigEndian.AppendUint32(id[:], generation)
	return madesecret.Make(madesecret.RefreshToken, base64.RawURLEncoding.EncodeToString(append(body, r.mac(body)...)))
}

// Read returns what a refresh token was made of, or false for one that was not made
// here.
func (r *RefreshTokens) Read(secret string) (signIn string, generation uint32, ok bool) {
	text, ok := madesecret.Body(madesecret.RefreshToken, secret)
	if !ok {
		return "", 0, false
	}
	body, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(body) != uuidBytes+generationBytes+macBytes {
		return "", 0, false
	}
	head, mac := body[:uuidBytes+generationBytes], body[uuidBytes+generationBytes:]
	if !hmac.Equal(mac, r.mac(head)) {
		return "", 0, false
	}
	return uuid.UUID(head[:uuidBytes]).String(), binary.BigEndian.Uint32(head[uuidBytes:]), true
}

func (r *RefreshTokens) mac(head []byte) []byte {
	h := hmac.New(sha256.New, r.key)
	h.Write(head)
	return h.Sum(nil)[:macBytes]
}
