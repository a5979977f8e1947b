package relay

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// asked is an admission that notes what it is asked, and refuses messages that
// contain a word.
type asked struct {
	mu        sync.Mutex
	counts    map[ending.Party]*ending.Count
	inspected map[ending.Party][]byte
	most      uint64 // messages at once; 0: any number
	word      string // refused in messages of the backend
}

func newAsked() *asked {
	return &asked{
		counts:    map[ending.Party]*ending.Count{ending.Client: {}, ending.Backend: {}},
		inspected: map[ending.Party][]byte{},
	}
}

func (a *asked) admit(from ending.Party, n *ending.Count) *ending.Ending {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most > 0 && n.Messages > a.most {
		return new(ending.New(ending.Blocked, "too many messages"))
	}
	a.counts[from].Add(n)
	return nil
}

func (a *asked) inspect(from ending.Party, messages []byte) *ending.Ending {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.word != "" && from == ending.Backend && bytes.Contains(messages, []byte(a.word)) {
		return new(ending.New(ending.Blocked, "a word"))
	}
	a.inspected[from] = append(a.inspected[from], messages...)
	return nil
}

// TestAdmission has the admission asked about all that goes on, and shown the
// messages that came whole, in one frame.
func TestAdmission(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		a := newAsked()
		r := startRig(t, NewEngine(quick()), m, a, ending.Terms{}, nil, nil)
		frames := []wireFrame{text("one"), {0x01, []byte("in ")}, {0x80, []byte("parts")}, text("three"), {0x82, make([]byte, 100<<10)}}
		for _, way := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			go func() {
				_, _ = way.from.Write(append(bytesOf(way.from.mask, frames...), ping("p").bytes(way.from.mask)...))
			}()
			way.to.expect(frames...)
			way.from.expect(pong("p"))
		}
		r.client.send(closing(1000, ""))
		r.backend.expect(closing(1000, ""))
		r.backend.send(closing(1000, ""))
		r.client.expect(closing(1000, ""))
		r.hangUp()
		o := r.outcome(t)
		a.mu.Lock()
		defer a.mu.Unlock()
		if got := (ending.Totals{FromClient: *a.counts[ending.Client], FromBackend: *a.counts[ending.Backend]}); got != o.Totals || got.FromClient.Messages != 4 {
			t.Errorf("asked about %+v, relayed %+v", got, o.Totals)
		}
		if got, want := a.inspected[ending.Backend], bytesOf(false, frames[0], frames[3]); !bytes.Equal(got, want) {
			t.Errorf("shown %q of the backend, want the whole messages %q", got, want)
		}
		if n := len(a.inspected[ending.Client]); n != len(bytesOf(true, frames[0], frames[3])) {
			t.Errorf("shown %d bytes of the client", n)
		}
	})
}

// bytesOf encodes frames.
func bytesOf(mask bool, frames ...wireFrame) (b []byte) {
	for _, f := range frames {
		b = append(b, f.bytes(mask)...)
	}
	return b
}

// TestAdmissionRefuses has the admission end the session: nothing of what it
// refused goes on, and nothing behind it.
func TestAdmissionRefuses(t *testing.T) {
	tests := map[string]func(a *asked, r *rig){
		"admit": func(a *asked, r *rig) {
			a.mu.Lock()
			a.most = 1
			a.mu.Unlock()
			r.client.send(text("one"), text("two"), ping("p"))
		},
		"inspect": func(a *asked, r *rig) {
			a.mu.Lock()
			a.word = "secret"
			a.mu.Unlock()
			r.backend.send(wireFrame{0x01, []byte("fine, ")}, wireFrame{0x80, []byte("secret in parts")}, text("a secret"), text("behind"))
			r.client.expect(wireFrame{0x01, []byte("fine, ")}, wireFrame{0x80, []byte("secret in parts")})
		},
	}
	for name, offend := range tests {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				a := newAsked()
				r := startRig(t, NewEngine(quick()), m, a, ending.Terms{}, nil, nil)
				r.talk()
				offend(a, r)
				r.client.expectClose(4006, "BLOCKED")
				r.backend.expectClose(1001, "BLOCKED")
				r.hangUp()
				o := r.check(t, ending.Gateway, ending.Blocked, 4006, 0, 1001, 0)
				if o.Client.CutMidFrame || o.Backend.CutMidFrame {
					t.Error("a leg was cut inside a frame")
				}
				if o.Totals.FromClient.Messages != 1 {
					t.Errorf("%d messages of the client were relayed, want the first", o.Totals.FromClient.Messages)
				}
			})
		})
	}
}

// TestAdmissionRefusesRest has the admission refuse the second half of a frame: what
// was sent of it cannot be made whole, so the leg is cut.
func TestAdmissionRefusesRest(t *testing.T) {
	a := newAsked()
	cfg := quick()
	cfg.FrameEnd = 1
	r := startRig(t, NewEngine(cfg), mode{}, refuseRest{a}, ending.Terms{}, nil, nil)
	whole := text("0123456789").bytes(false)
	r.backend.sendRaw(whole[:7])
	if _, err := r.client.in.Peek(7); err != nil {
		t.Fatal(err)
	}
	r.backend.sendRaw(whole[7:])
	r.backend.expectClose(1001, "BLOCKED")
	if err := r.client.expectGone(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Log(err)
	}
	r.hangUp()
	if o := r.outcome(t); !o.Client.CutMidFrame || o.Client.Sent != 0 {
		t.Errorf("the client's leg ended with %+v, want it cut inside the frame", o.Client)
	}
}

// refuseRest refuses what begins no message.
type refuseRest struct{ *asked }

func (a refuseRest) admit(from ending.Party, n *ending.Count) *ending.Ending {
	if n.Messages == 0 {
		return new(ending.New(ending.Blocked, ""))
	}
	return a.asked.admit(from, n)
}
