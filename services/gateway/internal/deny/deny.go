// Package deny holds the deny rules that the catalog has, and finds the one that keeps a
// client out. It judges at three points of a handshake, as early as what a rule asks for is
// known:
//
//	ByAddress   rules of the whole installation for addresses: before the route
//	ByRoute     rules of an API, with an address or without: before the credential
//	ByGrant     rules of an application or a subscription: once the grant is known
//
// Match does all three, for a session that has been registered. Package routes keeps the
// rules with the routes, whose watch brings them, and ends the sessions that they match.
package deny

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// Rule keeps out the clients for which all of its conditions hold. It is not changed once it
// is in a table.
type Rule struct {
	Name          string       // denyRules/{deny_rule}
	API           string       // apis/{api}; "" for all
	Versions      []string     // of the API; none for all
	Application   string       // applications/{application}; "" for all
	Subscription  string       // subscriptions/{subscription}; "" for all
	ClientAddress netip.Prefix // not valid for all
	Expires       time.Time    // zero for never
}

// FromProto converts a rule.
func FromProto(p *catalogv1.DenyRule) (*Rule, error) {
	r := &Rule{Name: p.GetName(), API: p.GetApi(), Versions: p.GetVersions(), Application: p.GetApplication(), Subscription: p.GetSubscription()}
	if text := p.GetClientAddress(); text != "" {
		network, err := netaddr.ParseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("deny rule %s: %w", r.Name, err)
		}
		r.ClientAddress = network
	}
	if t := p.GetExpireTime(); t != nil {
		r.Expires = t.AsTime()
	}
	if r.API == "" && r.Application == "" && r.Subscription == "" && !r.ClientAddress.IsValid() {
		return nil, fmt.Errorf("deny rule %s: no condition that this gateway knows", r.Name)
	}
	return r, nil
}

// Client is who is judged, as far as that is known.
type Client struct {
	Addr                      netip.Addr
	API, Version              string
	Application, Subscription string
}

// matches reports whether all conditions hold now.
func (r *Rule) matches(c *Client) bool {
	return (r.API == "" || r.API == c.API) &&
		(len(r.Versions) == 0 || slices.Contains(r.Versions, c.Version)) &&
		(r.Application == "" || r.Application == c.Application) &&
		(r.Subscription == "" || r.Subscription == c.Subscription) &&
		(!r.ClientAddress.IsValid() || r.ClientAddress.Contains(c.Addr)) &&
		(r.Expires.IsZero() || time.Now().Before(r.Expires))
}

// key is what rules are found by: the most particular of what they ask for but the address.
// The zero key is that of the whole installation.
func (r *Rule) key() string {
	switch {
	case r.Subscription != "":
		return r.Subscription
	case r.Application != "":
		return r.Application
	}
	return r.API
}

// Table is an immutable set of rules. Its zero value is empty.
type Table struct {
	rules  map[string]*Rule  // by name
	groups map[string]*group // by key
}

// With returns a new table with rules added, each in the place of the one of its name, and
// others removed.
func (t *Table) With(put []*Rule, remove []string) *Table {
	next := &Table{rules: maps.Clone(t.rules), groups: maps.Clone(t.groups)}
	if next.rules == nil {
		next.rules, next.groups = map[string]*Rule{}, map[string]*group{}
	}
	e := edit{Table: next, copied: map[string]bool{}}
	for _, name := range remove {
		e.remove(name)
	}
	for _, r := range put {
		e.remove(r.Name)
		e.rules[r.Name] = r
		e.group(r.key()).add(r)
	}
	return next
}

// edit builds a table that nobody else uses yet.
type edit struct {
	*Table
	copied map[string]bool // keys whose group is no longer shared with the previous table
}

func (e edit) remove(name string) {
	r := e.rules[name]
	if r == nil {
		return
	}
	delete(e.rules, name)
	key := r.key()
	if g := e.group(key); g.remove(r) {
		delete(e.groups, key)
		delete(e.copied, key)
	}
}

// group returns the group of a key, which may be changed: a new one, or a copy of the
// previous table's.
func (e edit) group(key string) *group {
	g := e.groups[key]
	switch {
	case e.copied[key]:
		return g
	case g == nil:
		g = &group{networks: map[netip.Prefix][]*Rule{}}
	default:
		g = g.clone()
	}
	e.groups[key], e.copied[key] = g, true
	return g
}

// ByAddress returns the rule of the whole installation that denies an address, nil for none.
func (t *Table) ByAddress(addr netip.Addr) *Rule {
	if t.groups[""] == nil {
		return nil
	}
	return t.find("", &Client{Addr: addr})
}

// ByRoute returns the rule that denies a client the version that its path leads to, nil for
// none.
func (t *Table) ByRoute(c Client) *Rule {
	if len(t.rules) == 0 {
		return nil
	}
	return t.find(c.API, &c)
}

// ByGrant returns the rule that denies a client what its credential is good for, nil for
// none.
func (t *Table) ByGrant(c Client) *Rule {
	if len(t.rules) == 0 {
		return nil
	}
	if c.Subscription != "" {
		if r := t.find(c.Subscription, &c); r != nil {
			return r
		}
	}
	if c.Application != "" {
		return t.find(c.Application, &c)
	}
	return nil
}

// Match returns any rule that denies a client, nil for none.
func (t *Table) Match(c Client) *Rule {
	if r := t.ByAddress(c.Addr); r != nil {
		return r
	}
	if r := t.ByRoute(c); r != nil {
		return r
	}
	return t.ByGrant(c)
}

// find returns the rule of a group that matches a client, nil for none.
func (t *Table) find(key string, c *Client) *Rule {
	g := t.groups[key]
	if g == nil {
		return nil
	}
	c.Addr = c.Addr.Unmap().WithZone("")
	return g.find(c)
}

// Len returns how many rules there are.
func (t *Table) Len() int { return len(t.rules) }

// Current holds the table that is being used. Its zero value holds an empty one.
type Current struct{ table atomic.Pointer[Table] }

// Load returns the table, never nil.
func (c *Current) Load() *Table {
	if t := c.table.Load(); t != nil {
		return t
	}
	return new(Table)
}

// Swap replaces the table.
func (c *Current) Swap(t *Table) { c.table.Store(t) }
