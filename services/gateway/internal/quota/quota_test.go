package quota_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/quota"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is the service that gives slices, with a clock of its own: it does what the
// subscription service does, for one window after the other.
type service struct {
	mu      sync.Mutex
	ahead   time.Duration // of its clock
	away    error
	lost    int           // so many answers are lost
	slow    time.Duration // what a call takes
	windows map[string]*window
	calls   []*backplanev1.TakeQuotaRequest
}

type window struct {
	before, granted, added, cleared int64
	boots                           map[string]*slice
}

type slice struct{ granted, spent, sequence int64 }

func (s *service) now() time.Time { return time.Now().Add(s.ahead) }

func (s *service) of(k *backplanev1.QuotaKey, at time.Time) (*window, calendar.Window, bool) {
	w := calendar.At(k.GetWindow(), at)
	name := fmt.Sprint(k.GetApplication(), k.GetVersion(), k.GetUnit(), k.GetWindow(), k.GetObserve(), w.Number)
	got, known := s.windows[name]
	if !known {
		got = &window{boots: map[string]*slice{}}
		s.windows[name] = got
	}
	return got, w, known
}

func (s *service) TakeQuota(ctx context.Context, req *backplanev1.TakeQuotaRequest, _ ...grpc.CallOption) (*backplanev1.TakeQuotaResponse, error) {
	s.mu.Lock()
	slow, away := s.slow, s.away
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if away != nil {
		return nil, away
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, req)
	out := &backplanev1.TakeQuotaResponse{ServerTime: timestamppb.New(s.now())}
	for _, d := range req.GetDemands() {
		at := s.now()
		if d.GetTime() != nil {
			at = d.GetTime().AsTime()
		}
		w, when, known := s.of(d.GetKey(), at)
		answer := &backplanev1.QuotaSlice{StartTime: timestamppb.New(when.Start), EndTime: timestamppb.New(when.End)}
		out.Slices = append(out.Slices, answer)
		if !known && d.GetOpens() && !d.GetUsageReported() {
			delete(s.windows, fmt.Sprint(d.GetKey().GetApplication(), d.GetKey().GetVersion(), d.GetKey().GetUnit(), d.GetKey().GetWindow(), d.GetKey().GetObserve(), when.Number))
			answer.ReportUsage = true
			continue
		}
		b := w.boots[req.GetBootId()]
		if b == nil {
			b = &slice{}
			w.boots[req.GetBootId()] = b
		}
		left := func() int64 { return max(0, d.GetAmount()+w.added+w.cleared-w.before-w.granted) }
		if req.GetSequence() > b.sequence {
			b.sequence = req.GetSequence()
			if !d.GetOpens() {
				b.spent = d.GetSpent()
			}
			old := b.granted
			b.granted = max(b.granted, b.spent)
			if d.GetGiveBack() {
				b.granted = b.spent
			}
			w.granted += b.granted - old
			if lacks := d.GetWant() - (b.granted - b.spent); lacks > 0 {
				more := min(left(), max(1, left()/8))
				if lacks <= left() {
					more = max(more, lacks)
				}
				b.granted += more
				w.granted += more
			}
		}
		answer.Granted, answer.Spent = b.granted, b.spent
		answer.UsedUp = left() == 0 || b.granted-b.spent < d.GetWant()
	}
	if s.lost > 0 {
		s.lost--
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	}
	return out, nil
}

// made is how many calls were answered.
func (s *service) made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// set changes the service.
func (s *service) set(f func(*service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// spent is what boots have said that they spent of a key's window at a time.
func (s *service) spent(k throttle.QuotaKey, at time.Time) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, _, _ := s.of(&backplanev1.QuotaKey{Application: k.Application, Version: k.Version, Unit: catalogv1.Unit(k.Unit) + 1, Window: k.Window, Observe: k.Observe}, at)
	for _, b := range w.boots {
		n += b.spent
	}
	return n
}

// gateway is a ledger that runs, on the clock of the bubble.
type gateway struct {
	*quota.Ledger
	t       *testing.T
	base    time.Time
	stop    func()
	mu      sync.Mutex
	served  int
	reports int
}

func newGateway(t *testing.T, s backplanev1.QuotaLedgerServiceClient, boot string) *gateway {
	t.Helper()
	g := &gateway{t: t, base: time.Now()}
	g.Ledger = quota.New(quota.Config{
		Gateway: "g", BootID: boot, Client: s, Now: g.now, Wall: time.Now, Log: slog.New(slog.DiscardHandler),
		Report: func(context.Context) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.reports++
			return nil
		},
		Serve: func(*limits.Limit) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.served++
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

func (g *gateway) now() int64 { return int64(time.Since(g.base)) }

// place is a quota of messages that sessions of a gateway share.
type place struct {
	g       *gateway
	key     throttle.QuotaKey
	account throttle.Account
	limit   *limits.Limit
	chain   *limits.Chain
}

const (
	perMinute = catalogv1.Quota_WINDOW_MINUTE
	perDay    = catalogv1.Quota_WINDOW_DAY
)

func (g *gateway) open(app string, window catalogv1.Quota_Window, amount int64, refuse ...bool) *place {
	g.t.Helper()
	p := &place{g: g, key: throttle.QuotaKey{Place: limits.Application, Application: "applications/" + app, Unit: limits.Messages, Window: window}}
	p.account = g.Open(p.key, throttle.QuotaTerms{Plan: "plans/p", Limit: "l", Amount: amount, Refuse: len(refuse) > 0})
	var err error
	p.limit, err = limits.NewQuotaLimit(limits.Terms{Place: limits.Application, Reaction: limits.Drop}, p.account.Quota())
	if err != nil {
		g.t.Fatal(err)
	}
	if p.chain, err = limits.NewChain(p.limit); err != nil {
		g.t.Fatal(err)
	}
	p.account.SetLimits([]*limits.Limit{p.limit})
	return p
}

// send asks for a message until it is decided, and returns what was decided and how long
// that took.
func (p *place) send() (limits.Verdict, time.Duration) {
	began := time.Now()
	for {
		d := p.chain.Ask(p.g.now(), limits.Demand{Messages: 1}, nil)
		if d.Verdict != limits.Wait || time.Since(began) > time.Minute {
			return d.Verdict, time.Since(began)
		}
		time.Sleep(time.Millisecond)
	}
}

// ask asks for a message once.
func (p *place) ask() limits.Verdict {
	return p.chain.Ask(p.g.now(), limits.Demand{Messages: 1}, nil).Verdict
}

// sendAll sends n messages, and returns how many passed and the longest wait of one.
func (p *place) sendAll(n int) (passed int, longest time.Duration) {
	for range n {
		v, waited := p.send()
		longest = max(longest, waited)
		if v == limits.Go {
			passed++
		}
	}
	return passed, longest
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func newService() *service {
	return &service{windows: map[string]*window{}, slow: time.Millisecond}
}

// bubble runs a test on a clock of its own, from 10 s after midnight.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * time.Second)
		test(t)
	})
}

// Of 5 a minute exactly 5 pass in each minute, the next is refused at once, and the next
// window begins on the second.
func TestQuotaOfAMinute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, newService(), "1")
		p := g.open("a", perMinute, 5)
		for minute := range 3 {
			passed, longest := p.sendAll(8)
			want(t, fmt.Sprint("minute ", minute), passed, 5)
			if longest > 30*time.Millisecond {
				t.Errorf("minute %d: one waited for %v", minute, longest)
			}
			end := time.Now().Truncate(time.Minute).Add(time.Minute)
			time.Sleep(time.Until(end.Add(-time.Millisecond)))
			want(t, "at the end of the window", p.ask(), limits.Refuse)
			time.Sleep(time.Until(end.Add(time.Millisecond)))
			want(t, "at the beginning of the next", p.ask(), limits.Go) // a slice of it was asked for ahead
			passed, _ = p.sendAll(8)
			want(t, "the rest of it", passed, 4)
			time.Sleep(time.Until(end.Add(time.Minute)))
		}
	})
}

// A large quota takes few calls; what is spent is exact after a stop, and goes on after it.
func TestStopGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, s, "1")
		p := g.open("a", perDay, 10_000)
		passed, _ := p.sendAll(6_000)
		want(t, "passed", passed, 6_000)
		if n := s.made(); n > 60 {
			t.Errorf("%d calls for 6000 messages", n)
		}
		want(t, "Flush", g.Flush(t.Context()), nil)
		g.stop()
		want(t, "spent", s.spent(p.key, time.Now()), int64(6_000))
		again := newGateway(t, s, "2")
		q := again.open("a", perDay, 10_000)
		passed, _ = q.sendAll(5_000)
		want(t, "after the restart", passed, 4_000)
	})
}

// Answers are lost and calls are slow: nothing passes twice, and all of it passes.
func TestLostAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, s, "1")
		p := g.open("a", perDay, 300, true)
		passed := 0
		for i := range 600 {
			if i%7 == 0 {
				s.set(func(s *service) { s.lost = 1 + i%3 })
			}
			if v, waited := p.send(); v == limits.Go {
				passed++
			} else if waited > limits.AnswerWithin {
				t.Fatalf("message %d waited for %v", i, waited)
			} else {
				time.Sleep(1100 * time.Millisecond) // until the service answers again
			}
		}
		want(t, "passed", passed, 300)
	})
}

// While the service is away a decision waits for a second, and then it passes and is owed,
// or is refused; no other waits any more. When the service is back it knows.
func TestServiceIsAway(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint("refuse ", refuse), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newService()
				g := newGateway(t, s, "1")
				var p *place
				if refuse {
					p = g.open("a", perDay, 80, true)
				} else {
					p = g.open("a", perDay, 80)
				}
				passed, _ := p.sendAll(4)
				want(t, "passed", passed, 4)
				s.set(func(s *service) { s.away = status.Error(codes.Unavailable, "away") })
				before := 0 // what is held of it
				v, waited := p.send()
				for ; v == limits.Go && waited == 0; v, waited = p.send() {
					before++
				}
				if waited < 900*time.Millisecond || waited > limits.AnswerWithin+5*time.Millisecond {
					t.Errorf("the first without a slice waited for %v", waited)
				}
				passed, longest := p.sendAll(100)
				want(t, "others waited for", longest, time.Duration(0))
				if refuse {
					want(t, "verdict", v, limits.Refuse)
					want(t, "passed while it is away", passed, 0)
				} else {
					want(t, "verdict", v, limits.Go)
					want(t, "passed while it is away", passed, 100)
				}
				s.set(func(s *service) { s.away = nil })
				time.Sleep(2 * time.Second)
				now, _ := p.sendAll(100)
				if refuse {
					want(t, "in all", 4+before+now, 80)
				} else {
					want(t, "passed when it is back", now, 0)
					time.Sleep(6 * time.Second)
					want(t, "spent", s.spent(p.key, time.Now()), int64(4+before+1+100))
				}
			})
		})
	}
}

// A quota that is used up is asked for once a second while somebody asks, and not
// otherwise: what is added arrives within a second.
func TestUsedUpQuotaIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, s, "1")
		p := g.open("a", perDay, 5)
		passed, _ := p.sendAll(20)
		want(t, "passed", passed, 5)
		time.Sleep(10 * time.Second)
		calls := s.made()
		time.Sleep(time.Minute)
		want(t, "calls while nobody asks", s.made()-calls, 0)
		for range 100 {
			p.send()
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.made() - calls; n < 8 || n > 11 {
			t.Errorf("%d calls in 10 s in which somebody asks, want about 10", n)
		}
		s.set(func(s *service) {
			for _, w := range s.windows {
				w.added = 3
			}
		})
		began := time.Now()
		for passed = 0; passed < 3 && time.Since(began) < time.Minute; {
			if v, _ := p.send(); v == limits.Go {
				passed++
			}
			time.Sleep(time.Millisecond)
		}
		if waited := time.Since(began); passed != 3 || waited > time.Second+50*time.Millisecond {
			t.Errorf("%d of 3 passed in %v", passed, waited)
		}
	})
}

// Of several gateways one does not keep what it does not spend.
func TestIdleSliceGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		one, two := newGateway(t, s, "1"), newGateway(t, s, "2")
		p, q := one.open("a", perDay, 80), two.open("a", perDay, 80)
		first, _ := p.sendAll(1)
		rest, _ := q.sendAll(100)
		if first+rest >= 80 {
			t.Errorf("%d passed, though a slice is held", first+rest)
		}
		time.Sleep(20 * time.Second)
		q.send()
		time.Sleep(time.Second)
		more, _ := q.sendAll(100)
		want(t, "passed", first+rest+more, 80)
	})
}

// Another amount holds at once, also for what was held: left is the amount less what was
// used.
func TestAmountChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, newService(), "1")
		p := g.open("a", perDay, 1000)
		passed, _ := p.sendAll(30)
		want(t, "passed", passed, 30)
		p.account.SetTerms(throttle.QuotaTerms{Plan: "plans/p", Limit: "l", Amount: 40})
		time.Sleep(100 * time.Millisecond)
		passed, _ = p.sendAll(30)
		want(t, "of 40", passed, 10)
		p.account.SetTerms(throttle.QuotaTerms{Plan: "plans/p", Limit: "l", Amount: 45})
		time.Sleep(100 * time.Millisecond)
		passed, _ = p.sendAll(30)
		want(t, "of 45", passed, 5)
		p.account.SetTerms(throttle.QuotaTerms{Plan: "plans/p", Limit: "l", Amount: 3})
		time.Sleep(100 * time.Millisecond)
		passed, _ = p.sendAll(30)
		want(t, "of 3", passed, 0)
	})
}

// A quota that is closed and opened again goes on with what was spent; nothing is kept of
// it in between.
func TestQuotaIsOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, s, "1")
		passed := 0
		for i := range 12 {
			p := g.open("a", perDay, 50)
			n, _ := p.sendAll(7)
			passed += n
			p.account.Close()
			if i%2 == 0 {
				time.Sleep(time.Second)
			}
		}
		want(t, "passed", passed, 50)
		time.Sleep(time.Second)
		want(t, "accounts", g.Accounts(), 0)
		want(t, "reports of usage", g.reports, 1)
	})
}

// A leap of the service's clock forward opens the window that it shows, and no other; a
// leap back opens nothing again.
func TestServiceClockLeaps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, s, "1")
		p := g.open("a", perMinute, 5)
		hear := func() { // another quota brings the clock
			g.open(fmt.Sprint(time.Now()), perDay, 5)
			time.Sleep(50 * time.Millisecond)
		}
		passed, _ := p.sendAll(8)
		want(t, "before", passed, 5)
		s.set(func(s *service) { s.ahead = 10 * time.Minute })
		hear()
		passed, _ = p.sendAll(8)
		want(t, "after a leap forward", passed, 5)
		want(t, "minute", g.Minute(g.now()), time.Now().Add(10*time.Minute).Truncate(time.Minute).Unix())
		s.set(func(s *service) { s.ahead = 0 })
		hear()
		minute := g.Minute(g.now())
		passed, _ = p.sendAll(8)
		want(t, "after a leap back", passed, 0)
		time.Sleep(8 * time.Minute)
		hear()
		passed, _ = p.sendAll(8)
		want(t, "before that window ends", passed, 0)
		want(t, "minute", g.Minute(g.now()), minute)
		time.Sleep(3 * time.Minute)
		passed, _ = p.sendAll(8)
		want(t, "when it is over", passed, 5)
	})
}

// A gateway whose own clock is wrong goes by the service's.
func TestGatewayClockIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		s.ahead = -36 * time.Hour
		g := newGateway(t, s, "1")
		p := g.open("a", perMinute, 5)
		for range 3 {
			passed, _ := p.sendAll(8)
			want(t, "in a minute", passed, 5)
			time.Sleep(time.Minute)
		}
		want(t, "minute", g.Minute(g.now()), time.Now().Add(s.ahead).Truncate(time.Minute).Unix())
	})
}

// A demand that the service calls invalid does not keep the others from their slices.
func TestOneDemandIsInvalid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService()
		g := newGateway(t, &picky{service: s}, "1")
		bad := g.open("bad", perDay, 5, true)
		var good []*place
		for i := range 5 {
			good = append(good, g.open(fmt.Sprint("good", i), perDay, 5))
		}
		for _, p := range good {
			passed, waited := p.sendAll(8)
			want(t, "passed", passed, 5)
			if waited > limits.AnswerWithin {
				t.Errorf("waited for %v", waited)
			}
		}
		passed, _ := bad.sendAll(8)
		want(t, "passed of the invalid one", passed, 0)
	})
}

// picky refuses calls with a demand of the application bad.
type picky struct{ *service }

func (p *picky) TakeQuota(ctx context.Context, req *backplanev1.TakeQuotaRequest, opts ...grpc.CallOption) (*backplanev1.TakeQuotaResponse, error) {
	for _, d := range req.GetDemands() {
		if d.GetKey().GetApplication() == "applications/bad" {
			return nil, status.Error(codes.InvalidArgument, "bad")
		}
	}
	return p.service.TakeQuota(ctx, req, opts...)
}

// Several gateways and quotas, sessions that come and go, lost answers, outages, restarts
// and kills: what passes in a window is never more than the amount where outages refuse,
// and once everybody has stopped in order the service knows it to the message.
func TestRandomGateways(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { randomGateways(t, rand.New(rand.NewPCG(7, seed))) })
		})
	}
}

func randomGateways(t *testing.T, random *rand.Rand) {
	s := newService()
	type count struct {
		app    int
		window int64
	}
	amounts := []int64{3, 40, 500}
	passed := map[count]int64{}
	boots := 0
	gateways := make([]*gateway, 3)
	places := map[*gateway][]*place{}
	start := func(i int) {
		boots++
		gateways[i] = newGateway(t, s, fmt.Sprint(boots))
		for app := range amounts {
			places[gateways[i]] = append(places[gateways[i]], gateways[i].open(fmt.Sprint(app), perMinute, amounts[app], true))
		}
	}
	for i := range gateways {
		start(i)
	}
	send := func() {
		g := gateways[random.IntN(len(gateways))]
		app := random.IntN(len(amounts))
		for range random.IntN(40) {
			p := places[g][app]
			now := g.now()
			if d := p.chain.Ask(now, limits.Demand{Messages: 1}, nil); d.Verdict == limits.Go {
				number, _ := p.account.Quota().Left(now)
				passed[count{app, number}]++
			}
		}
	}
	killed := false
	for range 400 {
		switch random.IntN(40) {
		case 0:
			s.set(func(s *service) { s.lost = 1 + random.IntN(3) })
		case 1:
			s.set(func(s *service) { s.away = status.Error(codes.Unavailable, "away") })
		case 2, 3, 4:
			s.set(func(s *service) { s.away = nil })
		case 5:
			i := random.IntN(len(gateways))
			if random.IntN(2) == 0 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if err := gateways[i].Flush(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Flush = %v", err)
				} else if err != nil {
					killed = true
				}
				cancel()
			} else {
				killed = true
			}
			gateways[i].stop()
			start(i)
		case 6:
			g, app := gateways[random.IntN(len(gateways))], random.IntN(len(amounts))
			places[g][app].account.Close()
			if random.IntN(2) == 0 {
				time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
			}
			places[g][app] = g.open(fmt.Sprint(app), perMinute, amounts[app], true)
		case 7:
			time.Sleep(time.Duration(random.IntN(60)) * time.Second)
		default:
			send()
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		}
	}
	s.set(func(s *service) { s.away, s.lost = nil, 0 })
	for i := range gateways {
		want(t, "Flush", gateways[i].Flush(t.Context()), nil)
	}
	for c, n := range passed {
		if n > amounts[c.app] {
			t.Errorf("of %d in window %d, %d passed", amounts[c.app], c.window, n)
		}
	}
	if at := time.Now(); !killed {
		for app := range amounts {
			key := places[gateways[0]][app].key
			want(t, fmt.Sprint("spent of ", amounts[app]), s.spent(key, at), passed[count{app, calendar.At(perMinute, at).Number}])
		}
	}
}
