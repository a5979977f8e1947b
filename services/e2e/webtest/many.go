package webtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// CopyAPI copies the only API and its version, of this name, in the database of a catalog
// that does not run, until there are so many, which are the users' in turn. As changes that
// reach gateways, they would take minutes. data is the folder of the server.
func CopyAPI(b testing.TB, url, data, name string, most int, users []string) {
	b.Helper()
	key, err := seal.Load(filepath.Join(data, "master-key"))
	if err != nil {
		b.Fatal(err)
	}
	db := testdb.Open(b, url)
	err = db.InTx(b.Context(), func(tx *sqldb.Tx) error {
		api, err := rowOf(b.Context(), tx, "api")
		if err != nil {
			return err
		}
		version, err := rowOf(b.Context(), tx, "version")
		if err != nil {
			return err
		}
		secret, ok := version["endpoints"].([]byte)
		if !ok {
			return errors.New("a version has no sealed endpoints")
		}
		plain, err := key.Open(secret, []byte("endpoints/"+id(name)))
		if err != nil {
			return err
		}
		for i := 1; i < most; i++ {
			id, name, path := fmt.Sprintf("copy-%d", i), fmt.Sprintf("API %d", i*7919%most), fmt.Sprintf("/c%d", i)
			fold := strings.ToLower(name)
			maps.Copy(api, map[string]any{"id": id, "display_name": name, "display_fold": fold, "display_skeleton": fold, "context": path, "context_fold": path, "owner": users[i%len(users)], "created_at": i, "default_version": ""})
			maps.Copy(version, map[string]any{"id": id, "api_id": id, "display_fold": fold, "search": fold + "\n" + path + "\nthe first one.", "endpoints": key.Seal(plain, []byte("endpoints/"+id)), "created_at": i})
			if err := errors.Join(insert(b.Context(), tx, "api", api), insert(b.Context(), tx, "version", version)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = db.ExecContext(b.Context(), `ANALYZE`) // as Postgres does by itself
	}
	if err != nil {
		b.Fatal(err)
	}
}

// rowOf returns the row of a table that has one.
func rowOf(ctx context.Context, tx *sqldb.Tx, table string) (map[string]any, error) {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), errors.New(table+" is empty"))
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	row := map[string]any{}
	for i, name := range names {
		row[name] = values[i]
	}
	return row, rows.Err()
}

// insert adds a row to a table.
func insert(ctx context.Context, tx *sqldb.Tx, table string, row map[string]any) error {
	names := slices.Sorted(maps.Keys(row))
	var places []string
	var values []any
	for i, name := range names {
		places, values = append(places, fmt.Sprintf("$%d", i+1)), append(values, row[name])
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(places, ", ")+`)`, values...)
	return err
}
