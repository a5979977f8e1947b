package grant_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

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
			st.Ended = c.why(token, g)
		}
		out.States = append(out.States, st)
	}
	return out, c.sched.stop(ctx, "read is judged")
}

// why returns what ended a grant.
func (c *control) why(token string, g *grant.Grant) grant.EventKind {
	switch {
	case c.gone[voidAt(token, g.Version)], slices.ContainsFunc(g.RestsOn[:2], func(n string) bool { return c.gone[n] }):
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
