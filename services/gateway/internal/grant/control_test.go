package grant_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// pendingChange is an event on its way to the gateway.
type pendingChange struct {
	number  uint64
	instant int // index into control.history of the state that it made
	event   grant.Event
}

// control is the subscription service: a state, the changes that led to it, and
// those that have not been delivered yet. The methods that the cache calls stop at
// each point at which something else may happen.
type control struct {
	sched *scheduler
	state
	head    uint64
	clock   int64   // time of the newest change, which never goes back
	made    int     // number of names made
	history []state // after each change, and at the start
	queue   []pendingChange
	reset   bool // a reset has to be delivered before anything else
	away    bool // calls fail

	early map[string]time.Time       // by token, the earliest time at which the gateway may take it for expired
	given map[*grant.Grant]time.Time // when the gateway got a grant

	tickets []*ticket
}

// ticket opens one session, which rests on the token that bought it.
type ticket struct {
	value, token, version string
	spent                 string // the attempt that has spent it; "" for none yet
}

func newControl(s *scheduler) *control {
	c := &control{sched: s, head: 3, clock: 3, early: map[string]time.Time{}, given: map[*grant.Grant]time.Time{}}
	c.state = state{gone: map[string]bool{}, subs: map[string]string{}, groups: map[string][]string{}, free: map[string]bool{}, expires: map[string]time.Time{}, issuedAt: map[string]moment.Moment{}}
	for _, c1 := range []byte(letters) {
		c.subs[pair("applications/"+string(c1), versionOf('1'))] = c.newName("subscriptions/")
	}
	c.history = []state{c.clone()}
	return c
}

func (c *control) newName(prefix string) string {
	c.made++
	return fmt.Sprint(prefix, c.made)
}

// issue gives a token its lifetime when it is first used. Half of the tokens outlive
// the test.
func (c *control) issue(token string) {
	if _, issued := c.expires[token]; issued {
		return
	}
	lifetime, rnd := 1000*time.Hour, c.sched.rnd
	if rnd.IntN(2) == 0 {
		longest := []time.Duration{500 * time.Millisecond, 5 * time.Second, 2 * time.Minute}[rnd.IntN(3)]
		lifetime = time.Duration(1 + rnd.Int64N(int64(longest)))
	}
	c.expires[token] = time.Now().Add(lifetime)
	c.early[token], c.issuedAt[token] = c.expires[token], moment.Moment{Change: c.head, Time: c.clock}
}

// sell sells a ticket for a token that was issued.
func (c *control) sell(token, version string) *ticket {
	t := &ticket{value: c.newName("ticket "), token: token, version: version}
	c.tickets = append(c.tickets, t)
	return t
}

// spend has an attempt spend a ticket, and reports whether it is the one that has.
func (t *ticket) spend(attempt string) bool {
	if t.spent == "" {
		t.spent = attempt
	}
	return t.spent == attempt
}

// commit makes a change.
func (c *control) commit(e grant.Event) {
	c.head++
	c.clock++
	c.history = append(c.history, c.clone())
	c.queue = append(c.queue, pendingChange{number: c.head, instant: len(c.history) - 1, event: e})
}

// remove makes names disappear; the first one is what was removed.
func (c *control) remove(kind grant.EventKind, names ...string) {
	for _, n := range names {
		c.gone[n] = true
	}
	c.commit(grant.Event{Kind: kind, Names: names[:1]})
}

// restored reports whether numbers have gone back.
func (c *control) restored() bool { return uint64(c.clock) > c.head }

// next is the moment of the change that is made next.
func (c *control) next() moment.Moment { return moment.Moment{Change: c.head + 1, Time: c.clock + 1} }

// revoke revokes what an application, or its OAuth client, was issued until now.
func (c *control) revoke(name, app string) string {
	for token := range c.issuedAt {
		if appOf(token) == app {
			c.gone[grantName(token)] = true
		}
	}
	c.commit(grant.Event{Kind: grant.Revoked, Names: []string{name}, IssuedBefore: c.next()})
	return "revoke all that was issued to " + name
}

// revokeAt revokes what an application was issued until now at one version.
func (c *control) revokeAt(app, version, sub string) string {
	for token := range c.issuedAt {
		if appOf(token) == app {
			c.gone[voidAt(token, version)] = true
		}
	}
	c.commit(grant.Event{Kind: grant.Revoked, Names: []string{sub, pair(app, version)}, IssuedBefore: c.next()})
	return "revoke all that was issued to " + app + " at " + version
}

// revokeNamed revokes a token by the name that somebody knows, who says of which application
// and user it is. Where it is of others, nothing happens to it.
func (c *control) revokeNamed(token, app, user string) string {
	if app == appOf(token) && user == userOf(app) {
		c.gone[grantName(token)] = true
	}
	c.commit(grant.Event{Kind: grant.Revoked, Names: []string{grantName(token)}, Application: app, User: user})
	return fmt.Sprintf("revoke %s as one of %s and %s", token, app, user)
}

// acts is the number of things that users can do; those from groupActs to groupsEnd
// are about groups, those before end the most.
const (
	acts       = 47
	revokeActs = 38 // those from here on revoke what was issued until now
	atActs     = 41 // those from here on do so at one version
	nameActs   = 44 // those from here on revoke a token by its name
	freeActs   = 34 // those from here on are about versions that need no subscription
	groupActs  = 11
	groupsEnd  = 18
)

// act does one of the things that users do.
func (c *control) act(what int, app, token, version string) string {
	sub := c.subs[pair(app, version)]
	exists := sub != "" && !c.gone[sub]
	switch {
	case what >= nameActs:
		of := [][2]string{{app, userOf(app)}, {app, "users/other"}, {"applications/other", userOf(app)}}[what-nameActs]
		return c.revokeNamed(token, of[0], of[1])
	case what >= atActs && !exists:
		c.commit(grant.Event{})
		return "a change that touches nothing"
	case what >= atActs:
		return c.revokeAt(app, version, sub)
	case what >= revokeActs:
		return c.revoke([]string{app, clientOfApp(app)}[what%2], app)
	case what >= freeActs:
		c.free[version] = !c.free[version]
		c.commit(grant.Event{Kind: grant.Changed, Names: []string{version}})
		return fmt.Sprintf("%s needs no subscription: %t", version, c.free[version])
	case what < 3:
		c.remove(grant.TokenRevoked, grantName(token))
		return "revoke " + token
	case what == 3:
		c.remove(grant.OAuthClientDeleted, clientOfApp(app))
		return "delete the OAuth client of " + app
	case what == 4:
		c.remove(grant.ApplicationDeleted, app)
		return "delete " + app
	case what == 5:
		c.remove(grant.UserDeleted, userOf(app))
		return "delete " + userOf(app)
	case what == 6:
		c.remove(grant.VersionDeleted, version)
		return "delete " + version
	case what < 9:
		c.commit(grant.Event{})
		return "a change that touches nothing"
	case what < 11:
		// A kind of event that this gateway does not know: to it, something changed.
		c.remove(grant.Changed, grantName(token))
		return "take back " + token
	case what < 15:
		group := c.newName("groups/")
		c.groups[app] = append(slices.Clip(c.groups[app]), group)
		c.commit(grant.Event{Kind: grant.Changed, Names: []string{app}})
		return "put " + app + " in " + group
	case what < groupsEnd && len(c.groups[app]) > 0:
		group := c.groups[app][len(c.groups[app])-1]
		kind := grant.UserDeleted
		if what < 17 {
			kind = grant.Changed
		}
		c.remove(kind, group)
		return fmt.Sprintf("delete %s (%v)", group, kind)
	case exists && what < 22:
		c.remove(grant.SubscriptionDeleted, sub)
		return "delete " + sub
	case exists:
		c.commit(grant.Event{Kind: grant.Changed, Names: []string{sub}})
		return "update " + sub
	}
	name := c.newName("subscriptions/")
	c.subs[pair(app, version)] = name
	c.commit(grant.Event{Kind: grant.Changed, Names: []string{pair(app, version)}})
	return "create " + name
}

// lose makes the gateway miss all that has not been delivered, as if it had been
// away for too long.
func (c *control) lose() {
	c.queue, c.reset = nil, true
}

// restore restores a backup: some subscriptions are gone without an event, and
// change numbers go back. What was removed stays removed, because no event could
// tell the gateway otherwise.
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
