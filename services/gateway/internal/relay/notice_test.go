package relay

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// dropping returns a session that lets one message from a peer pass, and drops what follows.
func dropping(t *testing.T, m mode, way ending.Party, frames ending.ErrorFrames) (r *rig, from *peer) {
	t.Helper()
	terms := limitedBy(t, hourly(t, limits.Terms{Reaction: limits.Drop, Direction: of(way)}, 1))
	terms.Frames = frames
	r = newRig(t, quick(), m, terms)
	from, to := r.peers(way)
	from.send(text("passes"))
	to.expect(text("passes"))
	return r, from
}

const wso2 = "Error code: 4003 reason: Websocket frame throttled out"

// TestErrorFrames has messages of either direction dropped: the client is told as often as
// its template says, and the totals know nothing of it.
func TestErrorFrames(t *testing.T) {
	long := strings.Repeat("x", 1000)
	tests := map[string]struct {
		frames ending.ErrorFrames
		want   string
	}{
		"wso2": {ending.ErrorFrames{Template: ending.WSO2Frames}, wso2},
		"text": {ending.ErrorFrames{Template: ending.TextFrames, Text: "too much"}, "too much"},
		"long": {ending.ErrorFrames{Template: ending.TextFrames, Text: long}, long},
		"none": {ending.ErrorFrames{}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, m mode, way ending.Party) {
				r, from := dropping(t, m, way, tt.frames)
				from.send(textsOf(100)...)
				from.send(wireFrame{0x01, []byte("in ")}, wireFrame{0x80, []byte("parts")})
				if tt.want != "" {
					for range 101 {
						r.client.expect(text(tt.want))
					}
				}
				r.client.send(ping("p"))
				r.client.expect(pong("p"))
				if n := r.Totals(); n.FromClient.Messages+n.FromBackend.Messages != 1 {
					t.Errorf("totals = %+v, want the message that passed", n)
				}
			})
		})
	}
}

// said is the error frame of the template JSON.
type said struct {
	Error struct {
		Code         int
		Reason       string
		Dropped      int
		RetryAfterMs int64
		Ref          string
	}
}

func (p *peer) expectJSON() (s said) {
	p.t.Helper()
	f, err := p.next()
	if err != nil || f.first != 0x81 {
		p.t.Fatalf("%s: %v, %v, want an error frame", p.name, f, err)
	}
	if err := json.Unmarshal(f.payload, &s); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, f.payload, err)
	}
	return s
}

// TestErrorFramesJSON: at most one a second says how many messages were dropped. The next
// one comes by time alone.
func TestErrorFramesJSON(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		r, from := dropping(t, m, way, ending.ErrorFrames{Template: ending.JSONFrames})
		begin := time.Now()
		from.send(textsOf(1)...)
		first := r.client.expectJSON().Error
		if hour := time.Hour.Milliseconds(); first.Code != 4003 || first.Reason != "throttled" || first.Ref != "REF" || first.Dropped != 1 ||
			first.RetryAfterMs < hour*9/10 || first.RetryAfterMs > hour {
			t.Errorf("the client is told %+v, want one message dropped, and an hour to wait", first)
		}
		from.send(textsOf(20)...)
		from.send(textsOf(22)...)
		if got := r.client.expectJSON().Error.Dropped; got != 42 {
			t.Errorf("the client is told of %d messages, want 42", got)
		}
		if d := time.Since(begin); d < time.Second {
			t.Errorf("both error frames came within %v", d)
		}
	})
}

// TestErrorFrameBetweenMessages has messages of either direction dropped while a message
// goes to the client: what is due waits for its end, wherever in a read that is, and is one.
func TestErrorFrameBetweenMessages(t *testing.T) {
	ends := map[string][]wireFrame{
		"at the end of a read":           {{0x80, []byte("end")}},
		"in the middle of a read":        {{0x80, []byte("end")}, {0x01, []byte("next")}},
		"between messages, and one more": {{0x80, []byte("end")}, text("whole"), {0x01, []byte("next")}},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				r, from := dropping(t, m, ending.Client, ending.ErrorFrames{Template: ending.WSO2Frames})
				r.backend.send(wireFrame{0x01, []byte("begins")})
				r.client.expect(wireFrame{0x01, []byte("begins")})
				from.send(textsOf(3)...)
				from.send(textsOf(5)...)
				from.send(ping("p"))
				r.client.expect(pong("p"))
				half := wireFrame{0x00, []byte("goes on")}.bytes(false)
				r.backend.sendRaw(half[:5])
				r.until(t, "the frame has begun", func() bool { return r.Relay.client.out.midFrame })
				from.send(textsOf(2)...)
				from.send(ping("q")) // whose pong waits for the end of the frame
				r.until(t, "the ping has come", func() bool { return r.Relay.client.out.pong != nil })
				r.backend.sendRaw(half[5:])
				r.client.expect(wireFrame{0x00, []byte("goes on")}, pong("q"))
				r.backend.send(end...)
				r.client.expect(end[0], text(wso2))
				r.client.expect(end[1:]...)
			})
		})
	}
}

// TestErrorFrameOfDropped has a message to the client dropped while it comes: the client
// is between messages.
func TestErrorFrameOfDropped(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r, from := dropping(t, m, ending.Backend, ending.ErrorFrames{Template: ending.WSO2Frames})
		from.send(wireFrame{0x01, []byte("begins")})
		r.client.expect(text(wso2))
		from.send(wireFrame{0x00, []byte("goes on")}, ping("p"), wireFrame{0x80, []byte("ends")}, text("again"))
		from.expect(pong("p"))
		r.client.expect(text(wso2))
	})
}

// TestErrorFramesOfStalled: a client that takes no bytes gets one error frame when it
// does again.
func TestErrorFramesOfStalled(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r, from := dropping(t, m, ending.Client, ending.ErrorFrames{Template: ending.WSO2Frames})
		r.client.keepLittle()
		stop, wrote := make(chan struct{}), make(chan int)
		go func() { wrote <- r.backend.floodData(stop) }()
		r.until(t, "the client's leg is full", func() bool { return r.Relay.client.out.stalled != 0 })
		from.send(textsOf(30)...)
		r.until(t, "the messages are dropped", func() bool { return r.limited.client.keep().drops == 30 })
		close(stop)
		go func() { <-wrote; r.backend.send(ping("p"), text("the end")) }()
		told := 0
		for {
			f, err := r.client.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.String() == text(wso2).String() {
				told++
			}
			if f.String() == text("the end").String() {
				break
			}
		}
		if told != 1 {
			t.Errorf("%d error frames, want one", told)
		}
	})
}

// TestErrorFrameBeforeClose has messages dropped right before a close, in one read: the
// client is told of them in front of it, whoever closes.
func TestErrorFrameBeforeClose(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		for _, frames := range []ending.ErrorFrames{{Template: ending.WSO2Frames}, {Template: ending.JSONFrames}} {
			r, from := dropping(t, m, way, frames)
			from.send(text("one too many"), closing(1000, "bye"))
			if way == ending.Client {
				r.backend.expect(closing(1000, "bye"))
				r.backend.send(closing(1000, "bye"))
			}
			if frames.Template == ending.WSO2Frames {
				r.client.expect(text(wso2))
			} else if n := r.client.expectJSON().Error.Dropped; n != 1 {
				t.Errorf("the client is told of %d messages, want 1", n)
			}
			r.client.expect(closing(1000, "bye"))

			r, from = dropping(t, m, way, frames)
			from.send(text("one too many"), wireFrame{0xf1, []byte("RSV bits")})
			if frames.Template == ending.WSO2Frames {
				r.client.expect(text(wso2))
			} else {
				r.client.expectJSON()
			}
			if way == ending.Client {
				r.client.expectClose(1002, "PROTOCOL")
			} else {
				r.client.expectClose(1011, "PROTOCOL")
			}
		}
	})
}
