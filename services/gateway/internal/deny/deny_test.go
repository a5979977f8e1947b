package deny

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// rule returns a rule from what the catalog says of it.
func rule(t testing.TB, p *catalogv1.DenyRule) *Rule {
	t.Helper()
	r, err := FromProto(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func client(addr, api, version, application, subscription string) Client {
	c := Client{API: api, Version: version, Application: application, Subscription: subscription}
	if addr != "" {
		c.Addr = netip.MustParseAddr(addr)
	}
	return c
}

// TestMatch: a rule denies a client for which all of its conditions hold, and no other, at
// the earliest point where they are known.
func TestMatch(t *testing.T) {
	const api, v1, v2 = "apis/a", "apis/a/versions/1", "apis/a/versions/2"
	tests := []struct {
		rule   *catalogv1.DenyRule
		at     string // where it is found first
		denied []Client
		let    []Client
	}{
		{&catalogv1.DenyRule{ClientAddress: "203.0.113.7"}, "address",
			[]Client{client("203.0.113.7", api, v1, "", ""), client("::ffff:203.0.113.7", api, v1, "", "")},
			[]Client{client("203.0.113.8", api, v1, "", ""), client("2001:db8::7", api, v1, "", ""), client("", api, v1, "", "")}},
		{&catalogv1.DenyRule{ClientAddress: "203.0.113.0/24"}, "address",
			[]Client{client("203.0.113.0", api, v1, "", ""), client("203.0.113.255", api, v1, "applications/x", "")},
			[]Client{client("203.0.112.255", api, v1, "", "")}},
		{&catalogv1.DenyRule{ClientAddress: "2001:db8::/32"}, "address",
			[]Client{client("2001:db8:ffff::1%eth0", api, v1, "", "")},
			[]Client{client("2001:db9::1", api, v1, "", ""), client("203.0.113.7", api, v1, "", "")}},
		{&catalogv1.DenyRule{ClientAddress: "0.0.0.0/0"}, "address",
			[]Client{client("198.51.100.1", api, v1, "", "")},
			[]Client{client("2001:db8::1", api, v1, "", "")}},
		{&catalogv1.DenyRule{Api: api}, "route",
			[]Client{client("203.0.113.7", api, v1, "", ""), client("", api, v2, "applications/x", "subscriptions/s")},
			[]Client{client("203.0.113.7", "apis/b", "apis/b/versions/1", "", "")}},
		{&catalogv1.DenyRule{Api: api, Versions: []string{v2}, ClientAddress: "203.0.113.7"}, "route",
			[]Client{client("203.0.113.7", api, v2, "", "")},
			[]Client{client("203.0.113.7", api, v1, "", ""), client("203.0.113.8", api, v2, "", ""), client("203.0.113.7", "apis/b", "apis/b/versions/1", "", "")}},
		{&catalogv1.DenyRule{Application: "applications/x"}, "grant",
			[]Client{client("203.0.113.7", api, v1, "applications/x", "subscriptions/s"), client("", "apis/b", "apis/b/versions/1", "applications/x", "")},
			[]Client{client("203.0.113.7", api, v1, "applications/y", ""), client("203.0.113.7", api, v1, "", "")}},
		{&catalogv1.DenyRule{Subscription: "subscriptions/s", ClientAddress: "203.0.113.0/24"}, "grant",
			[]Client{client("203.0.113.9", api, v1, "applications/x", "subscriptions/s")},
			[]Client{client("198.51.100.9", api, v1, "applications/x", "subscriptions/s"), client("203.0.113.9", api, v1, "applications/x", "subscriptions/t")}},
		{&catalogv1.DenyRule{Api: api, Application: "applications/x", ClientAddress: "203.0.113.7"}, "grant",
			[]Client{client("203.0.113.7", api, v2, "applications/x", "")},
			[]Client{client("203.0.113.7", "apis/b", "", "applications/x", ""), client("203.0.113.8", api, v2, "applications/x", ""), client("203.0.113.7", api, v2, "applications/y", "")}},
	}
	for _, tt := range tests {
		tt.rule.Name = "denyRules/r"
		table := new(Table).With([]*Rule{rule(t, tt.rule)}, nil)
		for _, c := range tt.denied {
			if r := table.Match(c); r == nil {
				t.Errorf("%v does not deny %+v", tt.rule, c)
			}
			byAddress, byRoute, byGrant := table.ByAddress(c.Addr), table.ByRoute(c), table.ByGrant(c)
			found := map[string]*Rule{"address": byAddress, "route": byRoute, "grant": byGrant}
			for at, r := range found {
				if (r != nil) != (at == tt.at) {
					t.Errorf("%v for %+v: found at %s = %v, want at %s alone", tt.rule, c, at, r, tt.at)
				}
			}
		}
		for _, c := range tt.let {
			if r := table.Match(c); r != nil {
				t.Errorf("%v denies %+v", tt.rule, c)
			}
		}
	}
}

// TestExpiry: a rule that expires stops matching then, by the gateway's own clock.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const addr = "203.0.113.7"
		table := new(Table).With([]*Rule{rule(t, &catalogv1.DenyRule{
			Name: "denyRules/r", ClientAddress: addr, ExpireTime: timestamppb.New(time.Now().Add(time.Minute)),
		})}, nil)
		time.Sleep(time.Minute - time.Nanosecond)
		if table.ByAddress(netip.MustParseAddr(addr)) == nil {
			t.Error("the rule does not match before it expires")
		}
		time.Sleep(time.Nanosecond)
		if table.ByAddress(netip.MustParseAddr(addr)) != nil {
			t.Error("the rule matches when it has expired")
		}
	})
}

// TestUnknown: a rule that this gateway understands nothing of, or whose address it cannot
// read, is an error: it must not deny everybody.
func TestUnknown(t *testing.T) {
	for _, p := range []*catalogv1.DenyRule{{Name: "denyRules/r"}, {Name: "denyRules/r", ClientAddress: "everywhere"}} {
		if r, err := FromProto(p); err == nil {
			t.Errorf("FromProto(%v) = %v, want an error", p, r)
		}
	}
}

// TestTables compares tables that are made by many changes with a plain search, and sees
// that a change leaves the tables before it as they were.
func TestTables(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(all ...string) string { return all[rnd.IntN(len(all))] }
	randomRule := func() *Rule {
		for {
			r, err := FromProto(&catalogv1.DenyRule{
				Name: fmt.Sprintf("denyRules/%d", rnd.IntN(40)), Api: pick("", "apis/a", "apis/b"), Application: pick("", "", "applications/x"),
				Subscription:  pick("", "", "subscriptions/s"),
				ClientAddress: pick("", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "10.1.1.2", "2001:db8::/32", "2001:db8::1", "::/0"),
			})
			if err == nil {
				return r
			}
		}
	}
	randomClient := func() Client {
		return client(pick("10.1.1.1", "10.2.0.0", "11.0.0.1", "2001:db8::1", "2001:db9::1"), pick("apis/a", "apis/b", "apis/c"), "",
			pick("", "applications/x", "applications/y"), pick("", "subscriptions/s"))
	}
	type past struct {
		table *Table
		rules map[string]*Rule
	}
	var all []past
	rules := map[string]*Rule{}
	table := new(Table)
	for range 500 {
		var put []*Rule
		var remove []string
		for range rnd.IntN(3) {
			put = append(put, randomRule())
		}
		for range rnd.IntN(3) {
			remove = append(remove, fmt.Sprintf("denyRules/%d", rnd.IntN(40)))
		}
		table = table.With(put, remove)
		next := map[string]*Rule{}
		for name, r := range rules {
			if !slices.Contains(remove, name) {
				next[name] = r
			}
		}
		for _, r := range put {
			next[r.Name] = r
		}
		rules = next
		all = append(all, past{table, rules})
	}
	for i, p := range all {
		if p.table.Len() != len(p.rules) {
			t.Fatalf("table %d has %d rules, want %d", i, p.table.Len(), len(p.rules))
		}
		for range 20 {
			c := randomClient()
			want := false
			for _, r := range p.rules {
				want = want || r.matches(&c)
			}
			if got := p.table.Match(c); (got != nil) != want || got != nil && p.rules[got.Name] != got {
				t.Fatalf("table %d: Match(%+v) = %v, want one: %v", i, c, got, want)
			}
		}
	}
	if empty := table.With(nil, slices.Collect(func(yield func(string) bool) {
		for name := range rules {
			yield(name)
		}
	})); len(empty.groups) != 0 || empty.Len() != 0 {
		t.Errorf("without its rules the table still has %d groups", len(empty.groups))
	}
}

// TestFindsWithoutAllocation: a handshake costs no memory for the rules that there are.
func TestFindsWithoutAllocation(t *testing.T) {
	table, c := many(t, 100, 16)
	if n := testing.AllocsPerRun(100, func() { table.Match(c) }); n != 0 {
		t.Errorf("Match allocates %v times, want never", n)
	}
}

// many returns a table of rules for networks of IPv4 with so many lengths, and a client that
// none of them denies.
func many(tb testing.TB, rules, lengths int) (*Table, Client) {
	tb.Helper()
	var put []*Rule
	for i := range rules {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		network, err := addr.Prefix(32 - i%lengths)
		if err != nil {
			tb.Fatal(err)
		}
		put = append(put, rule(tb, &catalogv1.DenyRule{Name: fmt.Sprintf("denyRules/%d", i), ClientAddress: network.String()}))
	}
	return new(Table).With(put, nil), client("192.0.2.1", "apis/a", "apis/a/versions/1", "applications/x", "subscriptions/s")
}

// BenchmarkMatch is what deny rules cost a handshake that none of them matches.
func BenchmarkMatch(b *testing.B) {
	for _, of := range []struct{ rules, lengths int }{{0, 1}, {10_000, 1}, {10_000, 4}, {10_000, 32}} {
		b.Run(fmt.Sprintf("rules=%d/lengths=%d", of.rules, of.lengths), func(b *testing.B) {
			table, c := many(b, of.rules, of.lengths)
			b.ReportAllocs()
			for b.Loop() {
				if table.Match(c) != nil {
					b.Fatal("denied")
				}
			}
		})
	}
}
