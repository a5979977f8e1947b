package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// batchRows is how many rows readBatch reads with one query.
const batchRows = 50

// readBatch returns, by id, the rows of a query that have one of the ids. The query ends
// before the list of ids.
func readBatch[T any](ctx context.Context, q sqldb.Querier, scan func(sqldb.Row) (T, error), id func(T) string, query string, ids []string) (map[string]T, error) {
	var params []string
	for i := range batchRows {
		params = append(params, fmt.Sprintf("$%d", i+1))
	}
	query += "(" + strings.Join(params, ", ") + ")"
	found := map[string]T{}
	for some := range slices.Chunk(ids, batchRows) {
		args := make([]any, batchRows)
		for i := range args {
			args[i] = some[min(i, len(some)-1)] // one query for any number
		}
		rows, err := sqldb.All(ctx, q, scan, query, args...)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			found[id(row)] = row
		}
	}
	return found, nil
}
