package grant_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// The model's applications are named by a letter, their tokens by a letter and a
// digit. When one is gone, the next takes its place.
const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "123456789"
)

func versionOf(digit byte) string { return "apis/x/versions/" + string(digit) }

// living returns the first two of all names that are not gone, or the last one.
func living(all string, name func(c byte) string, gone func(string) bool) []string {
	var list []string
	for i := range len(all) {
		if n := name(all[i]); !gone(n) || len(list) == 0 && i == len(all)-1 {
			list = append(list, n)
		}
		if len(list) == 2 {
			break
		}
	}
	return list
}

// apps returns two applications that can have valid tokens.
func (s state) apps() []string {
	return living(letters, func(c byte) string { return "applications/" + string(c) }, func(app string) bool {
		return !s.holds(app, []string{app, clientOfApp(app), userOf(app)})
	})
}

// tokens returns two valid tokens of an application.
func (s state) tokens(app string) []string {
	letter := app[len(app)-1:]
	return living(digits, func(c byte) string { return letter + string(c) }, func(token string) bool {
		return s.gone[grantName(token)] || s.over(token)
	})
}

// versions returns two versions that exist.
func (s state) versions() []string {
	return living(digits, versionOf, func(v string) bool { return s.gone[v] })
}

func appOf(token string) string     { return "applications/" + token[:1] }
func clientOfApp(app string) string { return app + "/oauthClients/c" }
func userOf(app string) string      { return "users/" + app[len(app)-1:] }
func grantName(token string) string { return "grants/" + token }

// pair is the name that a denial rests on when there is no subscription.
func pair(app, version string) string { return app + "@" + version }

// state is what the subscription service knows. A name that is gone never comes
// back, and an expired token never becomes valid. A version may need no subscription, and
// need one again. Groups are something that a later
// release may have: an application that is in one rests on it, and stays in it.
type state struct {
	gone   map[string]bool
	subs   map[string]string   // by pair, the subscription
	groups map[string][]string // by application
	free   map[string]bool     // versions that need no subscription

	expires  map[string]time.Time     // by token, once it was issued; all states share it
	issuedAt map[string]moment.Moment // by token, when it was issued; all states share it
}

func (s state) clone() state {
	return state{gone: maps.Clone(s.gone), subs: maps.Clone(s.subs), groups: maps.Clone(s.groups), free: maps.Clone(s.free), expires: s.expires, issuedAt: s.issuedAt}
}

// over reports whether a token has expired.
func (s state) over(token string) bool {
	end, issued := s.expires[token]
	return issued && !time.Now().Before(end)
}

// judge returns the truth about a token, which may have expired, and a version.
func (s state) judge(token, version string, over bool) grant.Answer {
	app := appOf(token)
	client, user := clientOfApp(app), userOf(app)
	base := []string{grantName(token), client, app, user} // the first two are what why looks at
	base = append(base, s.groups[app]...)
	if over || slices.ContainsFunc(base, func(n string) bool { return s.gone[n] }) {
		return grant.Answer{Denial: &grant.Denial{Reason: grant.ErrUnauthenticated, RestsOn: base}}
	}
	sub, restsOn := s.subs[pair(app, version)], append(base, pair(app, version), version)
	if s.gone[sub] {
		sub = ""
	}
	if s.gone[version] || sub == "" && !s.free[version] {
		return grant.Answer{Denial: &grant.Denial{Reason: grant.ErrNotSubscribed, RestsOn: restsOn}}
	}
	if sub != "" {
		restsOn = append(restsOn, sub)
	}
	return grant.Answer{Grant: &grant.Grant{
		Name: grantName(token), Version: version, User: user, Application: app, Subscription: sub, OAuthClient: client, Stage: grant.Production,
		RestsOn: restsOn, ExpireTime: s.expires[token], Issued: s.issuedAt[token],
	}}
}

// holds reports whether everything still exists that an application's grant rested
// on when it was given or has come to rest on since.
func (s state) holds(app string, restsOn []string) bool {
	return !slices.ContainsFunc(slices.Concat(restsOn, s.groups[app]), func(n string) bool { return s.gone[n] })
}

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

// acts is the number of things that users can do; those from groupActs to groupsEnd
// are about groups, those before end the most.
const (
	acts       = 41
	revokeActs = 38 // those from here on revoke what was issued until now
	freeActs   = 34 // those from here on are about versions that need no subscription
	groupActs  = 11
	groupsEnd  = 18
)

// act does one of the things that users do.
func (c *control) act(what int, app, token, version string) string {
	sub := c.subs[pair(app, version)]
	exists := sub != "" && !c.gone[sub]
	switch {
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

var (
	errAway = errors.New("away")
	errLost = errors.New("the answer is lost")
)

// Verify implements grant.Source. What spends a ticket may do so and say nothing.
func (c *control) Verify(ctx context.Context, cred credential.Credential, version string) (grant.Answer, error) {
	if cred.Type != credential.Ticket {
		return c.verify(ctx, cred.Value, version, func() bool { return true })
	}
	i := slices.IndexFunc(c.tickets, func(t *ticket) bool { return t.value == cred.Value })
	a, err := c.verify(ctx, c.tickets[i].token, version, func() bool { return c.tickets[i].spend(cred.Use.Attempt) })
	if err == nil && c.sched.chance(4) {
		err = errLost
	}
	return a, err
}

// verify answers for a token, unless spent returns false where it is judged.
func (c *control) verify(ctx context.Context, token, version string, spend func() bool) (grant.Answer, error) {
	at, sent := fmt.Sprintf("verify %s %s", token, version), time.Now()
	if err := c.sched.stop(ctx, at+" arrives"); err != nil {
		return grant.Answer{}, err
	}
	if c.away {
		return grant.Answer{}, errAway
	}
	asOf := c.head
	if err := c.sched.stop(ctx, at+" has read the number"); err != nil {
		return grant.Answer{}, err
	}
	a := c.judge(token, version, c.over(token))
	if !spend() {
		a = grant.Answer{Denial: &grant.Denial{Reason: grant.ErrSpent}}
	}
	a.AsOf = asOf
	if a.Grant != nil {
		a.Lifetime = time.Until(a.Grant.ExpireTime)
		if early := sent.Add(a.Lifetime); early.Before(c.early[token]) {
			c.early[token] = early
		}
	}
	if err := c.sched.stop(ctx, at+" is judged"); err != nil {
		return grant.Answer{}, err
	}
	c.given[a.Grant] = time.Now()
	return a, nil
}

// Read implements grant.Source.
func (c *control) Read(ctx context.Context, grants []*grant.Grant) (grant.States, error) {
	if err := c.sched.stop(ctx, "read arrives"); err != nil {
		return grant.States{}, err
	}
	if c.away {
		return grant.States{}, errAway
	}
	out := grant.States{AsOf: c.head}
	if err := c.sched.stop(ctx, "read has read the number"); err != nil {
		return grant.States{}, err
	}
	for _, g := range grants {
		token := g.Name[len("grants/"):]
		st := grant.State{Grant: c.judge(token, g.Version, c.over(token)).Grant}
		if st.Grant == nil {
			st.Ended = c.why(token, g.RestsOn)
		}
		out.States = append(out.States, st)
	}
	return out, c.sched.stop(ctx, "read is judged")
}

// why returns what ended a grant.
func (c *control) why(token string, restsOn []string) grant.EventKind {
	switch {
	case slices.ContainsFunc(restsOn[:2], func(n string) bool { return c.gone[n] }):
		return grant.TokenRevoked
	case c.over(token):
		return grant.Expired
	default:
		return grant.SubscriptionDeleted
	}
}

// pausing is a registry that stops before and after each use.
type pausing struct {
	*session.Registry
	sched *scheduler
}

func (p pausing) Granted() []grant.Session {
	p.sched.pause("before listing")
	defer p.sched.pause("after listing")
	return p.Registry.Granted()
}

func (p pausing) GrantedOn(names ...string) []grant.Session {
	p.sched.pause("before where")
	defer p.sched.pause("after where")
	return p.Registry.GrantedOn(names...)
}

// EndThoseOn is the registry's, which finds sessions and then ends them.
func (p pausing) EndThoseOn(e ending.Ending, affected func(*grant.Grant) bool, names ...string) (n int) {
	p.sched.pause("before end")
	defer p.sched.pause("after end")
	found := slices.DeleteFunc(p.RestingOn(names...), func(s *session.Session) bool { return !affected(s.Grant()) })
	slices.SortFunc(found, func(a, b *session.Session) int { return strings.Compare(a.Ref(), b.Ref()) })
	p.sched.pause("between find and end")
	for _, s := range found {
		if s.End(e) {
			n++
		}
	}
	return n
}
