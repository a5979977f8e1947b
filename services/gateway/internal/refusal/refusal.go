// Package refusal notes handshakes, and plain requests, that are refused, so that each ref that a client is
// shown can be explained: with a line in the log, a record, and in metrics. Under a flood
// the log has some lines of each code in a second, and the number of the others; what is
// kept of the records is decided by package metering. Whoever refuses a handshake calls
// Recorder.Note, and answers the client itself.
package refusal

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// Refusal is a handshake, or a plain request, that was refused.
type Refusal struct {
	Ref     string           // made by kit/ref
	Problem *problem.Problem // the answer
	// CloseCode is that of the close that the client got for an answer, where it had been
	// answered 101; else 0.
	CloseCode uint16
	Err       error // what led to it, for the log; nil where the answer says all
	At        time.Time
	// Route is what the path led to: an API and a version, an API alone, or nothing: nil.
	Route *session.Route
	Grant *grant.Grant // nil where none is known
	// Application is applications/{application} whose credential was shown, good or not; ""
	// where none is known.
	Application string
	// Plans are those that hold for whom was let in otherwise; nil where none is known.
	Plans *session.Plans
	// Limit is what of a plan refused; nil where nothing did.
	Limit *Limit
	From  netip.AddrPort // the client's address; the port is 0 where it is not known
	// Beside says that it was a plain request, and no handshake.
	Beside bool
	// Host, Path and UserAgent are what the client sent, as far as its head could be read:
	// whoever keeps them bounds them.
	Host, Path, UserAgent string
}

// Limit is a limit of a plan that refuses handshakes, or a plan that cannot be held. Only
// those whose plan it is may know more of it than the place.
type Limit struct {
	Kind       limits.Kind
	Unit       limits.Unit // of a rate or a quota
	Place      limits.Place
	Plan, Name string // plans/{plan}, and the limit's name in it, "" where it is about the plan
	Words      string // how much of it is used, or what is not known; may be empty
	Unknown    bool   // no limit refused: it is not known what it is, or what is left
}

// Refused reports whether a limit refused; of nil none did.
func (l *Limit) Refused() bool { return l != nil && !l.Unknown }

// Sink keeps records. metering.Meter implements it.
type Sink interface {
	// Refused keeps the record of a refusal, or counts it. It must not block, nor keep the
	// Refusal.
	Refused(r *Refusal)
}

// Recorder notes refusals. It is safe for concurrent use.
type Recorder struct {
	metrics *metrics.Metrics
	sink    Sink
	log     *slog.Logger

	mu      sync.Mutex
	samples [problem.Codes]sample
}

// sample is what was logged and left out of a code in one second.
type sample struct {
	second        int64
	written, left int
}

// perSecond is how many refusals with the same code are logged in a second.
const perSecond = 10

// New returns a recorder. Run writes how many lines were left out of the log.
func New(m *metrics.Metrics, sink Sink, log *slog.Logger) *Recorder {
	return &Recorder{metrics: m, sink: sink, log: log}
}

// Note notes a refusal.
func (r *Recorder) Note(ctx context.Context, f *Refusal) {
	what := "handshake refused"
	if f.Beside {
		what = "request refused"
		r.metrics.RequestRefused(f.Problem.Status, f.Problem.Code.String())
	} else {
		r.metrics.Refused(f.Problem.Status, f.Problem.Code.String())
	}
	if l := f.Limit; l.Refused() {
		r.metrics.RefusedByLimit(l.Kind, l.Unit)
	}
	r.sink.Refused(f)
	left, ok := r.take(f.Problem.Code, f.At)
	r.left(ctx, f.Problem.Code, left)
	if !ok {
		return
	}
	var version string
	if f.Route != nil {
		version = f.Route.Version
	}
	why := f.Err
	if why == nil {
		why = f.Problem
	}
	r.log.InfoContext(ctx, what, "ref", f.Ref, "client", f.From, "version", version,
		"status", f.Problem.Status, "code", f.Problem.Code.String(), "error", why)
}

// take reports whether one more refusal is logged, and how many were left out in a second
// that is over.
func (r *Recorder) take(code problem.Code, now time.Time) (left int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.samples[code]
	if second := now.Unix(); s.second != second {
		left = s.left
		*s = sample{second: second}
	}
	if s.written >= perSecond {
		s.left++
		return left, false
	}
	s.written++
	return left, true
}

// left logs how many refusals with a code were left out.
func (r *Recorder) left(ctx context.Context, code problem.Code, n int) {
	if n > 0 {
		r.log.InfoContext(ctx, "refused handshakes left out of the log", "code", code.String(), "count", n)
	}
}

// Run writes, each second, how many refusals were left out of the log, until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		again := retry.Sleep(ctx, time.Second)
		now := time.Now().Unix()
		for code := problem.Code(1); int(code) < problem.Codes; code++ {
			r.mu.Lock()
			s := &r.samples[code]
			left := 0
			if !again || s.second != now {
				left, s.left = s.left, 0
			}
			r.mu.Unlock()
			r.left(ctx, code, left)
		}
		if !again {
			return nil
		}
	}
}
