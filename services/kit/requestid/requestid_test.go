package requestid_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// schema is that of a service whose state is a list of words.
var schema = sqldb.Schema{Service: "test", Parts: []sqldb.Part{
	change.Schema(), requestid.Schema(),
	{Name: "words", Files: fstest.MapFS{"migrations/0001_words.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE word (id TEXT COLLATE \"C\" PRIMARY KEY);\n")}}},
}}

// uuid is that of most requests.
const uuid = "0f5f3a52-51fe-4d0a-9f0b-6f3c1b1d2e3f"

// words is a service that makes words.
type words struct {
	t      *testing.T
	db     *sqldb.DB
	log    *change.Log
	signer *identitytest.Signer
	mu     sync.Mutex
	clock  time.Time
}

func each(t *testing.T, test func(t *testing.T, w *words)) {
	t.Helper()
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		w := &words{t: t, db: db, signer: identitytest.New(t), clock: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
		w.log = change.NewLog("test", db, slog.New(slog.DiscardHandler), w.now, 0)
		test(t, w)
	})
}

func (w *words) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *words) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// by returns the context of a call of a user, or of nobody.
func (w *words) by(user string) context.Context {
	w.t.Helper()
	ctx, method := w.t.Context(), "/words/Create"
	if user != "" {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+w.signer.Token(user)))
	}
	guard := identity.Guard{Verifier: w.signer.Verifier(), Rules: identity.Rules{method: {Open: user == ""}}}
	got, err := guard.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) { return ctx, nil })
	if err != nil {
		w.t.Fatalf("a call of %q: %v", user, err)
	}
	return got.(context.Context)
}

// request asks for a word.
func request(uuid, text string) *catalogv1.CreateApiRequest {
	return &catalogv1.CreateApiRequest{RequestId: uuid, Api: &catalogv1.Api{DisplayName: text}}
}

// create makes a word with an id, which it returns, once for the request.
func (w *words) create(ctx context.Context, id string, req requestid.Message) (made string, err error) {
	again := func(tx *change.Tx, resource string) error {
		made = strings.TrimPrefix(resource, "words/")
		exists, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM word WHERE id = $1)`, made)
		if err == nil && !exists {
			err = fault.NotFound("%s", resource)
		}
		return err
	}
	err = w.log.Write(ctx, "create word", requestid.Of(ctx, req).Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		made = id
		_, err := tx.ExecContext(ctx, `INSERT INTO word (id) VALUES ($1)`, id)
		return change.Record{Resource: "words/" + id}, err
	}))
	return made, err
}

func (w *words) count(table string) (n int) {
	w.t.Helper()
	if err := w.db.QueryRowContext(w.t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestOnce(t *testing.T) {
	each(t, func(t *testing.T, w *words) {
		ann, bob, nobody := w.by("ann"), w.by("bob"), w.by("")
		want := func(ctx context.Context, who, id string, req requestid.Message, want string) {
			t.Helper()
			if got, err := w.create(ctx, id, req); err != nil || got != want {
				t.Errorf("create %s for %s with %v = %q, %v, want %q", id, who, req, got, err, want)
			}
		}
		refused := func(id string, req requestid.Message, code codes.Code, message string) {
			t.Helper()
			if _, err := w.create(ann, id, req); !fault.Is(err, code) || !strings.Contains(err.Error(), message) {
				t.Errorf("create %s with %v: %v, want %v: %s", id, req, err, code, message)
			}
		}
		want(ann, "ann", "1", request(uuid, "hi"), "1")
		want(ann, "ann again", "2", request(uuid, "hi"), "1")
		want(ann, "ann in capitals", "2", request(strings.ToUpper(uuid), "hi"), "1")
		refused("2", request(uuid, "ho"), codes.InvalidArgument, "request_id: was sent with another request within the last hour: must be a new UUID")
		refused("2", &catalogv1.CreatePlanRequest{RequestId: uuid}, codes.InvalidArgument, "request_id: ")
		want(bob, "bob", "2", request(uuid, "hi"), "2")
		want(ann, "ann without one", "3", request("", "hi"), "3")
		want(nobody, "nobody", "4", request(uuid, "hi"), "4")
		want(nobody, "nobody again", "5", request(uuid, "hi"), "5")
		if words, changes := w.count("word"), w.count("change"); words != 5 || changes != 5 {
			t.Errorf("%d words by %d changes, want 5 by 5", words, changes)
		}

		// What failed is not kept.
		other := "7d1c0a55-0d1e-4d59-a8a4-6a3f0d1c2b3a"
		if _, err := w.create(ann, "1", request(other, "hi")); !sqldb.IsUnique(err) {
			t.Errorf("create 1 again: %v, want that it exists", err)
		}
		want(ann, "ann after a failure", "6", request(other, "hi"), "6")
		if _, err := w.db.ExecContext(t.Context(), `DELETE FROM word WHERE id = '6'`); err != nil {
			t.Fatal(err)
		}
		refused("7", request(other, "hi"), codes.NotFound, "words/6 not found")

		// After an hour all are forgotten, and the next one clears them away.
		w.pass(requestid.Keep - time.Microsecond)
		want(ann, "ann just within an hour", "8", request(uuid, "hi"), "1")
		w.pass(time.Microsecond)
		want(ann, "ann after an hour", "8", request(uuid, "ho"), "8")
		if n := w.count("request"); n != 1 {
			t.Errorf("%d requests are kept, want the newest", n)
		}
	})
}

// TestSimultaneous has one thing made of requests that are sent at once.
func TestSimultaneous(t *testing.T) {
	each(t, func(t *testing.T, w *words) {
		const callers = 16
		ann, start := w.by("ann"), make(chan struct{})
		ids, errs := make([]string, callers), make([]error, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				<-start
				ids[i], errs[i] = w.create(ann, fmt.Sprint(i), request(uuid, "hi"))
			})
		}
		close(start)
		all.Wait()
		must(t, errors.Join(errs...))
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("simultaneous calls made %v, want one", ids)
			}
		}
		if n := w.count("word"); n != 1 {
			t.Errorf("%d words, want 1", n)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
