package backendidentity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// service is the subscription service: each answer takes a second.
type service struct {
	backplanev1.GrantServiceClient
	mu    sync.Mutex
	asked []*backplanev1.SignBackendIdentityRequest
	err   error
	hangs bool
}

// become changes what the answers are.
func (s *service) become(err error, hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.hangs = err, hangs
}

func (s *service) SignBackendIdentity(ctx context.Context, req *backplanev1.SignBackendIdentityRequest, _ ...grpc.CallOption) (*backplanev1.SignBackendIdentityResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	n, err, hangs := len(s.asked), s.err, s.hangs
	s.mu.Unlock()
	wait := time.Second
	if hangs {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	now := time.Now()
	return &backplanev1.SignBackendIdentityResponse{
		Token: fmt.Sprint("token ", n), ServerTime: timestamppb.New(now.Add(time.Hour)), ExpireTime: timestamppb.New(now.Add(time.Hour + 5*time.Minute)),
	}, err
}

func claims(scope, ref string) Claims {
	return Claims{Version: "apis/a/versions/v", Ref: ref, Grant: &grant.Grant{
		Application: "applications/a", OAuthClient: "applications/a/oauthClients/c", APIKey: "k", Subscription: "subscriptions/s", Stage: grant.Sandbox, Scopes: []string{scope},
	}}
}

// TestSign: with a ref each is signed; without one those who ask for the same share it until a
// minute before it expires, by the service's clock, which is ahead here.
func TestSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &service{}
		s := New(client, 3*time.Second)
		sign := func(c Claims, want string) {
			t.Helper()
			if got, err := s.Sign(t.Context(), c); got != want || err != nil {
				t.Errorf("Sign = %q, %v, want %q", got, err, want)
			}
		}
		sign(claims("x", "REF"), "token 1")
		sign(claims("x", "REF"), "token 2")
		req := client.asked[0]
		if req.GetVersion() != "apis/a/versions/v" || req.GetApplication() != "applications/a" || req.GetOauthClient() != "applications/a/oauthClients/c" || req.GetApiKey() != "k" ||
			req.GetSubscription() != "subscriptions/s" || req.GetStage() != catalogv1.Stage_STAGE_SANDBOX || req.GetScopes()[0] != "x" || req.GetRef() != "REF" {
			t.Errorf("the service is asked for %v, want what the grant says", req)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { sign(claims("x", ""), "token 3") })
		}
		all.Wait()
		sign(claims("y", ""), "token 4")
		sign(Claims{Version: "apis/a/versions/v"}, "token 5")
		sign(claims("x", ""), "token 3")
		time.Sleep(4*time.Minute - 5*time.Second)
		sign(claims("x", ""), "token 3")
		time.Sleep(4 * time.Second)
		sign(claims("x", ""), "token 6")
	})
}

// TestSignFails: an answer that does not come, or is an error, is ErrUnavailable; that of a
// caller who has gone is the caller's. Nothing of it is kept.
func TestSignFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &service{hangs: true}
		s := New(client, 3*time.Second)
		for _, ref := range []string{"REF", ""} {
			began := time.Now()
			if _, err := s.Sign(t.Context(), claims("x", ref)); !errors.Is(err, ErrUnavailable) || time.Since(began) != 3*time.Second {
				t.Errorf("ref %q: Sign = %v after %s, want %v after 3s", ref, err, time.Since(began), ErrUnavailable)
			}
			gone := errors.New("gone")
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
			if _, err := s.Sign(ctx, claims("x", ref)); !errors.Is(err, gone) || errors.Is(err, ErrUnavailable) {
				t.Errorf("ref %q: Sign = %v, want %v", ref, err, gone)
			}
			cancel()
			time.Sleep(3 * time.Second)
		}
		client.become(status.Error(codes.Unimplemented, "of an earlier release"), false)
		for _, ref := range []string{"REF", ""} {
			if _, err := s.Sign(t.Context(), claims("x", ref)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("ref %q: Sign = %v, want %v", ref, err, ErrUnavailable)
			}
		}
		client.become(nil, false)
		if got, err := s.Sign(t.Context(), claims("x", "")); err != nil || got == "" {
			t.Errorf("Sign = %q, %v, once the service is back", got, err)
		}
	})
}

// TestShared bounds what is kept.
func TestShared(t *testing.T) {
	s := New(nil, 0)
	for i := range maxShared + 100 {
		s.keep(fmt.Sprint(i), shared{token: "t", until: time.Now().Add(time.Hour)})
	}
	if n := len(s.shared); n != maxShared {
		t.Errorf("%d are kept, want %d", n, maxShared)
	}
	if _, ok := s.kept(fmt.Sprint(maxShared + 99)); !ok {
		t.Error("the newest is not kept")
	}
}
