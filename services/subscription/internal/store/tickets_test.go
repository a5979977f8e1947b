package store_test

import (
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TestUnspentTicketsAreCountedAlone has the tickets of a credential that are not spent counted
// by an index that has no others: what it has spent does not make its next one dearer.
func TestUnspentTicketsAreCountedAlone(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t, store.Schema())
	rows, err := db.QueryContext(t.Context(), `
		EXPLAIN QUERY PLAN
		SELECT count(*) FROM ticket WHERE grant_id = $1 AND expires_at > $2 AND attempt = ''`, "grant", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(step + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan.String(), "INDEX ticket_unspent (grant_id=? AND expires_at>?)") {
		t.Errorf("the plan is %q, want a search of ticket_unspent by both", plan.String())
	}
}
