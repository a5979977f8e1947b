package handshake

import (
	"sync"
	"time"
)

// perSecond is how many refusals with the same code are logged in a second.
const perSecond = 10

// sampler keeps refusals from filling the log under a flood, each code by itself.
type sampler struct {
	mu    sync.Mutex
	codes map[string]*sample
}

// sample is what was logged and left out of a code.
type sample struct {
	second        int64
	written, left int
}

// log reports whether one more refusal is logged, and how many were left out since the
// last that was.
func (s *sampler) log(code string, now time.Time) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.codes[code]
	if c == nil {
		c = &sample{}
		s.codes[code] = c
	}
	if second := now.Unix(); c.second != second {
		c.second, c.written = second, 0
	}
	if c.written >= perSecond {
		c.left++
		return 0, false
	}
	c.written++
	left, c.left = c.left, 0
	return left, true
}
