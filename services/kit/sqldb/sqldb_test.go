package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tables = `-- +goose Up
CREATE TABLE parent (id TEXT COLLATE "C" PRIMARY KEY, n BIGINT NOT NULL UNIQUE, b BYTEA, ok BOOLEAN NOT NULL DEFAULT TRUE);
CREATE TABLE child (id TEXT PRIMARY KEY, parent TEXT COLLATE "C" NOT NULL REFERENCES parent (id));
-- +goose Down
DROP TABLE child;
DROP TABLE parent;
`

var schema = schemaOf(step{"0001_tables.sql", tables})

// step is a step of a migration.
type step struct{ name, text string }

// schemaOf returns the schema of a service with one part of these steps.
func schemaOf(steps ...step) sqldb.Schema {
	return sqldb.Schema{Service: "test", Parts: []sqldb.Part{partOf("test", steps...)}}
}

func partOf(name string, steps ...step) sqldb.Part {
	files := fstest.MapFS{}
	for _, s := range steps {
		files["migrations/"+s.name] = &fstest.MapFile{Data: []byte(s.text)}
	}
	return sqldb.Part{Name: name, Files: files}
}

func add(ctx context.Context, q sqldb.Querier, id string, n int64) error {
	_, err := q.ExecContext(ctx, `INSERT INTO parent (id, n) VALUES ($1, $2)`, id, n)
	return err
}

func count(t *testing.T, q sqldb.Querier) int64 {
	t.Helper()
	var n int64
	if err := q.QueryRowContext(t.Context(), `SELECT count(*) FROM parent`).Scan(&n); err != nil {
		t.Fatalf("count: %v", err)
	}
	return n
}

func TestInTx(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		stop := errors.New("stop")
		err := db.InTx(ctx, func(tx *sqldb.Tx) error {
			if err := add(ctx, tx, "a", 1); err != nil {
				return err
			}
			return stop
		})
		if !errors.Is(err, stop) || count(t, db) != 0 {
			t.Errorf("InTx that fails = %v with %d rows, want %v with 0", err, count(t, db), stop)
		}
		if err := db.InTx(ctx, func(tx *sqldb.Tx) error { return add(ctx, tx, "a", 1) }); err != nil || count(t, db) != 1 {
			t.Errorf("InTx = %v with %d rows, want nil with 1", err, count(t, db))
		}
		func() {
			defer func() { _ = recover() }() // the panic is the test's own
			_ = db.InTx(ctx, func(tx *sqldb.Tx) error {
				if err := add(ctx, tx, "b", 2); err != nil {
					return err
				}
				panic("stop")
			})
		}()
		if n := count(t, db); n != 1 {
			t.Errorf("after a panic: %d rows, want 1", n)
		}
	})
}

// After a failed statement a transaction is lost on both engines, even if the
// function ignores the error.
func TestTxIsLostAfterAnError(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := add(ctx, db, "a", 1); err != nil {
			t.Fatal(err)
		}
		err := db.InTx(ctx, func(tx *sqldb.Tx) error {
			if err := add(ctx, tx, "b", 2); err != nil {
				return err
			}
			if err := add(ctx, tx, "a", 3); !sqldb.IsUnique(err) {
				t.Errorf("second a: %v, want a unique violation", err)
			}
			if err := add(ctx, tx, "c", 4); err == nil {
				t.Error("statement after a failed one: nil, want an error")
			}
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM parent`).Scan(&n); err == nil {
				t.Error("query after a failed statement: nil, want an error")
			}
			return nil
		})
		if err == nil || count(t, db) != 1 {
			t.Errorf("InTx = %v with %d rows, want an error with 1", err, count(t, db))
		}
		if err := add(ctx, db, "d", 5); err != nil {
			t.Errorf("the connection after a lost transaction: %v", err)
		}
	})
}

func TestTxRefusesAStatementWhileRowsAreOpen(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		for i := range int64(3) {
			if err := add(ctx, db, fmt.Sprint(i), i); err != nil {
				t.Fatal(err)
			}
		}
		err := db.InTx(ctx, func(tx *sqldb.Tx) error {
			rows, err := tx.QueryContext(ctx, `SELECT id FROM parent ORDER BY id`)
			if err != nil {
				return err
			}
			defer rows.Close()
			rows.Next()
			if err := add(ctx, tx, "x", 9); err == nil {
				t.Error("insert while rows are open: nil, want an error")
			}
			return errors.Join(rows.Err(), rows.Close())
		})
		if err == nil {
			t.Error("InTx after a refused statement: nil, want an error")
		}
		err = db.InTx(ctx, func(tx *sqldb.Tx) error {
			rows, err := tx.QueryContext(ctx, `SELECT id FROM parent ORDER BY id`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			if err := rows.Err(); err != nil {
				return err
			}
			return add(ctx, tx, "y", 10)
		})
		if err != nil {
			t.Errorf("insert after all rows were read: %v", err)
		}
	})
}

func TestKindsOfErrors(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := add(ctx, db, "a", 1); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(ctx, `INSERT INTO child (id, parent) VALUES ('c', 'a')`); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			statement       string
			unique, foreign bool
		}{
			{`INSERT INTO parent (id, n) VALUES ('a', 2)`, true, false},
			{`INSERT INTO parent (id, n) VALUES ('b', 1)`, true, false},
			{`INSERT INTO child (id, parent) VALUES ('d', 'zz')`, false, true},
			{`DELETE FROM parent WHERE id = 'a'`, false, true},
			{`INSERT INTO parent (id) VALUES ('b')`, false, false},
			{`SELECT "nothing" FROM parent`, false, false},
		} {
			_, err := db.ExecContext(ctx, tt.statement)
			if err == nil || sqldb.IsUnique(err) != tt.unique || sqldb.IsForeignKey(err) != tt.foreign {
				t.Errorf("%s: %v, IsUnique = %v, IsForeignKey = %v", tt.statement, err, sqldb.IsUnique(err), sqldb.IsForeignKey(err))
			}
		}
	})
}

// Values that one engine would refuse are refused on both.
func TestValuesAreRefusedAlike(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		for name, v := range map[string][2]any{
			"time for BIGINT": {"a", time.Now()},
			"NUL in TEXT":     {"a\x00b", int64(1)},
			"bad UTF-8":       {"a\xff", int64(2)},
		} {
			if _, err := db.ExecContext(t.Context(), `INSERT INTO parent (id, n) VALUES ($1, $2)`, v[0], v[1]); err == nil {
				t.Errorf("%s: stored, want an error", name)
			}
		}
	})
}

func TestTextIsOrderedByBytes(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		for i, id := range []string{"b", "B", "ä", "a", "Z", "_"} {
			if err := add(t.Context(), db, id, int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := db.QueryContext(t.Context(), `SELECT id FROM parent ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got string
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			got += id
		}
		if rows.Err() != nil || got != "BZ_abä" {
			t.Errorf("order = %q, %v, want %q", got, rows.Err(), "BZ_abä")
		}
	})
}

func TestInReadTxSeesOneState(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		err := db.InReadTx(ctx, func(tx *sqldb.Tx) error {
			before := count(t, tx)
			if err := add(ctx, db, "a", 1); err != nil {
				return err
			}
			if after := count(t, tx); after != before {
				t.Errorf("count = %d, then %d in the same transaction", before, after)
			}
			return nil
		})
		if err != nil {
			t.Errorf("InReadTx: %v", err)
		}
		err = db.InReadTx(ctx, func(tx *sqldb.Tx) error { return add(ctx, tx, "b", 2) })
		if err == nil {
			t.Error("a write in InReadTx: nil, want an error")
		}
		if n := count(t, db); n != 1 {
			t.Errorf("rows = %d, want 1", n)
		}
	})
}

// Two handles stand for two replicas.
func TestCountersDoNotLoseUpdates(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := add(ctx, db, "a", 0); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		seen := map[int64]bool{}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 5 {
					err := db.InTx(ctx, func(tx *sqldb.Tx) error {
						var n int64
						if err := tx.QueryRowContext(ctx, `UPDATE parent SET n = n + 1 WHERE id = 'a' RETURNING n`).Scan(&n); err != nil {
							return err
						}
						mu.Lock()
						defer mu.Unlock()
						seen[n] = true
						return nil
					})
					if err != nil {
						t.Errorf("InTx: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if len(seen) != 40 {
			t.Errorf("distinct numbers = %d, want 40", len(seen))
		}
	})
}

// Two transactions that take two rows in opposite order deadlock on Postgres
// (SQLite has one writer); InTx runs the victim again.
func TestInTxRunsADeadlockAgain(t *testing.T) {
	db := testdb.Postgres(t, schema)
	ctx := t.Context()
	for i, id := range []string{"a", "b"} {
		if err := add(ctx, db, id, int64(i*100)); err != nil {
			t.Fatal(err)
		}
	}
	var both sync.WaitGroup
	both.Add(2)
	runs := make(chan string, 10)
	take := func(first, second string) error {
		waited := false
		return db.InTx(ctx, func(tx *sqldb.Tx) error {
			runs <- first
			if _, err := tx.ExecContext(ctx, `UPDATE parent SET n = n + 1 WHERE id = $1`, first); err != nil {
				return err
			}
			if !waited {
				waited = true
				both.Done()
				both.Wait()
			}
			_, err := tx.ExecContext(ctx, `UPDATE parent SET n = n + 1 WHERE id = $1`, second)
			return err
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- take("a", "b") }()
	go func() { errs <- take("b", "a") }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("InTx: %v", err)
		}
	}
	var a, b int64
	err := db.QueryRowContext(ctx, `SELECT x.n, y.n FROM parent x, parent y WHERE x.id = 'a' AND y.id = 'b'`).Scan(&a, &b)
	if err != nil || a != 2 || b != 102 || len(runs) < 3 {
		t.Errorf("rows = %d, %d, %v after %d runs, want 2, 102 after 3 or more", a, b, err, len(runs))
	}
}

func TestNoRows(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		err := db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			var n int64
			err := tx.QueryRowContext(t.Context(), `SELECT n FROM parent WHERE id = 'a'`).Scan(&n)
			if !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("Scan = %v, want %v", err, sql.ErrNoRows)
			}
			return add(t.Context(), tx, "a", 1) // changing no row is not a failure
		})
		if err != nil {
			t.Errorf("InTx: %v", err)
		}
	})
}

// thing is a row of the table parent.
type thing struct {
	id string
	n  int64
}

func scanThing(row sqldb.Row) (thing, error) {
	var th thing
	err := row.Scan(&th.id, &th.n)
	return th, err
}

func (th thing) key() sqldb.TimeKey { return sqldb.TimeKey{Time: th.n, ID: th.id} }

func TestOneAndAll(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		for i, id := range []string{"a", "b"} {
			if err := add(ctx, db, id, int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if th, found, err := sqldb.One(ctx, db, scanThing, `SELECT id, n FROM parent WHERE id = $1`, "b"); th != (thing{"b", 1}) || !found || err != nil {
			t.Errorf("One(b) = %v, %v, %v, want b, 1", th, found, err)
		}
		if _, found, err := sqldb.One(ctx, db, scanThing, `SELECT id, n FROM parent WHERE id = $1`, "c"); found || err != nil {
			t.Errorf("One(c) = %v, %v, want that it is not found", found, err)
		}
		if _, _, err := sqldb.One(ctx, db, scanThing, `SELECT id, nothing FROM parent`); err == nil {
			t.Error("One of a wrong query = nil, want an error")
		}
		all, err := sqldb.All(ctx, db, scanThing, `SELECT id, n FROM parent ORDER BY id`)
		if err != nil || !slices.Equal(all, []thing{{"a", 0}, {"b", 1}}) {
			t.Errorf("All = %v, %v, want a and b", all, err)
		}
		for id, want := range map[string]bool{"a": true, "c": false} {
			if got, err := sqldb.Exists(ctx, db, `SELECT EXISTS (SELECT 1 FROM parent WHERE id = $1)`, id); got != want || err != nil {
				t.Errorf("Exists(%s) = %v, %v, want %v", id, got, err, want)
			}
			if got, err := sqldb.Changed(db.ExecContext(ctx, `UPDATE parent SET n = n WHERE id = $1`, id)); got != want || err != nil {
				t.Errorf("Changed(%s) = %v, %v, want %v", id, got, err, want)
			}
		}
	})
}

// A list has every row once and in order, however many are read at a time and
// however many have the same time, and lets other statements run in between.
func TestList(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		var want []string
		for i := range 250 {
			id := fmt.Sprintf("%03d", i)
			if _, err := db.ExecContext(ctx, `INSERT INTO parent (id, n, ok) VALUES ($1, $2, $3)`, id, int64(i), i%2 == 0); err != nil {
				t.Fatal(err)
			}
			if i > 20 && i%2 == 0 {
				want = append(want, id)
			}
		}
		err := db.InReadTx(ctx, func(tx *sqldb.Tx) error {
			var got []string
			for th, err := range sqldb.List(ctx, tx, scanThing, thing.key, sqldb.TimeKey{Time: 4, ID: "020"}, `
				SELECT id, n / 5 FROM parent WHERE (n / 5, id) > ($1, $2) AND ok = $4 ORDER BY n / 5, id LIMIT $3`, true) {
				if err != nil {
					return err
				}
				count(t, tx)
				got = append(got, th.id)
			}
			if !slices.Equal(got, want) {
				t.Errorf("List = %v, want %v", got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range sqldb.List(ctx, db, scanThing, thing.key, sqldb.TimeKey{}, `SELECT nothing FROM parent WHERE $1 < $2 AND n < $3`) {
			if n++; err == nil {
				t.Error("List of a wrong query has no error")
			}
		}
		if n != 1 {
			t.Errorf("List of a wrong query has %d rows, want its error", n)
		}
	})
}

func TestFold(t *testing.T) {
	for _, names := range [][2]string{
		{"Echo", "eCHO"},
		{"STRASSE", "straße"},
		{"Ωmega", "ωMEGA"},
		{"Caf\u00e9", "CAFE\u0301"},
		{"ＥＣＨＯ", "echo"},
	} {
		if sqldb.Fold(names[0]) != sqldb.Fold(names[1]) {
			t.Errorf("Fold(%q) = %q, Fold(%q) = %q, want the same", names[0], sqldb.Fold(names[0]), names[1], sqldb.Fold(names[1]))
		}
	}
	if sqldb.Fold("echo") == sqldb.Fold("ecno") {
		t.Error("Fold makes echo and ecno the same")
	}
}

func TestContains(t *testing.T) {
	testdb.Each(t, sqldb.Schema{}, func(t *testing.T, db *sqldb.DB) {
		for _, tt := range []struct {
			text, part string
			want       bool
		}{
			{"harbour", "bou", true}, {"harbour", "harbour", true}, {"harbour", "", true}, {"harbour", "h_r", false}, {"harbour", "h%r", false},
			{"100%_\\", "%_\\", true}, {"straße", "aße", true}, {"straße", "asse", false}, {"", "a", false}, {"harbour", "harbours", false},
		} {
			has, err := sqldb.Exists(t.Context(), db, `SELECT `+db.Contains("CAST($1 AS TEXT)", "$2"), tt.text, tt.part)
			if err != nil || has != tt.want {
				t.Errorf("%q contains %q = %v, %v, want %v", tt.text, tt.part, has, err, tt.want)
			}
		}
	})
}

// Whoever takes a lock before counting may add as many rows as are missing, and no more,
// however many do so at once.
func TestLock(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		const most = 3
		var writers sync.WaitGroup
		for n := range 12 {
			writers.Go(func() {
				err := db.InTx(t.Context(), func(tx *sqldb.Tx) error {
					if err := tx.Lock(t.Context(), "parents"); err != nil {
						return err
					}
					if count(t, tx) >= most {
						return nil
					}
					return add(t.Context(), tx, fmt.Sprint(n), int64(n))
				})
				if err != nil {
					t.Errorf("InTx = %v", err)
				}
			})
		}
		writers.Wait()
		if n := count(t, db); n != most {
			t.Errorf("there are %d rows, want %d", n, most)
		}
	})
}
