package change_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// watcher is the watcher's end of a stream that a test plays by hand.
type watcher struct {
	ctx    context.Context
	cancel context.CancelFunc
	says   chan *request
	heard  chan *response
	result chan error
}

// attend makes s serve a watcher that has sent its hello.
func attend(t *testing.T, s *server, cursor string) *watcher {
	t.Helper()
	h := hello()
	h.Cursor = cursor
	return attendAs(t, s, h)
}

func attendAs(t *testing.T, s *server, h *backplanev1.Hello) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{ctx: ctx, cancel: cancel, says: make(chan *request), heard: make(chan *response), result: make(chan error, 1)}
	go func() {
		defer cancel() // as gRPC does when a handler returns
		w.result <- s.Serve(w)
	}()
	w.says <- &request{Body: &backplanev1.WatchRoutesRequest_Hello{Hello: h}}
	return w
}

// Context returns the stream's context.
func (w *watcher) Context() context.Context { return w.ctx }

// Recv returns what the watcher sends.
func (w *watcher) Recv() (*request, error) {
	select {
	case r, ok := <-w.says:
		if !ok {
			return nil, io.EOF
		}
		return r, nil
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

// Send takes what the watcher receives.
func (w *watcher) Send(r *response) error {
	select {
	case w.heard <- r:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (w *watcher) ack(a *backplanev1.Ack) {
	w.says <- &request{Body: &backplanev1.WatchRoutesRequest_Ack{Ack: a}}
}

// next receives the next message that is not a heartbeat.
func (w *watcher) next() *response {
	for {
		if r := <-w.heard; r.GetHeartbeat() == nil {
			return r
		}
	}
}

// snapshot receives a whole snapshot and returns its words and its end.
func (w *watcher) snapshot(t *testing.T, reset backplanev1.Begin_Reset) ([]string, *backplanev1.SnapshotEnd) {
	t.Helper()
	if b := w.next().GetBegin(); b.GetReset_() != reset {
		t.Fatalf("begin = %v, want %v", b, reset)
	}
	var words []string
	for {
		r := w.next()
		if end := r.GetSnapshotEnd(); end != nil {
			return words, end
		}
		for _, route := range r.GetSnapshot().GetRoutes() {
			words = append(words, route.GetName())
		}
	}
}

// leave ends the watch from the watcher's side.
func (w *watcher) leave(t *testing.T) {
	t.Helper()
	close(w.says)
	for {
		select {
		case <-w.heard:
		case err := <-w.result:
			if err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
			return
		}
	}
}

func TestServerDecidesWhereToResume(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		c := newClock()
		l := change.NewLog("test", db, quiet(), c.now, 30*24*time.Hour)
		s := newServer(l)
		mustAdd(t, l, "a")
		c.add(8 * 24 * time.Hour)
		mustAdd(t, l, "b")
		mustAdd(t, l, "c")

		w := attend(t, s, "")
		words, end := w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		if !slices.Equal(words, []string{"a", "b", "c"}) || end.GetAsOfChangeNumber() != 3 {
			t.Errorf("snapshot = %v up to %d, want a b c up to 3", words, end.GetAsOfChangeNumber())
		}
		c.add(time.Second)
		mustAdd(t, l, "d")
		ch := w.next().GetChange()
		if ch.GetPosition().GetChangeNumber() != 4 || ch.GetEvent().GetRoutes()[0].GetName() != "d" || !ch.GetPosition().GetCreateTime().AsTime().Equal(c.now()) {
			t.Errorf("change = %v, want 4, d, %v", ch, c.now())
		}
		cursors := []string{end.GetCursor(), ch.GetPosition().GetCursor()}
		w.leave(t)

		epoch, tail, _ := strings.Cut(cursors[0], ":")
		for _, tt := range []struct {
			name, since string
			want        backplanev1.Begin_Reset
		}{
			{"the newest", cursors[1], backplanev1.Begin_RESET_UNSPECIFIED},
			{"one behind", cursors[0], backplanev1.Begin_RESET_UNSPECIFIED},
			{"two behind, time not known", epoch + ":2:0", backplanev1.Begin_RESET_UNSPECIFIED},
			{"the next is old enough", epoch + ":1:0", backplanev1.Begin_RESET_UNSPECIFIED},
			{"the next is too old", epoch + ":0:0", backplanev1.Begin_RESET_TOO_OLD},
			{"ahead", epoch + ":5:0", backplanev1.Begin_RESET_AHEAD},
			{"another epoch", "x:" + tail, backplanev1.Begin_RESET_EPOCH},
			{"another history", epoch + ":3:1", backplanev1.Begin_RESET_EPOCH},
			{"nonsense", "nonsense", backplanev1.Begin_RESET_EPOCH},
			{"a number that is none", epoch + ":-1:0", backplanev1.Begin_RESET_EPOCH},
			{"a number that is too large", epoch + ":18446744073709551615:0", backplanev1.Begin_RESET_EPOCH},
		} {
			w := attend(t, s, tt.since)
			if b := w.next().GetBegin(); b == nil || b.GetReset_() != tt.want {
				t.Errorf("%s: begin = %v, want %v", tt.name, b, tt.want)
			}
			if tt.want == backplanev1.Begin_RESET_UNSPECIFIED && tt.since != cursors[1] {
				if n := w.next().GetChange().GetPosition().GetChangeNumber(); fmt.Sprintf("%s:%d", epoch, n-1) != tt.since[:len(epoch)+2] {
					t.Errorf("%s: resumes with %d", tt.name, n)
				}
			}
			w.leave(t)
		}
	})
}

// A database that was restored to an earlier state and then continued has another
// history with the same numbers.
func TestServerKnowsARestoredHistory(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		c := newClock()
		l := change.NewLog("test", db, quiet(), c.now, time.Second)
		mustAdd(t, l, "a")
		mustAdd(t, l, "b")
		w := attend(t, newServer(l), "")
		_, end := w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		w.leave(t)
		for _, statement := range []string{
			`DELETE FROM change WHERE number = 2`, `DELETE FROM word WHERE text = 'b'`, `UPDATE change_counter SET n = 1`,
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		c.add(time.Minute)
		restored := change.NewLog("test", db, quiet(), c.now, time.Second)
		mustAdd(t, restored, "x")
		mustAdd(t, restored, "y")
		w = attend(t, newServer(restored), end.GetCursor())
		if words, _ := w.snapshot(t, backplanev1.Begin_RESET_EPOCH); !slices.Equal(words, []string{"a", "x", "y"}) {
			t.Errorf("words = %v, want a x y", words)
		}
		w.leave(t)
	})
}

// bubble runs a test on SQLite in fake time.
func bubble(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	path := filepath.Join(t.TempDir(), "test.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqldb.Open(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := sqldb.Migrate(t.Context(), db, schema); err != nil {
			t.Fatal(err)
		}
		test(t, db)
	})
}

func TestServerBeatsWhileNothingHappens(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		mustAdd(t, l, "a")
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		for range 3 {
			began := time.Now()
			h := (<-w.heard).GetHeartbeat()
			if h.GetHeadChangeNumber() != 1 || !h.GetTime().AsTime().Equal(time.Now()) || time.Since(began) != watch.Heartbeat {
				t.Errorf("heartbeat = %v after %v, want head 1 after %v", h, time.Since(began), watch.Heartbeat)
			}
		}
		w.leave(t)
	})
}

// A snapshot that takes long to read does not make the service silent.
func TestServerBeatsWhileItReads(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		s := change.NewServer[request, response](change.NewLog("test", db, quiet(), time.Now, 0), func(context.Context, *sqldb.Tx, func(proto.Message)) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		w := attend(t, s, "")
		if (<-w.heard).GetBegin() == nil || (<-w.heard).GetHeartbeat() == nil || (<-w.heard).GetHeartbeat() == nil || (<-w.heard).GetSnapshotEnd() == nil {
			t.Error("want begin, two heartbeats, the end of the snapshot")
		}
		w.leave(t)
	})
}

// A watch whose changes cannot be read ends, so that its watcher knows; the failure
// is logged once.
func TestServerEndsWithoutItsDatabase(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		var log bytes.Buffer
		l := change.NewLog("test", db, slog.New(slog.NewTextHandler(&log, nil)), time.Now, 0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		synctest.Wait() // until the watch waits for changes
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-w.result; !fault.Is(err, codes.Unavailable) || time.Since(began) > watch.Heartbeat {
			t.Errorf("Serve = %v after %v, want UNAVAILABLE within %v", err, time.Since(began), watch.Heartbeat)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if n := strings.Count(log.String(), `msg="changes cannot be looked for"`); n != 1 {
			t.Errorf("the log has %d lines, want one:\n%s", n, log.String())
		}
	})
}

// A database that takes no writes makes few lines, though each ack of a watcher is a
// write that fails.
func TestReadOnlyDatabaseIsLoggedRarely(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		var log bytes.Buffer
		l := change.NewLog("test", db, slog.New(slog.NewTextHandler(&log, nil)), time.Now, 0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		synctest.Wait()
		if _, err := db.ExecContext(t.Context(), `PRAGMA query_only = 1`); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < 15*time.Minute; {
			<-w.heard // a heartbeat every 2 s
			w.ack(&backplanev1.Ack{})
		}
		for _, line := range []string{"watchers are not recorded", "dead watchers are not forgotten"} {
			if n := strings.Count(log.String(), line); n != 2 {
				t.Errorf("%q is logged %d times in 15 minutes, want 2:\n%s", line, n, log.String())
			}
		}
		if _, err := db.ExecContext(t.Context(), `PRAGMA query_only = 0`); err != nil {
			t.Fatal(err)
		}
		for range 8 { // until the next sweep, every 10 s
			<-w.heard
			w.ack(&backplanev1.Ack{})
		}
		if n := strings.Count(log.String(), "works again"); n != 2 {
			t.Errorf("%d lines say that it works again, want 2:\n%s", n, log.String())
		}
		w.leave(t)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestServerEndsWithTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		cancel()
		if err := <-w.result; !fault.Is(err, codes.Unavailable) {
			t.Errorf("Serve = %v, want UNAVAILABLE", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestServerReportsAFailedSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		broken := errors.New("broken")
		s := change.NewServer[request, response](change.NewLog("test", db, quiet(), time.Now, 0), func(context.Context, *sqldb.Tx, func(proto.Message)) error {
			return broken
		})
		w := attend(t, s, "")
		<-w.heard
		if err := <-w.result; !errors.Is(err, broken) {
			t.Errorf("Serve = %v, want %v", err, broken)
		}
	})
}

// A watcher that is not heard for 6 s is not waited for, one that has left is not
// connected, and one not heard for 7 days is deleted.
func TestWatchersAge(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		w.ack(&backplanev1.Ack{})
		go func() {
			for {
				select {
				case <-w.heard: // it receives and sends nothing
				case <-ctx.Done():
					return
				}
			}
		}()
		n := mustAdd(t, l, "a")
		began := time.Now()
		applied, waiting, err := l.WaitApplied(t.Context(), n)
		if applied || !slices.Equal(waiting, []string{"gateway-1"}) || err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("WaitApplied = %v, %v, %v after %v, want false, gateway-1 after 5 s", applied, waiting, err, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if applied, _, err = l.WaitApplied(t.Context(), n); !applied || err != nil {
			t.Errorf("WaitApplied after 7 s of silence = %v, %v, want true", applied, err)
		}
		ws, err := l.Watchers(t.Context())
		if err != nil || len(ws) != 1 || ws[0].GetConnected() {
			t.Errorf("Watchers = %v, %v, want one that is not connected", ws, err)
		}
		w.ack(&backplanev1.Ack{AppliedChangeNumber: n})
		synctest.Wait()
		if ws, err = l.Watchers(t.Context()); err != nil || len(ws) != 1 || !ws[0].GetConnected() || ws[0].GetAppliedChangeNumber() != n {
			t.Errorf("Watchers = %v, %v, want one that is connected", ws, err)
		}
		cancel()
		if err := <-w.result; !fault.Is(err, codes.Unavailable) {
			t.Errorf("Serve = %v, want UNAVAILABLE", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if ws, err = l.Watchers(t.Context()); err != nil || len(ws) != 1 || ws[0].GetConnected() {
			t.Errorf("Watchers = %v, %v, want one that is not connected", ws, err)
		}
		// For 30 s the gateway may only be cut off from this service.
		for _, want := range []int{1, 0} {
			if ws, err = l.Gateways(t.Context()); err != nil || len(ws) != want {
				t.Errorf("Gateways = %v, %v, want %d", ws, err, want)
			}
			time.Sleep(31 * time.Second)
		}
		time.Sleep(8 * 24 * time.Hour)
		if ws, err = l.Watchers(t.Context()); err != nil || len(ws) != 0 {
			t.Errorf("Watchers = %v, %v, want none", ws, err)
		}
	})
}

// A watcher that is no gateway is not waited for, but listed.
func TestOnlyGatewaysAreWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		s := newServer(l)
		n := mustAdd(t, l, "a")
		other := attendAs(t, s, &backplanev1.Hello{Instance: "subscription-1", Kind: "subscription"})
		other.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		began := time.Now()
		applied, waiting, err := l.WaitApplied(t.Context(), n)
		if !applied || waiting != nil || err != nil || time.Since(began) != 0 {
			t.Errorf("WaitApplied = %v, %v, %v after %v, want true at once", applied, waiting, err, time.Since(began))
		}
		ws, err := l.Watchers(t.Context())
		if err != nil || len(ws) != 1 || ws[0].GetKind() != "subscription" || !ws[0].GetConnected() || ws[0].GetAppliedChangeNumber() != 0 {
			t.Errorf("Watchers = %v, %v, want one that has applied nothing", ws, err)
		}
		other.leave(t)
	})
}

// A watcher's failure is shown until it acknowledges a later change, although its
// answers to heartbeats do not repeat it.
func TestFailureStays(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		mustAdd(t, l, "a")
		mustAdd(t, l, "b")
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		for _, tt := range []struct {
			number     uint64
			says, want string
		}{{1, "no", "no"}, {1, "", "no"}, {1, "not at all", "not at all"}, {1, "", "not at all"}, {2, "", ""}, {2, "late", "late"}} {
			w.ack(&backplanev1.Ack{AppliedChangeNumber: tt.number, Failure: tt.says})
			time.Sleep(time.Second) // of fake time, until it is written
			ws, err := l.Watchers(t.Context())
			if err != nil || len(ws) != 1 || ws[0].GetFailure() != tt.want {
				t.Errorf("Watchers after %d, %q = %v, %v, want the failure %q", tt.number, tt.says, ws, err, tt.want)
			}
		}
		w.leave(t)
	})
}

// Frequent acknowledgements are written at most every 100 ms, and none is lost.
func TestAcksAreWrittenTogether(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		for i := range 20 {
			mustAdd(t, l, fmt.Sprint(i))
		}
		w := attend(t, newServer(l), "")
		w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		began := time.Now()
		for i := range uint64(20) {
			w.ack(&backplanev1.Ack{AppliedChangeNumber: i + 1, SessionsClosed: 1})
		}
		if applied, _, err := l.WaitApplied(t.Context(), 20); !applied || err != nil || time.Since(began) > 200*time.Millisecond {
			t.Errorf("WaitApplied = %v, %v after %v, want true within 200 ms", applied, err, time.Since(began))
		}
		ws, err := l.Watchers(t.Context())
		if err != nil || ws[0].GetSessionsClosed() != 20 {
			t.Errorf("Watchers = %v, %v, want 20 sessions closed", ws, err)
		}
		w.leave(t)
	})
}

// A newer stream of an instance takes its row over; the end of the older stream
// does not touch the row.
func TestNewerStreamOwnsTheRow(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		s := newServer(l)
		old := attend(t, s, "")
		old.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		fresh := attend(t, s, "")
		fresh.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		old.leave(t)
		ws, err := l.Watchers(t.Context())
		if err != nil || len(ws) != 1 || !ws[0].GetConnected() {
			t.Errorf("Watchers = %v, %v, want one that is connected", ws, err)
		}
		fresh.leave(t)
	})
}
