package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// peer is the service's end of a stream that a test plays by hand.
type peer struct {
	grpc.ClientStream // not used
	ctx               context.Context
	said              chan *request
	says              chan *response
	end               chan error
}

// Send takes what the follower sends.
func (p *peer) Send(r *request) error {
	select {
	case p.said <- r:
		return nil
	case <-p.ctx.Done():
		return io.EOF
	}
}

// Recv returns what the follower receives.
func (p *peer) Recv() (*response, error) {
	select {
	case r := <-p.says:
		return r, nil
	case err := <-p.end:
		return nil, err
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
}

func (p *peer) say(body any) {
	switch m := body.(type) {
	case *backplanev1.Begin:
		p.says <- &response{Body: &backplanev1.WatchRoutesResponse_Begin{Begin: m}}
	case *backplanev1.SnapshotEnd:
		p.says <- &response{Body: &backplanev1.WatchRoutesResponse_SnapshotEnd{SnapshotEnd: m}}
	case *backplanev1.Heartbeat:
		p.says <- &response{Body: &backplanev1.WatchRoutesResponse_Heartbeat{Heartbeat: m}}
	case uint64:
		p.says <- &response{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: &backplanev1.Position{ChangeNumber: m, Cursor: fmt.Sprintf("e:%d", m)},
			Event:    &backplanev1.RouteEvent{Routes: []*backplanev1.Route{{Name: fmt.Sprintf("w%d", m)}}}}}}
	case string:
		p.says <- &response{Body: &backplanev1.WatchRoutesResponse_Snapshot{
			Snapshot: &backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{{Name: m}}}}}
	}
}

// snapshot sends a whole snapshot.
func (p *peer) snapshot(number uint64, words ...string) {
	p.say(&backplanev1.Begin{Reset_: backplanev1.Begin_RESET_NO_CURSOR})
	for _, w := range words {
		p.say(w)
	}
	p.say(&backplanev1.SnapshotEnd{AsOfChangeNumber: number, Cursor: fmt.Sprintf("e:%d", number)})
}

// follow runs a follower in a bubble of fake time; each connection comes out of
// the channel.
func follow(t *testing.T, start watch.At, test func(t *testing.T, f *follower, s *sink, peers <-chan *peer)) {
	followTo(t, quiet(), start, test)
}

// followTo does so with a log.
func followTo(t *testing.T, log *slog.Logger, start watch.At, test func(t *testing.T, f *follower, s *sink, peers <-chan *peer)) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *peer)
		s := &sink{number: start.Number}
		open := func(ctx context.Context, _ ...grpc.CallOption) (grpc.BidiStreamingClient[request, response], error) {
			p := &peer{ctx: ctx, said: make(chan *request), says: make(chan *response), end: make(chan error, 1)}
			select {
			case peers <- p:
				return p, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		f := watch.NewFollower(open, hello(), start, s, log, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		test(t, f, s, peers)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if _, _, wrong := s.state(); wrong != nil {
			t.Errorf("out of order: %v", wrong)
		}
	})
}

// wantHello checks the first message of a stream.
func wantHello(t *testing.T, p *peer, since string) {
	t.Helper()
	h := (<-p.said).GetHello()
	if h.GetInstance() != "gateway-1" || h.GetCursor() != since {
		t.Fatalf("hello = %v, want instance gateway-1, since %q", h, since)
	}
}

func wantAck(t *testing.T, p *peer, number, closed uint64, failure string) {
	t.Helper()
	a := (<-p.said).GetAck()
	if a == nil || a.GetAppliedChangeNumber() != number || a.GetSessionsClosed() != closed || a.GetFailure() != failure {
		t.Fatalf("ack = %v, want number %d, sessions_closed %d, failure %q", a, number, closed, failure)
	}
}

func TestFollowerAppliesSnapshotThenChanges(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.say(&backplanev1.Begin{Reset_: backplanev1.Begin_RESET_NO_CURSOR})
		p.say("a")
		p.say(&backplanev1.Heartbeat{})
		p.say("b")
		synctest.Wait()
		if f.Health() == nil {
			t.Error("Health = nil before the end of the snapshot")
		}
		p.say(&backplanev1.SnapshotEnd{AsOfChangeNumber: 7, Cursor: "e:7"})
		wantAck(t, p, 7, 0, "")
		if f.Applied() != 7 || f.Health() != nil {
			t.Errorf("Applied = %d, Health = %v, want 7, nil", f.Applied(), f.Health())
		}
		s.set(watch.Result{SessionsClosed: 2, Failure: "no"}, nil)
		p.say(uint64(8))
		wantAck(t, p, 8, 2, "no")
		s.set(watch.Result{}, nil)
		p.say(uint64(9))
		wantAck(t, p, 9, 0, "")
		if words, resets, _ := s.state(); resets != 1 || !slices.Equal(words, []string{"a", "b", "w8", "w9"}) {
			t.Errorf("sink = %v after %d snapshots, want a b w8 w9 after 1", words, resets)
		}
		if at := f.At(); at != (watch.At{Number: 9, Cursor: "e:9"}) {
			t.Errorf("At = %v, want 9, e:9", at)
		}
	})
}

func TestFollowerResumesAndCarriesItsAckOver(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.snapshot(1)
		wantAck(t, p, 1, 0, "")
		s.set(watch.Result{SessionsClosed: 3, Failure: "x"}, nil)
		p.say(uint64(2))
		synctest.Wait() // the ack waits to be received
		p.end <- errors.New("cut")
		// The stream ends before anybody receives the ack.
		time.Sleep(watch.Silence)
		p = <-peers
		wantHello(t, p, "e:2")
		s.set(watch.Result{SessionsClosed: 1, Failure: "y"}, nil)
		p.say(&backplanev1.Begin{})
		wantAck(t, p, 2, 3, "x")
		p.say(uint64(3))
		wantAck(t, p, 3, 1, "y")
		if _, resets, _ := s.state(); resets != 1 {
			t.Errorf("snapshots = %d, want 1", resets)
		}
	})
}

func TestFollowerStartsWhereItsSinkIs(t *testing.T) {
	follow(t, watch.At{Number: 5, Cursor: "e:5"}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "e:5")
		if f.Health() == nil {
			t.Error("Health = nil before the service agreed")
		}
		p.say(&backplanev1.Begin{})
		wantAck(t, p, 5, 0, "")
		p.say(uint64(6))
		wantAck(t, p, 6, 0, "")
		if f.Applied() != 6 || f.Health() != nil {
			t.Errorf("Applied = %d, Health = %v, want 6, nil", f.Applied(), f.Health())
		}
	})
}

func TestFollowerTreatsSilenceAsBroken(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.snapshot(1)
		wantAck(t, p, 1, 0, "")
		for range 5 { // heartbeats keep it alive, and are acknowledged
			time.Sleep(watch.Heartbeat)
			p.say(&backplanev1.Heartbeat{HeadChangeNumber: 1})
			wantAck(t, p, 1, 0, "")
		}
		last := time.Now()
		<-p.ctx.Done()
		if d := time.Since(last); d != watch.Silence {
			t.Errorf("the stream ended after %v, want %v", d, watch.Silence)
		}
		p = <-peers
		if f.Health() == nil {
			t.Error("Health = nil while nothing is heard")
		}
		wantHello(t, p, "e:1")
		p.say(&backplanev1.Begin{})
		wantAck(t, p, 1, 0, "")
		if err := f.Health(); err != nil {
			t.Errorf("Health = %v after it was heard again", err)
		}
	})
}

// A service that never answers the hello, or that takes no message at all, is
// silent too.
func TestFollowerLeavesADeafService(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		began := time.Now()
		p := <-peers
		<-p.ctx.Done()
		if d := time.Since(began); d != watch.Silence {
			t.Errorf("the stream ended after %v, want %v", d, watch.Silence)
		}
		p = <-peers
		wantHello(t, p, "")
	})
}

// A sink that takes long does not make the service silent.
func TestFollowerIsPatientWithItsSink(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.snapshot(1)
		wantAck(t, p, 1, 0, "")
		s.mu.Lock()
		s.takes = 30 * time.Second
		s.mu.Unlock()
		p.say(uint64(2))
		p.say(&backplanev1.Heartbeat{})
		wantAck(t, p, 2, 0, "")
		if p.ctx.Err() != nil {
			t.Error("the stream was broken off")
		}
	})
}

func TestFollowerBreaksOffWhatIsOutOfOrder(t *testing.T) {
	for name, messages := range map[string][]any{
		"gap":                     {&backplanev1.Begin{}, uint64(7)},
		"duplicate":               {&backplanev1.Begin{}, uint64(5)},
		"no begin":                {uint64(6)},
		"two begins":              {&backplanev1.Begin{}, &backplanev1.Begin{}},
		"end without snapshot":    {&backplanev1.Begin{}, &backplanev1.SnapshotEnd{AsOfChangeNumber: 9}},
		"piece without snapshot":  {&backplanev1.Begin{}, "a"},
		"change inside snapshot":  {&backplanev1.Begin{Reset_: backplanev1.Begin_RESET_EPOCH}, uint64(6)},
		"heartbeat before begin":  {&backplanev1.Heartbeat{}},
		"begin inside a snapshot": {&backplanev1.Begin{Reset_: backplanev1.Begin_RESET_EPOCH}, &backplanev1.Begin{}},
	} {
		t.Run(name, func(t *testing.T) {
			follow(t, watch.At{Number: 5, Cursor: "e:5"}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
				for try := range 2 {
					p := <-peers
					wantHello(t, p, "e:5")
					go func() {
						for range p.said { // whatever it acknowledges
							continue
						}
					}()
					for _, m := range messages {
						p.say(m)
					}
					<-p.ctx.Done()
					close(p.said)
					if f.Applied() != 5 {
						t.Errorf("try %d: Applied = %d, want 5", try, f.Applied())
					}
				}
				// Resuming again would not help: it asks for a snapshot.
				p := <-peers
				wantHello(t, p, "")
				p.snapshot(9, "z")
				wantAck(t, p, 9, 0, "")
				p.end <- io.EOF
				p = <-peers
				wantHello(t, p, "e:9")
			})
		})
	}
}

func TestFollowerNeedsASnapshotWithoutACursor(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.say(&backplanev1.Begin{})
		<-p.ctx.Done()
		if f.Health() == nil {
			t.Error("Health = nil without a snapshot")
		}
	})
}

func TestFollowerHearsAgainWhatItsSinkRefused(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		p.snapshot(1)
		wantAck(t, p, 1, 0, "")
		s.set(watch.Result{}, errors.New("disk full"))
		p.say(uint64(2))
		<-p.ctx.Done()
		s.set(watch.Result{}, nil)
		p = <-peers
		wantHello(t, p, "e:1")
		p.say(&backplanev1.Begin{})
		wantAck(t, p, 1, 0, "")
		p.say(uint64(2))
		wantAck(t, p, 2, 0, "")
	})
}

func TestFollowerBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		open := func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[request, response], error) {
			tries = append(tries, time.Now())
			return nil, errors.New("refused")
		}
		var log bytes.Buffer
		f := watch.NewFollower(open, hello(), watch.At{}, &sink{}, slog.New(slog.NewTextHandler(&log, nil)), time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if n := len(tries); n < 115 || n > 250 {
			t.Errorf("tries in 2 minutes = %d, want 115 to 250", n)
		}
		for i := 1; i < len(tries); i++ {
			if d := tries[i].Sub(tries[i-1]); d < 50*time.Millisecond || d > time.Second {
				t.Errorf("pause %d = %v, want 50 ms to 1 s", i, d)
			}
		}
		if n := strings.Count(log.String(), "watch broken"); n != 1 {
			t.Errorf("the log has %d lines, want the first failure alone", n)
		}
	})
}

// A sink that cannot store anything, as on a full disk, is logged once for a long time,
// however often the watch begins again; and once that it works again.
func TestFollowerLogsAFullSinkOnce(t *testing.T) {
	var buf bytes.Buffer
	followTo(t, slog.New(slog.NewTextHandler(&buf, nil)), watch.At{Number: 1, Cursor: "e:1"}, func(t *testing.T, _ *follower, s *sink, peers <-chan *peer) {
		s.set(watch.Result{}, errors.New("disk full"))
		begin := time.Now()
		for time.Since(begin) < 9*time.Minute {
			p := <-peers
			wantHello(t, p, "e:1")
			p.say(&backplanev1.Begin{})
			wantAck(t, p, 1, 0, "")
			p.say(uint64(2))
		}
		if n := strings.Count(buf.String(), "\n"); n != 1 || !strings.Contains(buf.String(), "disk full") {
			t.Errorf("the log has %d lines, want one: %s", n, buf.String())
		}
		p := <-peers
		s.set(watch.Result{}, nil)
		wantHello(t, p, "e:1")
		p.say(&backplanev1.Begin{})
		wantAck(t, p, 1, 0, "")
		p.say(uint64(2))
		wantAck(t, p, 2, 0, "")
		if got := buf.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `msg="works again" what="watch broken"`) {
			t.Errorf("the log is %s, want that it works again", got)
		}
	})
}

func TestFollowerShortensFailures(t *testing.T) {
	follow(t, watch.At{}, func(t *testing.T, f *follower, s *sink, peers <-chan *peer) {
		p := <-peers
		wantHello(t, p, "")
		s.set(watch.Result{Failure: strings.Repeat("ä", 1000)}, nil)
		p.snapshot(1)
		if a := (<-p.said).GetAck(); a.GetFailure() != strings.Repeat("ä", 512) {
			t.Errorf("failure has %d bytes, want 1024", len(a.GetFailure()))
		}
	})
}
