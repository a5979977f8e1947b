package refusal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// counting is a Sink that counts.
type counting int

func (c *counting) Refused(*Refusal) { *c++ }

func refused(ref string, code problem.Code) *Refusal {
	return &Refusal{
		Ref: ref, Problem: &problem.Problem{Status: 503, Code: code, Detail: "no"}, At: time.Now(),
		Route: &session.Route{API: "apis/a", Version: "apis/a/versions/1"}, From: netip.MustParseAddrPort("192.0.2.1:4"), Err: errors.New("why"),
	}
}

func newRecorder(level slog.Level) (r *Recorder, reg *prometheus.Registry, records *counting, log *bytes.Buffer) {
	reg, records, log = prometheus.NewRegistry(), new(counting), new(bytes.Buffer)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	return New(metrics.New(reg), records, slog.New(slog.NewTextHandler(log, options))), reg, records, log
}

// TestARefusalIsNoted: at the log's default level, with its ref; in metrics by code; and
// as a record.
func TestARefusalIsNoted(t *testing.T) {
	r, reg, records, log := newRecorder(slog.LevelInfo)
	r.Note(t.Context(), refused("ref1", problem.VersionBusy))
	want := `level=INFO msg="handshake refused" ref=ref1 client=192.0.2.1:4 version=apis/a/versions/1 status=503 code=VERSION_BUSY error=why` + "\n"
	if log.String() != want || *records != 1 {
		t.Errorf("the log is %q, and there are %d records, want %q and 1", log, *records, want)
	}
	metric := `
		# HELP tidegate_handshakes_refused_total Handshakes and plain requests refused, by the code of the answer.
		# TYPE tidegate_handshakes_refused_total counter
		tidegate_handshakes_refused_total{code="VERSION_BUSY"} 1
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(metric), "tidegate_handshakes_refused_total"); err != nil {
		t.Error(err)
	}
	f := refused("ref2", problem.NotFound)
	f.Err, f.Route = nil, nil
	log.Reset()
	r.Note(t.Context(), f)
	if !strings.Contains(log.String(), `version="" status=503 code=NOT_FOUND error="503 NOT_FOUND: no"`) {
		t.Errorf("the log is %q, want the answer as the error", log)
	}
}

// TestAFloodIsSampled: of a code, the first ten of a second are logged, and then how many
// were not; another code is logged beside it, and all have records.
func TestAFloodIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, records, log := newRecorder(slog.LevelInfo)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for i := range 50 {
			r.Note(ctx, refused(fmt.Sprint("ref", i), problem.VersionBusy))
		}
		r.Note(ctx, refused("other", problem.SessionsFull))
		if n := strings.Count(log.String(), "code=VERSION_BUSY"); n != perSecond || !strings.Contains(log.String(), "ref=other") || *records != 51 {
			t.Errorf("%d of 50 are logged, %d records:\n%s", n, *records, log)
		}
		log.Reset()
		time.Sleep(time.Second)
		r.Note(ctx, refused("later", problem.VersionBusy))
		left := `level=INFO msg="refused handshakes left out of the log" code=VERSION_BUSY count=40` + "\n"
		if !strings.HasPrefix(log.String(), left) || !strings.Contains(log.String(), "ref=later") {
			t.Errorf("a second later the log is %q, want the number first", log)
		}
		for range 20 {
			r.Note(ctx, refused("last", problem.VersionBusy))
		}
		log.Reset()
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if want := strings.Replace(left, "40", "11", 1); log.String() != want {
			t.Errorf("without another refusal the log is %q, want %q", log, want)
		}
		for range 12 {
			r.Note(ctx, refused("end", problem.VersionBusy))
		}
		stop()
		if err := <-done; err != nil || !strings.HasSuffix(log.String(), strings.Replace(left, "40", "2", 1)) {
			t.Errorf("Run = %v, and at the end the log is %q, want what was left out", err, log)
		}
	})
}

// TestAFloodAllocatesNothing: what is neither logged nor kept costs no memory.
func TestAFloodAllocatesNothing(t *testing.T) {
	r, _, _, _ := newRecorder(slog.LevelError)
	f := refused("ref", problem.VersionBusy)
	for range perSecond {
		r.Note(t.Context(), f)
	}
	if n := testing.AllocsPerRun(100, func() { r.Note(t.Context(), f) }); n > 2 {
		t.Errorf("a refusal allocates %v times, want the labels of two metrics at most", n)
	}
}
