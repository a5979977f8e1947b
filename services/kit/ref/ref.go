// Package ref makes the references that clients are shown where a session ends or a
// handshake is refused, and by which its record is found. A gateway makes them, and the
// subscription service reads from one the hour that its handshake began in, so that it
// can also say something about a record that is not kept.
//
//	4 characters   hours since 1970, big-endian: references sort by the hour
//	12 characters  random, 60 bits: nobody guesses one, or meets another's
package ref

import (
	"crypto/rand"
	"strings"
	"time"
)

// alphabet is base32 without letters that look like digits, in the order of ASCII.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// The lengths of a reference and of the hour in it. The hour is good until 2089.
const (
	length     = 16
	hourLength = 4
)

// New returns a new reference of 16 characters for a handshake that begins now.
func New(now time.Time) string {
	var b [length]byte
	_, _ = rand.Read(b[hourLength:]) // never fails
	hours := now.Unix() / int64(time.Hour/time.Second)
	for i := hourLength - 1; i >= 0; i-- {
		b[i] = byte(hours & 31)
		hours >>= 5
	}
	for i, c := range b {
		b[i] = alphabet[c&31]
	}
	return string(b[:])
}

// Hour returns the beginning of the hour, UTC, that a reference was made in. It returns
// false for text that New does not return.
func Hour(ref string) (time.Time, bool) {
	if len(ref) != length || strings.Trim(ref, alphabet) != "" {
		return time.Time{}, false
	}
	var hours int64
	for i := range hourLength {
		hours = hours<<5 | int64(strings.IndexByte(alphabet, ref[i]))
	}
	return time.Unix(hours*int64(time.Hour/time.Second), 0).UTC(), true
}
