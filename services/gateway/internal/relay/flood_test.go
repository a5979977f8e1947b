package relay

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestEndsAreNoFlood: an empty frame that ends a message with payload is not
// counted, one that ends an empty message is. TestFlood says why there are so many.
func TestEndsAreNoFlood(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		for _, p := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			one := append(wireFrame{0x01, []byte("x")}.bytes(p.from.mask), wireFrame{0x80, nil}.bytes(p.from.mask)...)
			p.from.sendRaw(append(bytes.Repeat(one, 1000), text("fine").bytes(p.from.mask)...))
			skipTo(t, p.to, text("fine"))
		}
		empty := append(wireFrame{0x01, nil}.bytes(true), wireFrame{0x80, nil}.bytes(true)...)
		r.client.sendRaw(bytes.Repeat(empty, 150))
		r.client.expectClose(1008, "FLOOD")
		r.hangUp()
		if o := r.outcome(t); o.Ending.Reason != ending.Flood {
			t.Errorf("outcome = %+v", o)
		}
	})
}

// TestStreamingLibrary: both sides write more messages than a second may have
// empty frames, by a library that ends each of them with one.
func TestStreamingLibrary(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = echo(coderSocket{c})
	}))
	t.Cleanup(backend.Close)
	p := newProxy(t, strings.TrimPrefix(backend.URL, "http://"))
	s, err := clients["coder"]("ws://" + p.lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	for i := range 500 {
		m := message{data: fmt.Append(nil, "message ", i)}
		if err := s.write(m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if got, err := s.read(); err != nil || !bytes.Equal(got.data, m.data) {
			t.Fatalf("message %d came back as %q, %v", i, got.data, err)
		}
	}
	_ = s.close(1000, "")
	if o := <-p.ended; o.Ending.Reason != ending.PeerClose {
		t.Errorf("outcome = %+v", o)
	}
}
