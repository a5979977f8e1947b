package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

func TestEach(t *testing.T) {
	b := newBench(t)
	want := []string{"a", "b", "c", "d", "e"}
	for _, ref := range []string{"e", "a", "d", "c", "b"} {
		if _, err := b.New(nil, Info{Ref: ref, Route: testRoute}); err != nil {
			t.Fatal(err)
		}
	}
	var refs []string
	b.Each(func(s *Session) {
		refs = append(refs, s.Ref())
		s.Abandon() // fn may change the registry
	})
	if slices.Sort(refs); !slices.Equal(refs, want) {
		t.Errorf("Each = %v, want %v", refs, want)
	}
	b.Each(func(s *Session) { t.Errorf("Each has %s, which is gone", s.Ref()) })
}

// TestIndex compares the index with a plain search, while sessions come, go and
// change their grants.
func TestIndex(t *testing.T) {
	names := []string{"grants/1", "grants/2", "users/1", "users/2", "applications/1", "apis/1", "apis/1/versions/1", "apis/1/versions/2", "none"}
	routes := []*Route{
		{API: "apis/1", Version: "apis/1/versions/1"},
		{API: "apis/1", Version: "apis/1/versions/2"},
	}
	rapid.Check(t, func(t *rapid.T) {
		r := NewRegistry(nil, func(Record) {})
		grants := []*grant.Grant{nil}
		for range 3 {
			grants = append(grants, &grant.Grant{RestsOn: rapid.SliceOfN(rapid.SampledFrom(names), 0, 4).Draw(t, "ids")})
		}
		rests := func(s *Session, name string) bool {
			info := s.Info()
			return info.Route.API == name || info.Route.Version == name ||
				info.Grant != nil && slices.Contains(info.Grant.RestsOn, name)
		}
		var sessions []*Session
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				s, err := r.New(nil, Info{
					Route: rapid.SampledFrom(routes).Draw(t, "route"), Grant: rapid.SampledFrom(grants).Draw(t, "grant"),
				})
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, s)
			},
			"abandon": func(t *rapid.T) {
				if len(sessions) > 0 {
					i := rapid.IntRange(0, len(sessions)-1).Draw(t, "session")
					sessions[i].Abandon()
					sessions = slices.Delete(sessions, i, i+1)
				}
			},
			"update": func(t *rapid.T) {
				if len(sessions) > 0 {
					s := rapid.SampledFrom(sessions).Draw(t, "session")
					s.SetGrant(rapid.SampledFrom(grants).Draw(t, "grant"))
				}
			},
			"": func(t *rapid.T) {
				asked := rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(t, "names")
				found := map[*Session]int{}
				for _, s := range r.RestingOn(asked...) {
					found[s]++
				}
				for _, s := range sessions {
					want := 0
					if slices.ContainsFunc(asked, func(name string) bool { return rests(s, name) }) {
						want = 1
					}
					if found[s] != want {
						t.Fatalf("RestingOn(%q) has the session with %+v %d times, want %d", asked, s.Info(), found[s], want)
					}
					delete(found, s)
				}
				if len(found) > 0 {
					t.Fatalf("RestingOn(%q) has %d sessions that are gone", asked, len(found))
				}
				checkGranted(t, r, sessions, asked, rests)
			},
		})
		for _, s := range sessions {
			s.Abandon()
		}
		if len(r.index.bases)+len(r.index.names)+len(r.sessions) != 0 {
			t.Fatalf("%d bases, %d names, %d sessions are left", len(r.index.bases), len(r.index.names), len(r.sessions))
		}
	})
}

// TestEndAllOn ends the sessions of one grant, live and in their handshake, and
// no others.
func TestEndAllOn(t *testing.T) {
	b := newBench(t)
	mine, other := b.register("applications/1"), b.register("applications/2")
	client, _ := b.start(b.register("applications/1"))
	if n := b.EndAllOn(ending.New(ending.Revoked, "key"), "applications/1", "keys/9"); n != 2 {
		t.Errorf("EndAllOn = %d, want 2", n)
	}
	if n := b.EndAllOn(ending.New(ending.Revoked, "key"), "applications/1"); n != 0 {
		t.Errorf("EndAllOn again = %d, want 0", n)
	}
	client.expectClose(4001)
	if mine.Err() == nil || other.Err() != nil {
		t.Errorf("Err = %v, %v, want an error for the first only", mine.Err(), other.Err())
	}
	if n := b.EndAllOn(ending.New(ending.Blocked, "demoted"), testRoute.Version); n != 1 {
		t.Errorf("EndAllOn of the version = %d, want the one that was left", n)
	}
	mine.Abandon()
	other.Abandon()
}

func BenchmarkEndAllOn(b *testing.B) {
	r := NewRegistry(nil, func(Record) {})
	for i := range 20_000 {
		_, err := r.New(nil, Info{
			Route: testRoute, Grant: &grant.Grant{RestsOn: []string{fmt.Sprint("applications/", i), fmt.Sprint("users/", i%100)}},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		r.EndAllOn(ending.New(ending.Revoked, ""), fmt.Sprint("applications/", rand.IntN(20_000)))
	}
}

// checkGranted compares Granted and GrantedOn with a plain search.
func checkGranted(t *rapid.T, r *Registry, sessions []*Session, names []string, rests func(*Session, string) bool) {
	all, on := map[grant.Session]int{}, map[grant.Session]int{}
	for _, s := range r.Granted() {
		all[s]++
	}
	for _, s := range r.GrantedOn(names...) {
		on[s]++
	}
	for _, s := range sessions {
		wantAll, wantOn := 0, 0
		if s.Grant() != nil {
			wantAll = 1
			if slices.ContainsFunc(names, func(name string) bool { return rests(s, name) }) {
				wantOn = 1
			}
		}
		if all[s] != wantAll || on[s] != wantOn {
			t.Fatalf("Granted, GrantedOn(%q) have the session with %+v %d and %d times, want %d and %d", names, s.Info(), all[s], on[s], wantAll, wantOn)
		}
		delete(all, s)
		delete(on, s)
	}
	if len(all)+len(on) > 0 {
		t.Fatalf("Granted, GrantedOn(%q) have %d and %d sessions that are gone", names, len(all), len(on))
	}
}
