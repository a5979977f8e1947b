package renewal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// directory answers, or hangs until its caller gives up.
type directory struct {
	backplanev1.DirectoryServiceClient
	known []*changev1.Watcher
	hangs bool
	takes time.Duration
	asked int
}

func (d *directory) ListGateways(ctx context.Context, _ *backplanev1.ListGatewaysRequest, _ ...grpc.CallOption) (*backplanev1.ListGatewaysResponse, error) {
	d.asked++
	if d.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(d.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &backplanev1.ListGatewaysResponse{Gateways: d.known}, nil
}

func newOthers(d *directory) *Others {
	dial := grpcclient.OfService("gateway")
	o := NewOthers("gateway-1", nil, &dial)
	o.directory = d
	return o
}

// TestDirectoryHangs: while the directory hangs, one in a second waits for it, each no longer
// than its own deadline, and what was known before is gone on with.
func TestDirectoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{hangs: true}
		o := newOthers(d)
		began := time.Now()
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		first := make(chan error, 1)
		go func() {
			_, err := o.all(t.Context())
			first <- err
		}()
		synctest.Wait()
		if _, err := o.all(impatient); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("behind another = %v after %v, want that its own deadline is over after 100ms", err, time.Since(began))
		}
		if err := <-first; err == nil || time.Since(began) != patience {
			t.Errorf("the first = %v after %v, want an error after %v", err, time.Since(began), patience)
		}
		if _, err := o.all(t.Context()); err == nil || time.Since(began) != patience || d.asked != 1 {
			t.Errorf("right after it = %v after %v, asked %d times, want the error at once", err, time.Since(began), d.asked)
		}
		time.Sleep(knownFor)
		d.hangs = false
		if got, err := o.all(t.Context()); err != nil || got == nil {
			t.Errorf("once it answers = %v, %v", got, err)
		}
		time.Sleep(knownFor)
		d.hangs = true
		if _, err := o.all(t.Context()); err != nil {
			t.Errorf("when it hangs again = %v, want what was known", err)
		}
	})
}

// TestWhoGivesUpHarmsNobody: a caller whose time is over while it asks the directory keeps nobody
// else from what that says.
func TestWhoGivesUpHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{takes: 200 * time.Millisecond}
		o := newOthers(d)
		defer o.Close()
		const of = "f6w1bbbbq8s5d2h7m4zc"
		for _, tags := range [][]string{{"aaaa"}, {"aaaa", "bbbb"}} {
			d.knows(tags...)
			impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, _ = o.now(impatient)
			cancel()
			want := ref.Tag(tags[len(tags)-1])
			if g, err := o.holder(t.Context(), of, want); err != nil || g == nil || g.tag != want {
				t.Errorf("holder = %v, %v, want the gateway %s", g, err, want)
			}
		}
	})
}

// TestForwardedRenewalsAreBounded: no more than so many wait for other gateways.
func TestForwardedRenewalsAreBounded(t *testing.T) {
	o := newOthers(&directory{})
	var leave func()
	for range maxForwarded {
		var ok bool
		if leave, ok = o.enter(); !ok {
			t.Fatal("no room before the bound")
		}
	}
	if _, ok := o.enter(); ok {
		t.Error("room behind the bound")
	}
	leave()
	if _, ok := o.enter(); !ok {
		t.Error("no room after one has left")
	}
}

// knows sets which gateways there are, each with its tag.
func (d *directory) knows(tags ...string) {
	d.known = nil
	for _, tag := range tags {
		d.known = append(d.known, &changev1.Watcher{Instance: "gateway-" + tag, Address: "passthrough:///" + tag, RefTag: tag, Connected: true})
	}
}

// TestNewGatewaysAreFound: a session of a gateway that has connected a moment ago is found, by all
// who ask at one time with one question; who makes up tags makes the directory answer ten times
// in a second.
func TestNewGatewaysAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{}
		d.knows("aaaa")
		o := newOthers(d)
		defer o.Close()
		const of = "f6w1bbbbq8s5d2h7m4zc"
		if _, err := o.all(t.Context()); err != nil || d.asked != 1 {
			t.Fatalf("all = %v, the directory asked %d times", err, d.asked)
		}
		d.knows("aaaa", "bbbb")
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if g, err := o.holder(t.Context(), of, "bbbb"); err != nil || g == nil || g.tag != "bbbb" {
					t.Errorf("holder = %v, %v, want the new gateway", g, err)
				}
			})
		}
		callers.Wait()
		if d.asked != 2 {
			t.Errorf("100 callers have the directory asked %d times, want once", d.asked-1)
		}
		began, asked := time.Now(), d.asked
		for time.Since(began) < time.Second {
			if g, err := o.holder(t.Context(), of, "zzzz"); !errors.Is(err, ErrNotFound) || g != nil {
				t.Fatalf("holder of a tag that nobody has = %v, %v", g, err)
			}
		}
		if n := d.asked - asked; n > 10 {
			t.Errorf("made-up tags have the directory asked %d times in a second, want 10 at most", n)
		}
		if len(o.forwarded) > 0 {
			t.Error("what nobody is asked for has taken room")
		}
	})
}

// TestHoldersAreAskedFirst: of a session that any gateway may have, and where two have one tag,
// gateways are asked whether it is there; nobody is sent a credential for that.
func TestHoldersAreAskedFirst(t *testing.T) {
	const ticket, twins = "f6w10000q8s5d2h7m4zc", "f6w1aaaaq8s5d2h7m4zc"
	here := &holder{has: ticket}
	frozen := &holder{err: errors.New("frozen")}
	for _, tt := range []struct {
		name, ref string
		all       []other
		want      *holder
		silent    bool
	}{
		{"one has it", ticket, []other{{live: &holder{}}, {live: here}}, here, false},
		{"nobody has it", ticket, []other{{live: &holder{}}, {live: &holder{has: twins}}}, nil, false},
		{"nobody who answers has it", ticket, []other{{live: frozen}, {live: &holder{}}}, nil, true},
		{"one has it, another is frozen", ticket, []other{{live: frozen}, {live: here}}, here, true},
		{"two have one tag", twins, []other{{tag: "aaaa", live: &holder{}}, {tag: "aaaa", live: &holder{has: twins}}, {tag: "bbbb", live: frozen}}, nil, false},
		{"there are no others", ticket, nil, nil, false},
	} {
		o := newOthers(&directory{})
		o.known, o.began, o.asked = tt.all, time.Now(), time.Now()
		tag, _ := ref.TagOf(tt.ref)
		g, err := o.holder(t.Context(), tt.ref, tag)
		if tt.name == "two have one tag" {
			tt.want = tt.all[1].live.(*holder)
		}
		if (err != nil) != tt.silent || (g == nil) != (tt.want == nil) || g != nil && g.live != backplanev1.LiveSessionServiceClient(tt.want) {
			t.Errorf("%s: holder = %+v, %v", tt.name, g, err)
		}
	}
}

// holder is another gateway, which has a session. It can do nothing but say so.
type holder struct {
	backplanev1.LiveSessionServiceClient
	has string
	err error
}

func (h *holder) FindSession(_ context.Context, req *backplanev1.FindSessionRequest, _ ...grpc.CallOption) (*backplanev1.FindSessionResponse, error) {
	return &backplanev1.FindSessionResponse{Found: h.err == nil && req.GetRef() == h.has}, h.err
}
