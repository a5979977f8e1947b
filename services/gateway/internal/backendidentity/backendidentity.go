// Package backendidentity has the subscription service sign what backends are told about
// clients, where a version wants that as a JWT.
package backendidentity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// ErrUnavailable says that nothing can be signed now.
var ErrUnavailable = errors.New("the backend identity cannot be signed now")

// Claims is what a backend is told.
type Claims struct {
	Version string       // apis/{api}/versions/{version}
	Grant   *grant.Grant // nil: the version asks for no credential
	// Ref is that of the session. Whatever has none shares what was signed with others of
	// the same grant.
	Ref string
}

// Signer has identities signed. It is safe for concurrent use.
type Signer struct {
	client  backplanev1.GrantServiceClient
	timeout time.Duration

	flight singleflight.Group
	mu     sync.Mutex
	shared map[string]shared // by what it says
}

// shared is what was signed without a ref.
type shared struct {
	token string
	until time.Time // it is used
}

const (
	// rest is how long a shared identity is valid at least when it is used.
	rest = time.Minute
	// maxShared is how many are kept.
	maxShared = 10_000
)

// New returns a signer. Each call of the service has a timeout.
func New(client backplanev1.GrantServiceClient, timeout time.Duration) *Signer {
	return &Signer{client: client, timeout: timeout, shared: map[string]shared{}}
}

// Sign returns a JWT that tells a backend this. The error wraps ErrUnavailable, or is the
// cause of ctx. One call is made for each ref; without a ref, one for all who ask for the
// same in some minutes.
func (s *Signer) Sign(ctx context.Context, c Claims) (string, error) {
	req := c.request()
	if c.Ref != "" {
		token, _, err := s.call(ctx, req)
		return token, err
	}
	key := keyOf(req)
	if token, ok := s.kept(key); ok {
		return token, nil
	}
	// The call outlives the caller who began it, because others wait for it.
	done := s.flight.DoChan(key, func() (any, error) {
		if token, ok := s.kept(key); ok {
			return token, nil
		}
		sent := time.Now()
		token, life, err := s.call(context.WithoutCancel(ctx), req)
		if err == nil {
			s.keep(key, shared{token: token, until: sent.Add(life - rest)})
		}
		return token, err
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// call has a request signed, and returns for how long what was signed is valid.
func (s *Signer) call(ctx context.Context, req *backplanev1.SignBackendIdentityRequest) (string, time.Duration, error) {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.SignBackendIdentity(within, req)
	switch {
	case ctx.Err() != nil:
		return "", 0, context.Cause(ctx)
	case err != nil:
		return "", 0, fmt.Errorf("%w: for %s: %w", ErrUnavailable, req.GetVersion(), err)
	case resp.GetToken() == "" || !resp.GetExpireTime().IsValid() || !resp.GetServerTime().IsValid():
		return "", 0, fmt.Errorf("%w: the answer lacks the token or a time", ErrUnavailable)
	}
	return resp.GetToken(), resp.GetExpireTime().AsTime().Sub(resp.GetServerTime().AsTime()), nil
}

func (c Claims) request() *backplanev1.SignBackendIdentityRequest {
	req := &backplanev1.SignBackendIdentityRequest{Version: c.Version, Ref: c.Ref}
	if g := c.Grant; g != nil {
		req.Application, req.OauthClient, req.ApiKey, req.Subscription, req.Scopes = g.Application, g.OAuthClient, g.APIKey, g.Subscription, g.Scopes
		req.Stage = catalogv1.Stage(g.Stage) // the numbers are the same
	}
	return req
}

// keyOf returns the same for two requests that ask for the same. None of its parts has a
// line feed in it: they are names, and scopes come out of one claim between spaces.
func keyOf(req *backplanev1.SignBackendIdentityRequest) string {
	return strings.Join([]string{
		req.GetVersion(), req.GetApplication(), req.GetOauthClient(), req.GetApiKey(), req.GetSubscription(), req.GetStage().String(), strings.Join(req.GetScopes(), " "),
	}, "\n")
}

func (s *Signer) kept(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.shared[key]
	return k.token, ok && time.Now().Before(k.until)
}

// keep keeps what was signed. Where there are too many, those that are not used any more
// go, and then any.
func (s *Signer) keep(key string, k shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for old, k := range s.shared {
		if len(s.shared) < maxShared {
			break
		}
		if !now.Before(k.until) {
			delete(s.shared, old)
		}
	}
	for old := range s.shared {
		if len(s.shared) < maxShared {
			break
		}
		delete(s.shared, old)
	}
	s.shared[key] = k
}
