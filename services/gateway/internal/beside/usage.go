package beside

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// usage counts what an exchange uses: one message from the client, and the bytes of bodies and
// heads in both directions. It is reported at the end, and in between where that is far off.
type usage struct {
	mu       sync.Mutex
	begun    bool
	minute   int64 // of what is not reported yet
	reported time.Time
	fresh    ending.Totals // not reported yet
	totals   ending.Totals // reported
	written  int64         // bytes to the client that were counted
}

// reportEvery is how long what a request used waits at most, while it uses more.
const reportEvery = 5 * time.Second

// begin counts the request itself.
func (u *usage) begin(x *exchange) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun, u.reported, u.minute = true, time.Now(), x.s.Minute(x.of.Passage().At())
	u.fresh.FromClient = ending.Count{Messages: 1, Frames: 1, Wire: uint64(x.r.Beside.Head)}
}

// add counts bytes of a body.
func (u *usage) add(x *exchange, direction limits.Direction, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if direction == limits.Inbound {
		u.fresh.FromClient.Payload += uint64(n)
		u.fresh.FromClient.Wire += uint64(n)
	} else {
		u.fresh.FromBackend.Payload += uint64(n)
	}
	if now := time.Now(); now.Sub(u.reported) > reportEvery {
		u.report(x)
		u.reported, u.minute = now, x.s.Minute(0)
	}
}

// end reports the rest.
func (u *usage) end(x *exchange) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.begun {
		return
	}
	u.report(x)
	if !x.noted {
		x.s.Meter.Answered(x.record(&u.totals))
	}
}

// report reports what is fresh. The lock is held.
func (u *usage) report(x *exchange) {
	written := x.conn.written.Load()
	u.fresh.FromBackend.Wire += uint64(written - u.written)
	u.written = written
	info := x.of.Info()
	x.s.Meter.Used(&info, []ending.Usage{{Minute: u.minute, Totals: u.fresh, Limits: x.of.Passage().Did()}})
	u.totals.Add(&u.fresh)
	u.fresh = ending.Totals{}
}

// record returns the record of a request that was not refused.
func (x *exchange) record(totals *ending.Totals) session.Record {
	r := session.Record{
		Info: x.of.Info(),
		Plain: &session.Plain{
			Method: x.r.Beside.Method, Status: x.status, Host: x.r.Host, Path: x.r.Path, UserAgent: strings.Join(x.r.Header["User-Agent"], ", "),
		},
	}
	r.Started, r.Ended, r.Totals = x.began, time.Now(), *totals
	r.Ending = ending.New(ending.Answered, x.r.Beside.Method)
	switch ended, _ := errors.AsType[*session.EndedError](x.of.Ended()); {
	case x.failure == nil:
	case ended != nil:
		r.Ending = ended.Ending
	case errors.Is(x.failure, http.ErrAbortHandler), errors.Is(x.failure, io.ErrUnexpectedEOF):
		r.Ending = ending.New(ending.BackendGone, x.r.Beside.Method)
	default:
		r.Ending = ending.New(ending.ClientGone, x.r.Beside.Method)
	}
	return r
}
