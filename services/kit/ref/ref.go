// Package ref makes the references that clients are shown where a session ends or a
// handshake is refused, and by which its record is found. A gateway makes them, and the
// subscription service reads from one the hour that its handshake began in, so that it
// can also say something about a record that is not kept.
//
//	4 characters   hours since 1970, big-endian: references sort by the hour
//	4 characters   the tag of the boot of the gateway that holds the session
//	12 characters  random, 60 bits: nobody guesses one, or meets another's
//
// By the tag a call about a session finds its gateway. It is a hint: two gateways may have
// the same. NoTag is that of no gateway: only a reference that a ticket's buyer is told before
// any gateway has the session has it. References of earlier releases have no tag.
package ref

import (
	"crypto/rand"
	"strings"
	"time"
)

// alphabet is base32 without letters that look like digits, in the order of ASCII.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// The lengths of a reference and of the hour and the tag in it, and that of a reference of
// earlier releases. The hour is good until 2089.
const (
	length     = 20
	hourLength = 4
	tagLength  = 4
	oldLength  = length - tagLength
)

// Tag tells the boots of gateways apart.
type Tag string

// NoTag is the tag of no gateway: any may hold the session that the ticket opens.
const NoTag Tag = "0000"

// NewTag returns the tag of a boot.
func NewTag() Tag {
	for {
		if t := Tag(text(random(tagLength))); t != NoTag {
			return t
		}
	}
}

// New returns a new reference of 20 characters for a session that a ticket will open: which
// gateway will have it is not known.
func New(now time.Time) string { return NewAt(now, NoTag) }

// NewAt returns a new reference of 20 characters for a handshake that begins now at the
// gateway with a tag.
func NewAt(now time.Time, tag Tag) string {
	var b [hourLength]byte
	hours := now.Unix() / int64(time.Hour/time.Second)
	for i := hourLength - 1; i >= 0; i-- {
		b[i] = byte(hours)
		hours >>= 5
	}
	return text(b[:]) + string(tag) + text(random(length-hourLength-tagLength))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// text writes 5 bits of each byte.
func text(b []byte) string {
	for i, c := range b {
		b[i] = alphabet[c&31]
	}
	return string(b)
}

// TagOf returns the tag in a reference. It returns false for text that NewAt does not return.
func TagOf(ref string) (Tag, bool) {
	if len(ref) != length || strings.Trim(ref, alphabet) != "" {
		return "", false
	}
	return Tag(ref[hourLength : hourLength+tagLength]), true
}

// Hour returns the beginning of the hour, UTC, that a reference was made in. It returns
// false for text that neither New nor NewAt returns, or returned in an earlier release.
func Hour(ref string) (time.Time, bool) {
	if len(ref) != length && len(ref) != oldLength || strings.Trim(ref, alphabet) != "" {
		return time.Time{}, false
	}
	var hours int64
	for i := range hourLength {
		hours = hours<<5 | int64(strings.IndexByte(alphabet, ref[i]))
	}
	return time.Unix(hours*int64(time.Hour/time.Second), 0).UTC(), true
}
