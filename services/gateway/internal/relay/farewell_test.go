package relay

import (
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestClientEndings ends sessions for reasons that the version has endings for: the client
// gets its code and its text, the backend what it always gets, and the record the reason.
func TestClientEndings(t *testing.T) {
	own := ending.ClientEndings{
		ending.Drain:   {Code: 4500, Text: "{word} {code} {ref} {retry_ms}"},
		ending.Revoked: {Text: "bye"},
		ending.Blocked: {Code: 1008},
	}
	eachMode(t, func(t *testing.T, m mode) {
		for _, tt := range []struct {
			reason ending.Reason
			code   uint16
			text   string
		}{
			{ending.Drain, 4500, "DRAIN 4500 REF 1500"},
			{ending.Revoked, 4001, "bye"},
			{ending.Blocked, 1008, ""},
			{ending.Expired, 4001, ""},
		} {
			r := newRig(t, quick(), m, ending.Terms{Endings: own})
			r.backend.send(text("one"))
			r.client.expect(text("one"))
			e := ending.New(tt.reason, "")
			e.Retry = 1500 * time.Millisecond
			r.End(e)
			if tt.text != "" {
				r.client.expect(text(tt.text))
			}
			r.client.expectClose(tt.code, tt.reason.String())
			r.backend.expectClose(1001, tt.reason.String())
			r.hangUp()
			o := r.check(t, ending.Gateway, tt.reason, tt.code, 0, 1001, 0)
			if o.Totals.FromBackend.Messages != 1 || o.Totals.FromClient.Messages != 0 {
				t.Errorf("%v: totals = %+v, want the text in none", tt.reason, o.Totals)
			}
		}
	})
}

// TestClientEndingOfBackendGone: the client of a backend that is gone gets the version's
// ending.
func TestClientEndingOfBackendGone(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{Endings: ending.ClientEndings{ending.BackendGone: {Code: 4002, Text: "gone"}}})
		r.backend.Close()
		r.client.expect(text("gone"))
		r.client.expectClose(4002, "BACKEND_GONE")
		r.hangUp()
		r.check(t, ending.Backend, ending.BackendGone, 4002, 0, 0, 0)
	})
}

// TestClientEndingBetweenMessages ends a session inside of a frame, whose end the client
// gets before the text, and inside of a fragmented message, in which no text has a place.
func TestClientEndingBetweenMessages(t *testing.T) {
	own := ending.ClientEndings{ending.Blocked: {Code: 4100, Text: "bye"}}
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{Endings: own})
		whole := text("0123456789").bytes(false)
		r.backend.sendRaw(whole[:7])
		if b, err := r.client.in.Peek(7); err != nil {
			t.Fatal(b, err)
		}
		r.End(ending.New(ending.Blocked, ""))
		r.backend.expectClose(1001, "BLOCKED")
		r.backend.sendRaw(whole[7:])
		r.client.expect(text("0123456789"), text("bye"))
		r.client.expectClose(4100, "BLOCKED")
		r.hangUp()
		r.check(t, ending.Gateway, ending.Blocked, 4100, 0, 1001, 0)

		r = newRig(t, quick(), m, ending.Terms{Endings: own})
		first := wireFrame{0x01, []byte("begin")}
		r.backend.send(first)
		r.client.expect(first)
		r.End(ending.New(ending.Blocked, ""))
		r.client.expectClose(4100, "BLOCKED")
		r.hangUp()
		r.check(t, ending.Gateway, ending.Blocked, 4100, 0, 1001, 0)
	})
}
