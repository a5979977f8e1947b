package change_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// schema is that of a service whose state is a set of words.
var schema = sqldb.Schema{Service: "test", Parts: []sqldb.Part{
	change.Schema(),
	{Name: "words", Files: fstest.MapFS{"migrations/0001_words.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE word (text TEXT COLLATE \"C\" PRIMARY KEY);\n")}}},
}}

type (
	request  = backplanev1.WatchRoutesRequest
	response = backplanev1.WatchRoutesResponse
	server   = change.Server[request, response]
	follower = watch.Follower[request, response]
)

// newServer serves the words in the catalog's messages: the pieces of a snapshot
// have them as names of routes, an event adds one.
func newServer(l *change.Log) *server { return change.NewServer[request, response](l, words) }

func words(ctx context.Context, tx *sqldb.Tx, emit func(proto.Message)) error {
	rows, err := tx.QueryContext(ctx, `SELECT text FROM word ORDER BY text`)
	if err != nil {
		return err
	}
	defer rows.Close()
	b := change.NewBatch(func(routes []*backplanev1.Route) {
		emit(&backplanev1.RouteSnapshot{Routes: routes})
	})
	for rows.Next() {
		r := &backplanev1.Route{}
		if err := rows.Scan(&r.Name); err != nil {
			return err
		}
		b.Add(r)
	}
	b.Flush()
	return rows.Err()
}

// labelled is a word as the audit log names it.
type labelled string

// Label returns what users call the word.
func (l labelled) Label() string { return "word " + string(l) }

// addWord writes one word.
func addWord(ctx context.Context, l *change.Log, word string) (number uint64, err error) {
	err = l.Write(ctx, "add word", func(tx *change.Tx) (change.Record, error) {
		number = tx.Number
		_, err := tx.ExecContext(ctx, `INSERT INTO word (text) VALUES ($1)`, word)
		event := &backplanev1.RouteEvent{Routes: []*backplanev1.Route{{Name: word}}}
		return change.Record{Actor: "users/a", ActorLabel: "ann", Action: "AddWord", Resource: "words/" + word, After: labelled(word), Event: event}, err
	})
	return number, err
}

func mustAdd(t *testing.T, l *change.Log, word string) uint64 {
	t.Helper()
	n, err := addWord(t.Context(), l, word)
	if err != nil {
		t.Fatalf("add word %q: %v", word, err)
	}
	return n
}

// sink keeps the words that a follower receives, and checks that nothing comes
// twice or out of order.
type sink struct {
	mu     sync.Mutex
	number uint64
	words  []string
	resets int
	result watch.Result
	wrong  []string
}

func (s *sink) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*response) (watch.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number, s.words = at.Number, nil
	s.resets++
	for _, p := range pieces {
		for _, r := range p.GetSnapshot().GetRoutes() {
			s.words = append(s.words, r.GetName())
		}
	}
	return s.result, nil
}

func (s *sink) Apply(_ context.Context, at watch.At, c *response) (watch.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Number != s.number+1 {
		s.wrong = append(s.wrong, fmt.Sprintf("%d after %d", at.Number, s.number))
	}
	s.number = at.Number
	for _, r := range c.GetChange().GetEvent().GetRoutes() {
		s.words = append(s.words, r.GetName())
	}
	return s.result, nil
}

// state returns the words in order, how many snapshots there were and what came
// in the wrong order.
func (s *sink) state() (words []string, resets int, wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	words = slices.Clone(s.words)
	slices.Sort(words)
	return words, s.resets, s.wrong
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func hello() *backplanev1.Hello {
	return &backplanev1.Hello{Instance: "gateway-1", Kind: "gateway", Build: "v1", Address: "127.0.0.1:1", Features: []string{"a", "b"}}
}
