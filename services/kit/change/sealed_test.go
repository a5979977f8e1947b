package change_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// keyFile writes the keys of files that seal.Create made, in this order, to a file.
func keyFile(t *testing.T, of ...string) *seal.Key {
	t.Helper()
	var lines []byte
	for _, path := range of {
		line, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line...)
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := seal.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Events are stored sealed, each for its own change, and watchers get them as they
// were; a new key seals again what watchers may still ask for.
func TestEventsAreSealed(t *testing.T) {
	dir := t.TempDir()
	old, next := filepath.Join(dir, "old"), filepath.Join(dir, "next")
	for _, path := range []string{old, next} {
		if _, err := seal.Create(path); err != nil {
			t.Fatal(err)
		}
	}
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		sealed := func(key *seal.Key) *change.Log {
			l := change.NewLog("test", db, quiet(), time.Now, 0)
			l.SealEvents(key)
			return l
		}
		l := sealed(keyFile(t, old))
		w := attend(t, newServer(l), "")
		_, end := w.snapshot(t, backplanev1.Begin_RESET_NO_CURSOR)
		w.leave(t)
		words := []string{"hidden-a", "hidden-b", "hidden-c"}
		for _, word := range words {
			mustAdd(t, l, word)
		}
		stored := events(t, db)
		for i, event := range stored {
			if len(event) == 0 || bytes.Contains(event, []byte("hidden")) {
				t.Errorf("event %d is stored as %q", i+1, event)
			}
		}
		if _, err := sealed(keyFile(t, next)).ResealEvents(t.Context()); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("ResealEvents with another key = %v, want %v", err, seal.ErrOpen)
		}
		if n, err := sealed(keyFile(t, next, old)).ResealEvents(t.Context()); err != nil || n != len(words) {
			t.Errorf("ResealEvents = %d, %v, want %d", n, err, len(words))
		}
		again := events(t, db)
		last := sealed(keyFile(t, next))
		if n, err := last.ResealEvents(t.Context()); err != nil || n != 0 {
			t.Errorf("ResealEvents with the new key alone = %d, %v, want none", n, err)
		}
		if !slices.EqualFunc(again, events(t, db), bytes.Equal) || slices.EqualFunc(again, stored, bytes.Equal) {
			t.Error("events are not sealed again once")
		}
		w = attend(t, newServer(last), end.GetCursor())
		w.next()
		for _, word := range words {
			if got := w.next().GetChange().GetEvent().GetRoutes(); len(got) != 1 || got[0].GetName() != word {
				t.Errorf("a watch gets %v, want %s", got, word)
			}
		}
		w.leave(t)
	})
}

// events are the events of all changes, as they are stored.
func events(t *testing.T, db *sqldb.DB) [][]byte {
	t.Helper()
	all, err := sqldb.All(t.Context(), db, func(row sqldb.Row) (event []byte, err error) {
		err = row.Scan(&event)
		return event, err
	}, `SELECT events FROM change ORDER BY number`)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
