package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
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

// TestTicketsAreBoundedExactly has buyers at two replicas buy with one credential at once, when
// there is room for three tickets more: three have one.
func TestTicketsAreBoundedExactly(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ticket := func(n int) store.Ticket {
			return store.Ticket{Hash: []byte(fmt.Sprint(n)), Version: v1, Grant: "grant", Credential: "{}", Ref: "ref", ExpiresAt: b.now().Add(time.Minute)}
		}
		ok(t, b.db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			for n := range store.MaxTickets - 3 {
				_, err := tx.ExecContext(t.Context(), `
					INSERT INTO ticket (hash, version, grant_id, credential, ref, origin, client_network, expires_at, attempt)
					VALUES ($1, '', 'grant', '{}', '', '', '', $2, '')`, ticket(n).Hash, b.now().Add(time.Minute).UnixMicro())
				if err != nil {
					return err
				}
			}
			return nil
		}))
		replicas := []*store.Store{b.Store, store.New(b.db, b.log, b.now)}
		var buyers sync.WaitGroup
		var bought atomic.Int64
		for n := range 24 {
			buyers.Go(func() {
				switch err := replicas[n%2].CreateTicket(t.Context(), ticket(store.MaxTickets+n)); {
				case err == nil:
					bought.Add(1)
				case !fault.Is(err, codes.ResourceExhausted):
					t.Errorf("CreateTicket = %v, want a ticket or RESOURCE_EXHAUSTED", err)
				}
			})
		}
		buyers.Wait()
		if bought.Load() != 3 {
			t.Errorf("%d buyers have a ticket, want 3", bought.Load())
		}
	})
}
