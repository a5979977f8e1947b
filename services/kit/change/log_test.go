package change_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestWriteNumbersWithoutGaps(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		logs := []*change.Log{
			change.NewLog("test", db, quiet(), time.Now, 0),
			change.NewLog("test", db, quiet(), time.Now, 0), // another replica
		}
		stop := errors.New("stop")
		var mu sync.Mutex
		seen := map[uint64]bool{}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 10 {
					n, err := addWord(t.Context(), logs[w%2], fmt.Sprintf("%d-%d", w, i))
					mu.Lock()
					if err != nil || n == 0 || seen[n] {
						t.Errorf("write %d-%d = %d, %v, want a new number", w, i, n, err)
					}
					seen[n] = true
					mu.Unlock()
					err = logs[w%2].Write(t.Context(), "write", func(*change.Tx) (change.Record, error) { return change.Record{}, stop })
					if !errors.Is(err, stop) {
						t.Errorf("write that fails = %v, want %v", err, stop)
					}
				}
			})
		}
		wg.Wait()
		head, err := change.Head(t.Context(), db)
		if err != nil || head != 40 || len(seen) != 40 {
			t.Errorf("Head = %d, %v after %d writes, want 40", head, err, len(seen))
		}
	})
}

// A write that skips commits what it has written, and leaves its number to the next
// write.
func TestWriteSkips(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		l := change.NewLog("test", db, quiet(), time.Now, 0)
		err := l.Write(t.Context(), "write", func(tx *change.Tx) (change.Record, error) {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO word (text) VALUES ('a')`)
			return change.Record{Skip: true}, err
		})
		if err != nil {
			t.Errorf("Write that skips = %v, want nil", err)
		}
		var words int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM word`).Scan(&words); err != nil || words != 1 {
			t.Errorf("words = %d, %v, want 1: what was written stays", words, err)
		}
		if head, err := change.Head(t.Context(), db); err != nil || head != 0 {
			t.Errorf("Head = %d, %v, want 0", head, err)
		}
		if n := mustAdd(t, l, "b"); n != 1 {
			t.Errorf("number of the next write = %d, want 1", n)
		}
	})
}

// What a write reads holds until its commit: each of 16 writers, on two replicas,
// adds a word unless it finds five.
func TestWritesFollowOneAnother(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		logs := []*change.Log{change.NewLog("test", db, quiet(), time.Now, 0), change.NewLog("test", db, quiet(), time.Now, 0)}
		full := errors.New("full")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				err := logs[i%2].Write(t.Context(), "write", func(tx *change.Tx) (change.Record, error) {
					var n int
					if err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM word`).Scan(&n); err != nil {
						return change.Record{}, err
					}
					if n >= 5 {
						return change.Record{}, full
					}
					_, err := tx.ExecContext(t.Context(), `INSERT INTO word (text) VALUES ($1)`, fmt.Sprint(i))
					return change.Record{}, err
				})
				if err != nil && !errors.Is(err, full) {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM word`).Scan(&n); err != nil || n != 5 {
			t.Errorf("words = %d, %v, want 5", n, err)
		}
	})
}

func TestListPages(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		c := newClock()
		l := change.NewLog("test", db, quiet(), c.now, 0)
		for i := range 5 {
			c.add(time.Second)
			mustAdd(t, l, fmt.Sprint(i))
		}
		var got []uint64
		var first *changev1.Change
		req, pages := &changev1.ListChangesRequest{Parent: "services/test", PageSize: 2}, 0
		for {
			resp, err := l.List(t.Context(), req)
			if err != nil {
				t.Fatalf("List: %v", err)
			}
			if pages == 0 {
				first = resp.GetChanges()[0]
			}
			for _, e := range resp.GetChanges() {
				got = append(got, e.GetChangeNumber())
			}
			pages++
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if want := []uint64{5, 4, 3, 2, 1}; !slices.Equal(got, want) || pages != 3 {
			t.Errorf("numbers = %v in %d pages, want %v in 3", got, pages, want)
		}
		want := &changev1.Change{
			Name: "services/test/changes/5", ChangeNumber: 5, Actor: "users/a", Action: "AddWord", Resource: "words/4",
			ActorDisplayName: "ann", ResourceDisplayName: "word 4",
			CreateTime: timestamppb.New(c.now()),
		}
		if diff := cmp.Diff(want, first, protocmp.Transform()); diff != "" {
			t.Errorf("newest entry (-want +got):\n%s", diff)
		}
		for _, bad := range []string{"x", "AAAA"} {
			if _, err := l.List(t.Context(), &changev1.ListChangesRequest{PageToken: bad}); !fault.Is(err, codes.InvalidArgument) {
				t.Errorf("List with token %q = %v, want INVALID_ARGUMENT", bad, err)
			}
		}
		if _, err := l.List(t.Context(), &changev1.ListChangesRequest{PageSize: -1}); !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("List of -1 = %v, want INVALID_ARGUMENT", err)
		}
	})
}

// A list has what its filter and its time range admit, whose end is not in it.
func TestListFilters(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		c := newClock()
		l := change.NewLog("test", db, quiet(), c.now, 0)
		at := map[int]*timestamppb.Timestamp{}
		for i := 1; i <= 5; i++ {
			c.add(time.Second)
			at[i] = timestamppb.New(c.now())
			mustAdd(t, l, fmt.Sprint(i))
		}
		for _, tt := range []struct {
			req  *changev1.ListChangesRequest
			want []uint64
		}{
			{&changev1.ListChangesRequest{StartTime: at[2], EndTime: at[4]}, []uint64{3, 2}},
			{&changev1.ListChangesRequest{StartTime: at[4]}, []uint64{5, 4}},
			{&changev1.ListChangesRequest{EndTime: at[2]}, []uint64{1}},
			{&changev1.ListChangesRequest{Filter: `resource = "words/3"`}, []uint64{3}},
			{&changev1.ListChangesRequest{Filter: `resource_display_name = "word 3"`}, []uint64{3}},
			{&changev1.ListChangesRequest{Filter: `actor = "users/a" AND action = "AddWord"`, StartTime: at[5]}, []uint64{5}},
			{&changev1.ListChangesRequest{Filter: `actor = "users/b"`}, nil},
			{&changev1.ListChangesRequest{Filter: `actor_display_name = "ann"`, EndTime: at[2]}, []uint64{1}},
			{&changev1.ListChangesRequest{Filter: `actor_display_name = "bob"`}, nil},
			{&changev1.ListChangesRequest{Filter: `action = "RemoveWord"`}, nil},
		} {
			resp, err := l.List(t.Context(), tt.req)
			var got []uint64
			for _, c := range resp.GetChanges() {
				got = append(got, c.GetChangeNumber())
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("List(%v) = %v, %v, want %v", tt.req, got, err, tt.want)
			}
		}
		for _, bad := range []*changev1.ListChangesRequest{
			{StartTime: at[2], EndTime: at[2]}, {StartTime: &timestamppb.Timestamp{Nanos: -1}}, {Filter: `who = "x"`},
		} {
			if _, err := l.List(t.Context(), bad); !fault.Is(err, codes.InvalidArgument) {
				t.Errorf("List(%v) = %v, want INVALID_ARGUMENT", bad, err)
			}
		}
	})
}

// Run purges what is older than it must keep, which is at least 7 days, and nothing
// where it keeps for ever.
func TestRunPurges(t *testing.T) {
	for _, tt := range []struct {
		keep time.Duration
		left int
	}{{time.Second, 2}, {20 * 24 * time.Hour, 3}, {0, 3}} {
		testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
			c := newClock()
			old := change.NewLog("test", db, quiet(), c.now, 0)
			for _, d := range []time.Duration{10 * 24 * time.Hour, 5 * 24 * time.Hour, 0} {
				mustAdd(t, old, d.String())
				c.add(d)
			}
			l := change.NewLog("test", db, quiet(), c.now, tt.keep)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- l.Run(ctx) }()
			eventually(t, func() error {
				resp, err := l.List(t.Context(), &changev1.ListChangesRequest{})
				if err != nil || len(resp.GetChanges()) != tt.left {
					return fmt.Errorf("changes = %d, %w, want %d", len(resp.GetChanges()), err, tt.left)
				}
				return nil
			})
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
}

// eventually waits for what another goroutine does, a minute at most.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	limit := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("after a minute: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // waits for real goroutines and files
	}
}

// secret is a context that must not be printed: whoever prints one reads what others may
// write at the same time.
type secret struct {
	context.Context
	t *testing.T
}

func (s secret) String() string {
	s.t.Error("the context is printed")
	return "secret"
}

// TestWriteOutsideACall writes where there is no gRPC call whose header could name the
// change.
func TestWriteOutsideACall(t *testing.T) {
	l := change.NewLog("test", testdb.SQLite(t, schema), quiet(), time.Now, 0)
	if n, err := addWord(secret{t.Context(), t}, l, "a"); n != 1 || err != nil {
		t.Errorf("Write = %d, %v, want 1", n, err)
	}
}

// The time of a change is later than that of every change before it: where the clock stands
// still or goes back, where a write skips, and where a backup is restored, which takes back
// numbers but not what time it is.
func TestTimesOfChangesOnlyRise(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		log := change.NewLog("test", db, quiet(), func() time.Time { return now }, 0)
		var last int64
		write := func(what string, skip bool) {
			t.Helper()
			var made moment.Moment
			err := log.Write(t.Context(), "write", func(tx *change.Tx) (change.Record, error) {
				made = tx.Moment
				return change.Record{Skip: skip, Resource: "words/x"}, nil
			})
			latest, err2 := change.Latest(t.Context(), db)
			if err != nil || err2 != nil || made.Time <= last || latest.Time != made.Time || !skip && latest.Change != made.Change {
				t.Errorf("%s: a change has the moment %v, after the time %d, and then the latest is %v: %v, %v", what, made, last, latest, err, err2)
			}
			last = made.Time
		}
		write("the first", false)
		if last != now.UnixMicro() {
			t.Errorf("the first change has the time %d, want that of the clock, %d", last, now.UnixMicro())
		}
		backup, err := change.Latest(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		write("the clock stands still", false)
		now = now.Add(-time.Hour)
		write("the clock goes back", false)
		write("a write that skips", true)
		write("a write after it", false)
		now = now.Add(2 * time.Hour)
		if _, err := db.ExecContext(t.Context(), `DELETE FROM change WHERE number > $1`, int64(backup.Change)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), `UPDATE change_counter SET n = $1, time_us = $2`, int64(backup.Change), backup.Time); err != nil {
			t.Fatal(err)
		}
		write("a restored backup", false)
	})
}
