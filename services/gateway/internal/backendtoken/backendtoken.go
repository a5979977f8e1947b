// Package backendtoken keeps the access token that the backends of a stage ask of the gateway.
// It knows no socket: whoever needs a token says how one is got.
//
//	      Get, none is there                it is refused (Drop), or expires
//	none ────────────────────► fetched ─────────────────────────────────────► none
//	                              │  ▲
//	shortly before it expires     ▼  │ Get: the first one fetches another,
//	                             due─┘      the others go on with it
//
// One fetch at a time is under way. After a failure none is for a while, so that the
// handshakes that wait for a token learn at once that there is none, and a token endpoint in
// trouble has peace.
package backendtoken

import (
	"context"
	"sync"
	"time"
)

// Times of tokens.
const (
	// unsaid is how long a token is used of which the endpoint does not say when it expires.
	unsaid = 5 * time.Minute
	// margin is how long before its expiry a token is fetched anew, and a fifth of its life at
	// most.
	margin = 30 * time.Second
	// pause is how long after a failure no token is fetched.
	pause = 2 * time.Second
	// trust is how long a token that was fetched because another one was refused is not
	// dropped: a backend that refuses all tokens is not to have one fetched for each handshake.
	trust = 10 * time.Second
)

// Client is an OAuth client at a token endpoint.
type Client struct {
	URL, ID, Secret string
	Scopes          string // with a space between two
	Audience        string
	InBody          bool // it authenticates in the body, and not by HTTP Basic
}

// Token is what a token endpoint gives.
type Token struct {
	Value  string
	Expiry time.Time // zero: not said
}

// Fetch gets a token for a client.
type Fetch func(ctx context.Context, c Client) (Token, error)

// Source has the token of one client. It is safe for concurrent use.
type Source struct {
	client Client
	turn   chan struct{} // full while a token is fetched

	mu          sync.Mutex
	token       Token
	due         time.Time // when it is fetched anew
	failure     error     // of the last fetch; nil: none, or it is over
	failedUntil time.Time
	dropped     time.Time // when one was dropped last
}

// New returns a source without a token.
func New(c Client) *Source { return &Source{client: c, turn: make(chan struct{}, 1)} }

// Client returns whose tokens they are.
func (s *Source) Client() Client { return s.client }

// Get returns a token that is good for now, and fetches one if it has to. It waits for a
// fetch that is under way where there is no token. Its error is that of the fetch, or the
// cause of ctx.
func (s *Source) Get(ctx context.Context, fetch Fetch) (string, error) {
	value, due, _ := s.look()
	switch {
	case value != "" && !due:
		return value, nil
	case value != "":
		select {
		case s.turn <- struct{}{}:
		default:
			return value, nil
		}
	default:
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	defer func() { <-s.turn }()
	// Another one may have had the turn before.
	value, due, failure := s.look()
	switch {
	case value != "" && (!due || failure != nil):
		return value, nil
	case failure != nil:
		return "", failure
	}
	token, err := fetch(ctx, s.client)
	if err != nil {
		s.fail(ctx, err)
		if value != "" {
			return value, nil
		}
		return "", err
	}
	s.keep(token)
	return token.Value, nil
}

// look returns the token that is good, empty for none; whether another one is to be fetched;
// and why none is at the moment.
func (s *Source) look() (value string, due bool, failure error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.failedUntil) {
		failure = s.failure
	}
	if now.Before(s.token.Expiry) {
		value = s.token.Value
	}
	return value, !now.Before(s.due), failure
}

// keep takes over a token.
func (s *Source) keep(token Token) {
	now := time.Now()
	if token.Expiry.IsZero() {
		token.Expiry = now.Add(unsaid)
	}
	life := token.Expiry.Sub(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.due, s.failure = token, token.Expiry.Add(-min(margin, life/5)), nil
}

// fail notes that a fetch failed, unless whoever wanted the token has left.
func (s *Source) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.failedUntil = err, time.Now().Add(pause)
}

// Drop forgets a token that a backend has refused, and reports whether Get may give another
// one: not if one was dropped a moment ago, too.
func (s *Source) Drop(value string) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.token.Value != value:
		return true
	case now.Sub(s.dropped) < trust:
		return false
	}
	s.token, s.dropped = Token{}, now
	return true
}
