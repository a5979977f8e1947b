package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// The people, applications, keys, tokens and versions of the model. Each token is
// of its application's key.
var (
	modelApps     = []string{"applications/a", "applications/b"}
	modelTokens   = []string{"a1", "a2", "b1"}
	modelVersions = []string{"apis/x/versions/1", "apis/x/versions/2"}
)

func appOf(token string) string     { return "applications/" + token[:1] }
func keyOfApp(app string) string    { return app + "/keys/k" }
func personOf(app string) string    { return "people/" + app[len(app)-1:] }
func grantName(token string) string { return "grants/" + token }

// pair names a subscription that there is not.
func pair(app, version string) string { return app + "@" + version }

// state is what the subscription service knows. A name that is gone never comes
// back.
type state struct {
	gone map[string]bool
	subs map[string]string // by pair, the subscription
}

func (s state) clone() state {
	return state{gone: maps.Clone(s.gone), subs: maps.Clone(s.subs)}
}

// judge is the truth about a token and a version.
func (s state) judge(token, version string) Answer {
	app := appOf(token)
	key, person := keyOfApp(app), personOf(app)
	base := []string{grantName(token), key, app, person}
	if slices.ContainsFunc(base, func(n string) bool { return s.gone[n] }) {
		return Answer{Denied: grant.ErrUnauthenticated, RestsOn: base}
	}
	sub := s.subs[pair(app, version)]
	if sub == "" || s.gone[sub] || s.gone[version] {
		return Answer{Denied: grant.ErrNotSubscribed, RestsOn: append(base, pair(app, version), version)}
	}
	return Answer{
		Grant: &session.Grant{
			Name: grantName(token), Person: person, Application: app, Subscription: sub, Key: key,
			IDs: append(base, sub, version),
		},
		RestsOn:  append(base, sub, version),
		KeyType:  grant.Production,
		Lifetime: 1000 * time.Hour,
	}
}

// holds reports whether nothing that a grant rests on is gone.
func (s state) holds(ids []string) bool {
	return !slices.ContainsFunc(ids, func(n string) bool { return s.gone[n] })
}

// pendingChange is an event on its way to the gateway.
type pendingChange struct {
	number  uint64
	instant int // index into control.history of the state that it made
	event   Event
}

// control is the subscription service: a state, the changes that made it, and
// those that the gateway has not been told of. Its methods that the cache calls
// stop at each point where the world may go on without them.
type control struct {
	sched *scheduler
	state
	head    uint64
	made    int     // names of subscriptions made
	history []state // after each change, and at the start
	queue   []pendingChange
	reset   bool // the gateway has to be told a reset before anything else
	away    bool // calls fail
	calls   int
}

func newControl(s *scheduler) *control {
	c := &control{sched: s, state: state{gone: map[string]bool{}, subs: map[string]string{}}, head: 3}
	for _, app := range modelApps {
		c.subs[pair(app, modelVersions[0])] = c.newName()
	}
	c.history = []state{c.clone()}
	return c
}

func (c *control) newName() string {
	c.made++
	return fmt.Sprintf("subscriptions/%d", c.made)
}

// commit makes a change.
func (c *control) commit(e Event) {
	c.head++
	c.history = append(c.history, c.clone())
	c.queue = append(c.queue, pendingChange{number: c.head, instant: len(c.history) - 1, event: e})
}

// remove makes names be gone, the first being what was removed.
func (c *control) remove(cause Cause, names ...string) {
	for _, n := range names {
		c.gone[n] = true
	}
	c.commit(Event{Cause: cause, Names: names[:1]})
}

// act does something that people do.
func (c *control) act(what int, app, token, version string) string {
	sub := c.subs[pair(app, version)]
	exists := sub != "" && !c.gone[sub]
	switch {
	case what == 0:
		c.remove(TokenRevoked, grantName(token))
		return "revoke " + token
	case what == 1:
		c.remove(KeyDeleted, keyOfApp(app))
		return "delete key of " + app
	case what == 2:
		c.remove(ApplicationDeleted, app)
		return "delete " + app
	case what == 3:
		c.remove(PersonDeleted, personOf(app))
		return "delete " + personOf(app)
	case what == 4:
		c.remove(VersionDeleted, version)
		return "delete " + version
	case what == 5:
		c.commit(Event{})
		return "a change that touches nothing"
	case exists && what < 9:
		c.remove(SubscriptionDeleted, sub)
		return "delete " + sub
	case exists:
		c.commit(Event{Cause: Changed, Names: []string{sub}})
		return "update " + sub
	}
	name := c.newName()
	c.subs[pair(app, version)] = name
	c.commit(Event{Cause: Changed, Names: []string{pair(app, version)}})
	return "create " + name
}

// lose makes the gateway miss what it has not been told: it was away for too
// long.
func (c *control) lose() {
	c.queue, c.reset = nil, true
}

// restore begins another history: some subscriptions are gone without an event,
// and numbers go back. What was removed stays so: a gateway cannot be told of a
// removal that no history has.
func (c *control) restore(kept func() bool) {
	for _, at := range slices.Sorted(maps.Keys(c.subs)) {
		if !kept() {
			c.gone[c.subs[at]] = true
		}
	}
	c.head = c.head/2 + 1
	c.history = append(c.history, c.clone())
	c.lose()
}

var errAway = errors.New("away")

// Verify is Source's.
func (c *control) Verify(ctx context.Context, credential, version string) (Answer, error) {
	c.calls++
	at := fmt.Sprintf("verify %s %s call %d", credential, version, c.calls)
	if err := c.sched.stop(ctx, at+" arrives"); err != nil {
		return Answer{}, err
	}
	if c.away {
		return Answer{}, errAway
	}
	asOf := c.head
	if err := c.sched.stop(ctx, at+" has read the number"); err != nil {
		return Answer{}, err
	}
	a := c.judge(credential, version)
	a.AsOf = asOf
	return a, c.sched.stop(ctx, at+" is judged")
}

// Read is Source's.
func (c *control) Read(ctx context.Context, asked []Query) (States, error) {
	c.calls++
	at := fmt.Sprintf("read call %d", c.calls)
	if err := c.sched.stop(ctx, at+" arrives"); err != nil {
		return States{}, err
	}
	if c.away {
		return States{}, errAway
	}
	out := States{AsOf: c.head}
	if err := c.sched.stop(ctx, at+" has read the number"); err != nil {
		return States{}, err
	}
	for _, q := range asked {
		a := c.judge(q.Grant.Name[len("grants/"):], q.Version)
		st := State{Grant: a.Grant}
		if a.Grant == nil {
			st.Ended = c.why(q.Grant.IDs)
		}
		out.States = append(out.States, st)
	}
	return out, c.sched.stop(ctx, at+" is judged")
}

// why names a cause that a grant ended for.
func (c *control) why(ids []string) Cause {
	if slices.ContainsFunc(ids[:2], func(n string) bool { return c.gone[n] }) {
		return TokenRevoked
	}
	return SubscriptionDeleted
}

// pausing is a registry whose every use is a point where the world may go on.
type pausing struct {
	*session.Registry
	sched *scheduler
}

func (p pausing) List(after string, n int, keep func(*session.Session) bool) []*session.Session {
	p.sched.pause("before listing")
	defer p.sched.pause("after listing")
	return p.Registry.List(after, n, keep)
}

func (p pausing) Where(names ...string) []*session.Session {
	p.sched.pause("before where")
	defer p.sched.pause("after where")
	return p.Registry.Where(names...)
}

func (p pausing) EndWhere(c session.Cause, names ...string) int {
	p.sched.pause("before end")
	defer p.sched.pause("after end")
	return p.Registry.EndWhere(c, names...)
}
