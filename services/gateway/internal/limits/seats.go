package limits

import "sync"

// SeatsReaction is what happens to a newcomer where all seats are taken.
type SeatsReaction uint8

// The reactions of seats.
const (
	RefuseNewest SeatsReaction = iota
	CloseOldest                // the newcomer gets its seat
	ObserveSeats               // everybody gets one, and those too many are hits
)

// SeatTerms say how many connections there may be at once.
type SeatTerms struct {
	Most     int // from 0
	Reaction SeatsReaction
}

// Seats are the connections that a place may have at once. Any number of goroutines
// may use them.
type Seats struct {
	Place Place

	mu             sync.Mutex
	terms          SeatTerms
	taken          int
	hits           int64
	oldest, newest *Seat
}

// Seat is a connection's seat at a place. Its zero value is taken by Sit.
type Seat struct {
	Owner any // whose it is; not looked at

	seats       *Seats // where it sits; of seats.mu while it sits
	older, next *Seat
}

// NewSeats returns the free seats of a place.
func NewSeats(place Place, terms SeatTerms) *Seats {
	return &Seats{Place: place, terms: terms}
}

// Want is a newcomer's own Seat at a place's Seats. Sit sets Replaced.
type Want struct {
	Seats    *Seats
	Seat     *Seat
	Replaced *Seat // whose connection the caller ends
}

// Sit takes a seat at each place, which are given from narrow to wide, each once, or at
// none: then it returns the first that is full. Where the oldest gives way, its
// seat is the newcomer's at once and Replaced says whose it was.
func Sit(wants []Want) (full *Seats) {
	for i := range wants {
		wants[i].Seats.mu.Lock()
	}
	for i := range wants {
		if s := wants[i].Seats; s.isFull() {
			full = s
			break
		}
	}
	for i := range wants {
		w := &wants[i]
		w.Replaced = nil
		if full == nil {
			w.Replaced = w.Seats.add(w.Seat)
		}
	}
	for i := range wants {
		wants[i].Seats.mu.Unlock()
	}
	return full
}

// isFull tells whether a newcomer is refused. s.mu is held.
func (s *Seats) isFull() bool {
	if s.taken < s.terms.Most {
		return false
	}
	return s.terms.Reaction == RefuseNewest || s.terms.Reaction == CloseOldest && s.oldest == nil
}

// add gives seat a place, which another may have to leave. s.mu is held.
func (s *Seats) add(seat *Seat) (replaced *Seat) {
	if s.taken >= s.terms.Most {
		if s.terms.Reaction == CloseOldest {
			replaced = s.oldest
			s.remove(replaced)
		} else {
			s.hits++
		}
	}
	seat.seats, seat.older, seat.next = s, s.newest, nil
	if s.newest != nil {
		s.newest.next = seat
	} else {
		s.oldest = seat
	}
	s.newest = seat
	s.taken++
	return replaced
}

func (s *Seats) remove(seat *Seat) {
	if seat.older != nil {
		seat.older.next = seat.next
	} else {
		s.oldest = seat.next
	}
	if seat.next != nil {
		seat.next.older = seat.older
	} else {
		s.newest = seat.older
	}
	seat.seats, seat.older, seat.next = nil, nil, nil
	s.taken--
}

// At returns where somebody sits on the seat, nil for nowhere. The caller sees to it that
// nobody sits down on it or leaves it meanwhile.
func (seat *Seat) At() *Seats { return seat.seats }

// Move has who sits on a seat sit on another, in the same order, which is free.
func (s *Seats) Move(from, to *Seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*to, *from = *from, Seat{}
	if to.older != nil {
		to.older.next = to
	} else {
		s.oldest = to
	}
	if to.next != nil {
		to.next.older = to
	} else {
		s.newest = to
	}
}

// Give gives the seat back, if it is still its owner's: it may have been replaced, or
// given back before.
func (s *Seats) Give(seat *Seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seat.seats == s {
		s.remove(seat)
	}
}

// Rearm sets other terms, and returns how many now sit over them. They keep their
// seats: the caller ends the newest, in its own time.
func (s *Seats) Rearm(terms SeatTerms) (over int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terms = terms
	if terms.Reaction == ObserveSeats {
		return 0
	}
	return max(s.taken-terms.Most, 0)
}

// TakeNewest takes the newest seat away while more are taken than there may be. It
// returns nil when no more are.
func (s *Seats) TakeNewest() *Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terms.Reaction == ObserveSeats || s.taken <= s.terms.Most {
		return nil
	}
	seat := s.newest
	s.remove(seat)
	return seat
}

// Each calls f for those who sit, the oldest first, until f returns false. f must not
// call s.
func (s *Seats) Each(f func(*Seat) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seat := s.oldest; seat != nil && f(seat); seat = seat.next {
	}
}

// Taken returns how many seats are taken, and how many were taken too many while the
// seats were on observe.
func (s *Seats) Taken() (taken int, hits int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, s.hits
}
