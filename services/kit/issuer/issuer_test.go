package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ identity.Keys = (*Issuer)(nil)

// source is a subscription service that counts how often it is asked.
type source struct {
	subscriptionv1.OAuthServiceClient
	asked atomic.Int64
	slow  time.Duration

	mu   sync.Mutex
	keys []*subscriptionv1.SigningKey
	err  error
}

func (s *source) GetSigningKeys(ctx context.Context, _ *subscriptionv1.GetSigningKeysRequest, _ ...grpc.CallOption) (*subscriptionv1.SigningKeys, error) {
	s.asked.Add(1)
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return &subscriptionv1.SigningKeys{Issuer: "https://issuer.example", Keys: s.keys}, nil
}

func (s *source) set(err error, keys ...*subscriptionv1.SigningKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err = keys, err
}

func newKey(t *testing.T, kid string) (*subscriptionv1.SigningKey, *ecdsa.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &subscriptionv1.SigningKey{Kid: kid, X: point[1:33], Y: point[33:]}, &key.PublicKey
}

func TestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, public := newKey(t, "one")
		src := &source{slow: 50 * time.Millisecond}
		src.set(nil, one)
		iss := New(src)
		if got := iss.Issuer(); got != "" {
			t.Errorf("Issuer() before the first key = %q, want none", got)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				got, err := iss.Key(t.Context(), "one")
				if err != nil || !public.Equal(got) {
					t.Errorf("Key(one) = %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if n := src.asked.Load(); n != 1 {
			t.Errorf("100 callers asked %d times, want 1", n)
		}
		if got := iss.Issuer(); got != "https://issuer.example" {
			t.Errorf("Issuer() = %q", got)
		}
	})
}

func TestUnknownKeyIsAskedForOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := newKey(t, "one")
		two, _ := newKey(t, "two")
		src := &source{}
		src.set(nil, one)
		iss := New(src)
		for range 10 {
			if _, err := iss.Key(t.Context(), "two"); !fault.Is(err, codes.NotFound) {
				t.Fatalf("Key(two) = %v, want NotFound", err)
			}
		}
		if n := src.asked.Load(); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
		src.set(nil, one, two)
		time.Sleep(pause)
		if _, err := iss.Key(t.Context(), "two"); err != nil {
			t.Errorf("Key(two) after a second = %v, want the new key", err)
		}
	})
}

func TestRemovedKeyGoesWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := newKey(t, "one")
		src := &source{}
		src.set(nil, one)
		iss := New(src)
		if _, err := iss.Key(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		src.set(nil)
		time.Sleep(fresh)
		if _, err := iss.Key(t.Context(), "one"); !fault.Is(err, codes.NotFound) {
			t.Errorf("Key(one) = %v, want NotFound", err)
		}
	})
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := newKey(t, "one")
		src := &source{}
		down := status.Error(codes.Unavailable, "down")
		src.set(down)
		iss := New(src)
		if _, err := iss.Key(t.Context(), "one"); err == nil || fault.Is(err, codes.NotFound) {
			t.Errorf("Key(one) without any set = %v, want the outage", err)
		}
		src.set(nil, one)
		if _, err := iss.Key(t.Context(), "one"); err != nil {
			t.Errorf("Key(one) = %v", err)
		}
		src.set(down)
		time.Sleep(time.Hour)
		asked := src.asked.Load()
		for range 10 {
			if _, err := iss.Key(t.Context(), "one"); err != nil {
				t.Errorf("Key(one) during an outage = %v, want the last known key", err)
			}
		}
		if n := src.asked.Load() - asked; n != 1 {
			t.Errorf("asked %d times within the retry pause, want 1", n)
		}
	})
}

func TestCallerLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := newKey(t, "one")
		src := &source{slow: time.Second}
		src.set(nil, one)
		iss := New(src)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := iss.Key(ctx, "one"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Key with a short deadline = %v, want the deadline", err)
		}
		// The reading that the first caller began serves the second.
		if _, err := iss.Key(t.Context(), "one"); err != nil {
			t.Errorf("Key(one) = %v", err)
		}
		if n := src.asked.Load(); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
	})
}

func TestBadKeyIsRefused(t *testing.T) {
	one, _ := newKey(t, "one")
	short := &subscriptionv1.SigningKey{Kid: "short", X: one.GetX()[1:], Y: one.GetY()}
	off := &subscriptionv1.SigningKey{Kid: "off", X: one.GetX(), Y: one.GetX()}
	for _, bad := range []*subscriptionv1.SigningKey{short, off} {
		src := &source{}
		src.set(nil, bad)
		if _, err := New(src).Key(t.Context(), bad.GetKid()); err == nil {
			t.Errorf("Key(%s) = nil error, want a refusal", bad.GetKid())
		}
	}
}
