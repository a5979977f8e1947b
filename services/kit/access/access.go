// Package access follows whose access has ended before its access tokens expire:
// the watch of users that the subscription service serves. The services that check
// users' tokens and do not own the users have one.
//
// A token is valid for at most 15 minutes, so what has ended is forgotten soon
// after. While the subscription service is not heard, nothing new becomes known;
// then those 15 minutes are how long access lasts at most.
package access

import (
	"context"
	"log/slog"
	"sync"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// forgetEvery is the least time between two looks for what can be forgotten.
const forgetEvery = time.Minute

// Watch knows whose access has ended, as far as it has been heard. It is an
// identity.Ended, and safe for concurrent use.
type Watch struct {
	follower *watch.Follower[backplanev1.WatchUsersRequest, backplanev1.WatchUsersResponse]
	now      func() time.Time

	mu     sync.Mutex
	ended  map[string]end // by the name of a user or a sign-in
	forgot time.Time      // when it was last looked for what can be forgotten
}

// end is when access ended.
type end struct {
	at    moment.Moment // tokens from before it give none
	until time.Time     // then the last of them has expired
}

var _ identity.Ended = (*Watch)(nil)

// New returns a watch for an instance of a service.
func New(client backplanev1.AccessServiceClient, service, instance string, log *slog.Logger, now func() time.Time) *Watch {
	w := &Watch{now: now, ended: map[string]end{}}
	hello := &backplanev1.Hello{Instance: watch.Beside(instance, "users"), Kind: service, Build: run.Version()}
	w.follower = watch.NewFollower(client.WatchUsers, hello, watch.At{}, sink{w}, log, now)
	return w
}

// Run follows until ctx ends.
func (w *Watch) Run(ctx context.Context) error { return w.follower.Run(ctx) }

// Health returns nil while the subscription service is heard, or what is missing.
func (w *Watch) Health() error { return w.follower.Health() }

// Applied returns the number of the last change applied.
func (w *Watch) Applied() uint64 { return w.follower.Applied() }

// Ended reports whether the access that u's token gave has ended.
func (w *Watch) Ended(_ context.Context, u identity.User) (bool, error) {
	signIn := resourcename.SignIn{User: u.ID(), SignIn: u.SignIn}.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	return u.AsOf.Before(w.ended[u.Name].at) || u.AsOf.Before(w.ended[signIn].at), nil
}

// add adds access that has ended, and forgets what nobody needs any more.
func (w *Watch) add(all []*backplanev1.EndedAccess) {
	now := w.now()
	if now.Sub(w.forgot) >= forgetEvery {
		w.forgot = now
		for name, e := range w.ended {
			if now.After(e.until) {
				delete(w.ended, name)
			}
		}
	}
	for _, e := range all {
		w.ended[e.GetName()] = end{at: moment.Of(e.GetChangeNumber(), e.GetChangeTime()), until: e.GetExpireTime().AsTime()}
	}
}

// sink puts what is heard into a watch.
type sink struct{ w *Watch }

// Reset begins anew with a snapshot.
func (s sink) Reset(_ context.Context, _ watch.At, _ backplanev1.Begin_Reset, pieces []*backplanev1.WatchUsersResponse) (watch.Result, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	clear(s.w.ended)
	for _, piece := range pieces {
		s.w.add(piece.GetSnapshot().GetEnded())
	}
	return watch.Result{}, nil
}

// Apply applies a change.
func (s sink) Apply(_ context.Context, _ watch.At, m *backplanev1.WatchUsersResponse) (watch.Result, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.add(m.GetChange().GetEvent().GetEnded())
	return watch.Result{}, nil
}
