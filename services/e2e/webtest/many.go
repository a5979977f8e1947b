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
	"time"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
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
	if err != nil {
		b.Fatal(err)
	}
	analyze(b, db, url)
}

// analyze collects what Postgres collects by itself, some time later.
func analyze(b testing.TB, db *sqldb.DB, url string) {
	b.Helper()
	if strings.HasPrefix(url, "sqlite:") {
		return
	}
	if _, err := db.ExecContext(b.Context(), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
}

// AddRecords adds so many records of ended sessions to the database of a subscription
// service that does not run. They are of these subscriptions in turn, and every other one is
// of the first.
func AddRecords(b testing.TB, url string, of []*subscriptionv1.Subscription, most int) {
	b.Helper()
	db := testdb.Open(b, url)
	now := time.Now().UnixMicro()
	err := db.InTx(b.Context(), func(tx *sqldb.Tx) error {
		for i := range most {
			s := of[0]
			if i%2 > 0 {
				s = of[i/2%len(of)]
			}
			ref, ended := fmt.Sprintf("record-%d", i), now-int64(most-i)*1000
			row := map[string]any{
				"ref": ref, "session": "gateways/gateway-0/sessions/" + ref, "version": s.GetVersion(), "application": id(s.GetApplication()),
				"subscription": id(s.GetName()), "application_owner": id(s.GetApplicationOwner()), "plan": s.GetPlan(), "client_address": "192.0.2.1:10000",
				"started_at": ended - 1000, "ended_at": ended, "end_reason": 1 + i%10, "close_code_to_client": 1000, "truncated": false,
			}
			for none := range strings.FieldsSeq("grant_name detail code api host path user_agent limits deciding_limit") {
				row[none] = ""
			}
			for none := range strings.FieldsSeq(`ended_by close_code_from_client close_code_from_backend close_code_to_backend
				in_messages in_frames in_payload in_wire out_messages out_frames out_payload out_wire last_in_at last_out_at route_change_number left_out status`) {
				row[none] = 0
			}
			if err := insert(b.Context(), tx, "session_record", row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	analyze(b, db, url)
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
