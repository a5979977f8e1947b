package limits

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// modelSeats are seats as a slice, the oldest first.
type modelSeats struct {
	terms SeatTerms
	sit   []*Seat
	hits  int64
}

// seatPair is a reaction at a place.
type seatPair struct {
	Place
	SeatsReaction
}

// seatsWorld runs the seats of three places and their models side by side.
type seatsWorld struct {
	t     *testing.T
	rng   *rand.Rand
	real  []*Seats
	model []*modelSeats
	hits  map[seatPair]int
}

func (w *seatsWorld) terms() SeatTerms {
	return SeatTerms{w.rng.IntN(5), SeatsReaction(w.rng.IntN(3))}
}

func (m *modelSeats) full() bool {
	return len(m.sit) >= m.terms.Most &&
		(m.terms.Reaction == RefuseNewest || m.terms.Reaction == CloseOldest && len(m.sit) == 0)
}

// sit has a newcomer.
func (w *seatsWorld) sit() {
	var wants []Want
	var full *Seats
	for i, m := range w.model {
		wants = append(wants, Want{Seats: w.real[i], Seat: &Seat{}})
		if full == nil && m.full() {
			full = w.real[i]
			w.hits[seatPair{Place(i), m.terms.Reaction}]++
		}
	}
	if got := Sit(wants); got != full {
		w.t.Fatalf("full: got %v, the model says %v", got, full)
	}
	for i, m := range w.model {
		var replaced *Seat
		if full == nil {
			if len(m.sit) >= m.terms.Most {
				w.hits[seatPair{Place(i), m.terms.Reaction}]++
				if m.terms.Reaction == CloseOldest {
					replaced, m.sit = m.sit[0], m.sit[1:]
				} else {
					m.hits++
				}
			}
			m.sit = append(m.sit, wants[i].Seat)
		}
		if wants[i].Replaced != replaced {
			w.t.Fatal("the wrong seat was replaced")
		}
	}
}

// step does one thing.
func (w *seatsWorld) step() {
	i := w.rng.IntN(3)
	s, m := w.real[i], w.model[i]
	switch n := w.rng.IntN(10); {
	case n < 6:
		w.sit()
	case n < 8 && len(m.sit) > 0:
		j := w.rng.IntN(len(m.sit))
		gone := m.sit[j]
		m.sit = slices.Delete(m.sit, j, j+1)
		s.Give(gone)
		s.Give(gone)
	case n == 8:
		m.terms = w.terms()
		want := 0
		if m.terms.Reaction != ObserveSeats {
			want = max(len(m.sit)-m.terms.Most, 0)
		}
		if over := s.Rearm(m.terms); over != want {
			w.t.Fatalf("%d over, the model says %d", over, want)
		}
	case n == 9:
		var want *Seat
		if m.terms.Reaction != ObserveSeats && len(m.sit) > m.terms.Most {
			want = m.sit[len(m.sit)-1]
			m.sit = m.sit[:len(m.sit)-1]
		}
		if s.TakeNewest() != want {
			w.t.Fatal("not the newest")
		}
	}
}

func (w *seatsWorld) compare() {
	for i, m := range w.model {
		var sit []*Seat
		w.real[i].Each(func(s *Seat) bool { sit = append(sit, s); return true })
		if taken, hits := w.real[i].Taken(); taken != len(m.sit) || hits != m.hits || !slices.Equal(sit, m.sit) {
			w.t.Fatalf("%d seats and %d hits, the model has %d and %d", taken, hits, len(m.sit), m.hits)
		}
	}
}

// TestSeats compares three places with slices, for as many seeds and steps as there are
// sequences.
func TestSeats(t *testing.T) {
	t.Parallel()
	hits := map[seatPair]int{}
	for i := range uint64(*sequences) {
		w := &seatsWorld{t: t, rng: rand.New(rand.NewPCG(*firstSeed+i, 4)), hits: hits}
		for place := Subscription; place <= Version; place++ {
			m := &modelSeats{terms: w.terms()}
			w.real, w.model = append(w.real, NewSeats(place, m.terms)), append(w.model, m)
		}
		for range steps {
			w.step()
			w.compare()
		}
	}
	for place := Subscription; place <= Version; place++ {
		for r := RefuseNewest; r <= ObserveSeats; r++ {
			if n := hits[seatPair{place, r}]; n < 100 {
				t.Errorf("place %d, reaction %d was hit %d times, want 100", place, r, n)
			}
		}
	}
}
