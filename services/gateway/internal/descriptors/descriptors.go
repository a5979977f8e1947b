// Package descriptors divides the file descriptors that a process may have between
// sessions, handshakes and everything else, so that none of them finds the process
// without one. What a session needs is set aside before its backend is dialled.
//
//	limit ─┬─ open at the start
//	       ├─ kept ─┬─ handshakes in progress: the client's connection
//	       │        ├─ spare: connections that are only refused
//	       │        └─ everything else: other services, their databases, look-ups
//	       └─ sessions: the client's connection and the backend's
package descriptors

import "fmt"

// PerSession is how many descriptors a live session takes.
const PerSession = 2

// Bounds of what is kept.
const (
	minKept, maxKept = 64, 20480
	maxSpare         = 256
	minElse, maxElse = 40, 3840
)

// Need is what is asked for.
type Need struct {
	Open       int // descriptors that are open already
	PerSession int // PerSession, and more where a backend is in the same process
	Sessions   int // at once; 0: as many as there can be
	Handshakes int // in progress at once; 0: as many as there can be
}

// Shares says what there can be at once.
type Shares struct {
	Sessions   int // 0: any number
	Handshakes int // 0: any number
	Spare      int // connections that are only refused, beyond the handshakes
	Else       int // descriptors for everything else; 0: any number
}

// Unlimited returns the shares where there is no limit.
func Unlimited(n Need) Shares {
	return Shares{Sessions: n.Sessions, Handshakes: n.Handshakes, Spare: maxSpare}
}

// Divide returns what there can be within a limit. The error says which limit is
// needed for one session, or for as many as are asked for.
func Divide(limit int, n Need) (Shares, error) {
	if needed := n.limitFor(max(n.Sessions, 1)); limit < needed {
		return Shares{}, fmt.Errorf("the limit of open files is %d, and at least %d are needed", limit, needed)
	}
	kept := keptOf(limit)
	spare := min(kept/8, maxSpare)
	rest := min(max(kept/4, minElse), maxElse)
	s := Shares{Spare: spare, Else: rest, Handshakes: kept - spare - rest, Sessions: n.Sessions}
	if n.Handshakes > 0 {
		s.Handshakes = min(s.Handshakes, n.Handshakes)
	}
	if s.Sessions == 0 {
		s.Sessions = (limit - n.Open - kept) / n.PerSession
	}
	return s, nil
}

// keptOf returns how many of a limit are kept.
func keptOf(limit int) int { return min(max(limit/4, minKept), maxKept) }

// limitFor returns the least limit for a number of sessions.
func (n Need) limitFor(sessions int) int {
	used := n.Open + sessions*n.PerSession
	limit := used + minKept
	if limit/4 > minKept { // then a quarter is kept
		limit = (used*4 + 2) / 3
	}
	if limit/4 > maxKept {
		limit = used + maxKept
	}
	return limit
}
