package balance

import (
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func group(n int, cfg Config) []*Member {
	g := &Group{}
	var all []*Member
	for range n {
		all = append(all, g.NewMember(cfg))
	}
	return all
}

var begin = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// take takes the endpoint that comes next for a handshake that has tried none.
func take(t testing.TB, members []*Member, now time.Time) *Turn {
	t.Helper()
	turn := NewTurn(members)
	if !turn.Next(now) {
		t.Fatal("no endpoint is left")
	}
	return &turn
}

func counts(members []*Member, now time.Time) (all []int) {
	for _, m := range members {
		all = append(all, m.Status(now).Connections)
	}
	return all
}

// TestLeastConnections: with connections opened one by one, and closed as it happens, the
// next one goes where there are fewest, so that without a close the counts differ by at
// most one.
func TestLeastConnections(t *testing.T) {
	members := group(4, Default())
	for i := range 100 {
		take(t, members, begin).Done(begin)
		if all := counts(members, begin); slices.Max(all)-slices.Min(all) > 1 {
			t.Fatalf("after %d connections there are %v", i+1, all)
		}
	}
	for range 7 {
		members[2].Release()
	}
	for range 7 {
		if turn := take(t, members, begin); turn.Index() != 2 {
			t.Fatalf("%d was taken with %v, want 2", turn.Index(), counts(members, begin))
		}
	}
}

// TestAtOnce: handshakes at the same time are spread as those one after the other are.
func TestAtOnce(t *testing.T) {
	members := group(4, Default())
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			turn := NewTurn(members)
			turn.Next(begin)
			turn.Done(begin)
		})
	}
	wg.Wait()
	if all := counts(members, begin); !slices.Equal(all, []int{10, 10, 10, 10}) {
		t.Errorf("connections = %v, want 10 each", all)
	}
}

// TestEachOnce: a handshake tries each endpoint once, those that are suspended last.
func TestEachOnce(t *testing.T) {
	members := group(4, Default())
	bad := NewTurn(members)
	for range 2 {
		bad.Next(begin)
		if bad.Failed(begin, "no") != time.Second {
			t.Fatal("a failure suspends no endpoint")
		}
	}
	var order []int
	turn := NewTurn(members)
	for turn.Next(begin) {
		order = append(order, turn.Index())
		turn.Skip()
	}
	if !slices.Equal(order, []int{2, 3, 0, 1}) {
		t.Errorf("tried %v, want the healthy ones, then the suspended ones", order)
	}
	if all := counts(members, begin); slices.Max(all) != 0 {
		t.Errorf("connections = %v, want none", all)
	}
}

// TestBackoff: each suspension is twice as long as the one before, up to the longest, and
// the first again after a handshake that succeeds.
func TestBackoff(t *testing.T) {
	members := group(2, Config{Failures: 1, First: time.Second, Longest: 5 * time.Second, Factor: 2})
	m, now := members[0], begin
	fail := func() time.Duration {
		turn := NewTurn(members)
		for turn.Next(now) {
			if turn.Index() == 0 {
				return turn.Failed(now, "no")
			}
			turn.Skip()
		}
		t.Fatal("the endpoint was not tried")
		return 0
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if got := fail(); got != want {
			t.Fatalf("suspension %d is of %v, want %v", i, got, want)
		}
		if s := m.Status(now.Add(want - 1)); s.State != Suspended || s.Until != now.Add(want) || s.LastFailure != "no" {
			t.Fatalf("before its end the status is %+v", s)
		}
		if got := fail(); got != 0 {
			t.Fatalf("a failure while it is suspended suspends it for %v", got)
		}
		now = now.Add(want)
		if s := m.Status(now); s.State != OnTrial || s.Since != now || !s.Until.IsZero() {
			t.Fatalf("after its end the status is %+v", s)
		}
	}
	turn := take(t, members, now)
	if turn.Index() != 0 {
		t.Fatalf("%d was taken, want the one on trial", turn.Index())
	}
	other := take(t, members, now)
	if other.Index() != 1 {
		t.Fatal("two handshakes try the endpoint that is on trial")
	}
	if _, recovered := turn.Done(now); !recovered || m.Status(now).State != Healthy {
		t.Fatalf("after a success it is %+v", m.Status(now))
	}
	m.Release()
	now = now.Add(time.Hour)
	if got := fail(); got != time.Second {
		t.Errorf("the next suspension is of %v, want the first again", got)
	}
}

// TestIllInTurns: two of four endpoints fail, in turns, while sockets are opened one by one
// and kept. No handshake is without an endpoint; each goes where there are fewest among the
// healthy; and one that works again gets the first handshake after its suspension, which is
// never longer than the longest, and then as many sockets as the other.
func TestIllInTurns(t *testing.T) {
	cfg := Config{Failures: 1, First: time.Second, Longest: 4 * time.Second, Factor: 2}
	members := group(4, cfg)
	now := begin
	for round := range 12 {
		old, back := round%4, (round+1)%4 // one has worked in the round before, too
		for i, m := range members {
			for i != old && m.Status(now).Connections > 0 {
				m.Release() // what failed has lost its sockets
			}
		}
		due := members[back].Status(now).Until // zero: it may be tried now
		if wait := due.Sub(now); wait > cfg.Longest {
			t.Fatalf("round %d: what works again is passed over for %v", round, wait)
		}
		for returned := round == 0; !returned || members[back].Status(now).Connections < 20; now = now.Add(100 * time.Millisecond) {
			before := counts(members, now)
			turn := NewTurn(members)
			for turn.Next(now) && turn.Index() != old && turn.Index() != back {
				turn.Failed(now, "no")
			}
			if at := turn.Index(); at != old && at != back {
				t.Fatalf("round %d: a handshake has found no endpoint", round)
			}
			_, recovered := turn.Done(now)
			switch at := turn.Index(); {
			case recovered && (at != back || now.Before(due)):
				t.Fatalf("round %d: %d recovered %v before its suspension ended", round, at, due.Sub(now))
			case recovered:
				returned = true
			case !returned && !now.Before(due):
				t.Fatalf("round %d: what works again has not got the first handshake after its suspension", round)
			case returned && before[at] > before[old+back-at]:
				t.Fatalf("round %d: of %v the handshake went to %d", round, before, at)
			}
		}
		for i := 0; counts(members, now)[old] != counts(members, now)[back]; i++ {
			if i > 1000 {
				t.Fatalf("round %d: the sockets are not spread: %v", round, counts(members, now))
			}
			turn := NewTurn(members)
			for turn.Next(now) && turn.Index() != old && turn.Index() != back {
				turn.Failed(now, "no")
			}
			turn.Done(now)
		}
	}
}

// TestLate: what began before an endpoint recovered says nothing of it.
func TestLate(t *testing.T) {
	members := group(1, Default())
	slow := take(t, members, begin)
	take(t, members, begin).Failed(begin.Add(1), "no")
	take(t, members, begin.Add(time.Second+1)).Done(begin.Add(2 * time.Second))
	if d := slow.Failed(begin.Add(3*time.Second), "too slow"); d != 0 || members[0].Status(begin.Add(3*time.Second)).State != Healthy {
		t.Errorf("a failure of an hour ago suspends it for %v", d)
	}
}

// TestChecks: with health checks no handshake tries what is on trial while another works,
// and checks suspend and recover as their thresholds say.
func TestChecks(t *testing.T) {
	cfg := Default()
	cfg.Checked, cfg.Healthy, cfg.Unhealthy = true, 2, 3
	members := group(2, cfg)
	m, now := members[0], begin
	check := func(why string) (time.Duration, bool) {
		now = now.Add(time.Millisecond)
		return m.Checked(now, now, why)
	}
	for i, want := range []time.Duration{0, 0, time.Second} {
		if got, _ := check("no"); got != want {
			t.Fatalf("check %d suspends it for %v, want %v", i, got, want)
		}
	}
	now = now.Add(time.Second)
	for range 3 {
		if turn := take(t, members, now); turn.Index() != 1 {
			t.Fatal("a handshake tries what is on trial for health checks")
		}
	}
	if _, recovered := check(""); recovered {
		t.Fatal("one check recovers it, want two")
	}
	if _, recovered := check(""); !recovered {
		t.Fatal("two checks do not recover it")
	}
	// It answers checks and fails at handshakes: suspensions grow all the same.
	turn := take(t, members, now)
	if got := turn.Failed(now, "no"); turn.Index() != 0 || got != 2*time.Second {
		t.Errorf("the next suspension is of %v, want 2s", got)
	}
	if all := NewTurn(members[:1]); !all.Next(now) {
		t.Error("what is suspended is not tried where nothing else is left")
	}
}

// TestModel compares the choice with a plain reading of its rules, over random histories.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Failures: rapid.IntRange(1, 3).Draw(t, "failures"), First: time.Second, Longest: 8 * time.Second, Factor: 2,
			Checked: rapid.Bool().Draw(t, "checked"), Healthy: 1, Unhealthy: 2,
		}
		members := group(rapid.IntRange(1, 5).Draw(t, "endpoints"), cfg)
		now := begin
		var open []*Turn
		taken := make([]int, len(members)) // that are not released
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "later")) * time.Millisecond)
			switch what := rapid.IntRange(0, 4).Draw(t, "what"); {
			case what <= 1 || len(open) == 0:
				turn := NewTurn(members)
				tried := map[int]bool{}
				for n := rapid.IntRange(1, len(members)).Draw(t, "tries"); n > 0; n-- {
					var before []Status
					var trying []bool
					for _, m := range members {
						before, trying = append(before, m.Status(now)), append(trying, m.trying)
					}
					if !turn.Next(now) {
						t.Fatal("none is left")
					}
					at := turn.Index()
					if tried[at] {
						t.Fatalf("%d is tried twice", at)
					}
					tried[at] = true
					class := func(i int) int {
						switch {
						case before[i].State == OnTrial && !trying[i] && !cfg.Checked:
							return 0
						case before[i].State == Healthy:
							return 1
						}
						return 2
					}
					for i := range members {
						better := class(i) < class(at) ||
							class(i) == class(at) && class(i) < 2 && before[i].Connections < before[at].Connections
						if !tried[i] && better {
							t.Fatalf("%d was taken (%+v), want %d (%+v)", at, before[at], i, before[i])
						}
					}
					if n > 1 {
						turn.Failed(now, "no")
					}
				}
				taken[turn.Index()]++
				open = append(open, &turn)
			case what == 2:
				members[rapid.IntRange(0, len(members)-1).Draw(t, "checked one")].Checked(now, now, []string{"", "no"}[rapid.IntRange(0, 1).Draw(t, "check")])
			default:
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				turn := open[i]
				open = slices.Delete(open, i, i+1)
				taken[turn.Index()]--
				switch rapid.IntRange(0, 2).Draw(t, "outcome") {
				case 0:
					turn.Failed(now, "no")
				case 1:
					turn.Skip()
				default:
					m, _ := turn.Done(now)
					if m.Status(now).State != Healthy {
						t.Fatalf("after a success it is %+v", m.Status(now))
					}
					m.Release()
				}
			}
			if got := counts(members, now); !slices.Equal(got, taken) {
				t.Fatalf("connections = %v, want %v", got, taken)
			}
		}
	})
}

// TestTurnAllocates: a search costs no memory.
func TestTurnAllocates(t *testing.T) {
	members := group(1, Default())
	if n := testing.AllocsPerRun(100, func() {
		turn := NewTurn(members)
		turn.Next(begin)
		m, _ := turn.Done(begin)
		m.Release()
	}); n != 0 {
		t.Errorf("a search allocates %v times", n)
	}
}
