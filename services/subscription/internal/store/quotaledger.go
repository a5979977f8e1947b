package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// A quota's window is one row, and what one start of a gateway has of it another:
//
//	amount + added                  what may be used
//	used_before + spent - cleared   used: what gateways said, and what a reset took back
//	used_before + granted - cleared taken: used, and the slices that are not spent
//
// What is not taken is left to give. All amounts are sums over the window, so that a demand
// whose answer was lost is made again and changes nothing. A slice whose gateway was killed
// stays taken: nobody knows what it spent of it.

// Numbers of the API for units and places.
const (
	quotaMessages, quotaBytes, quotaSessions = 1, 2, 4
	// mostOfQuota bounds amounts, and what is added to one.
	mostOfQuota = 1e15
)

const (
	// sliceParts is how many slices what is left would make for each gateway that asks: a
	// killed gateway keeps one from the others.
	sliceParts = 8
	// askingFor is how long after it last asked a gateway counts as one that asks.
	askingFor = time.Minute
)

// QuotaKey says what a quota counts.
type QuotaKey struct {
	// Place, Unit and Window are numbers of the API.
	Place int64
	// Application is an id, Version a resource name; empty where the place has none.
	Application, Version string
	Unit, Window         int64
	Observe              bool
}

// ID returns the id of the quota's resource, which depends on the key alone.
func (k QuotaKey) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q %d %d %t", k.Place, k.Application, k.Version, k.Unit, k.Window, k.Observe))
	return hex.EncodeToString(sum[:12])
}

// QuotaDemand is what a start of a gateway has spent of a quota in a window, and wants.
type QuotaDemand struct {
	Key QuotaKey
	// Plan is a resource name, Limit the name of the limit in it.
	Plan, Limit string
	Amount      int64
	Start, End  time.Time // of the window
	// Begins says that the window may begin with this demand, unless it ended a while ago;
	// else nothing is given of it unless something is known of it.
	Begins        bool
	Spent, Want   int64
	GiveBack      bool
	Opens         bool
	UsageReported bool
}

// QuotaSlice is what a start of a gateway has of a quota in a window.
type QuotaSlice struct {
	Granted, Spent int64
	// Used is what all have used.
	Used        int64
	UsedUp      bool
	ReportUsage bool
}

// Boot names one start of a gateway.
type Boot struct {
	// Gateway is the gateway's instance, BootID one start of it.
	Gateway, BootID string
}

// TakeQuota takes what a start of a gateway has spent, and gives it more; see
// QuotaLedgerService. The slices are in the order of the demands. A sequence that is not
// above the one that a slice was last changed with changes nothing of it.
func (s *Store) TakeQuota(ctx context.Context, b Boot, sequence int64, demands []QuotaDemand) ([]QuotaSlice, error) {
	// All calls lock the windows in the same order, so that two never deadlock.
	order := make([]int, len(demands))
	ids := make([]string, len(demands))
	for i, d := range demands {
		order[i], ids[i] = i, d.Key.ID()
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(strings.Compare(ids[a], ids[b]), demands[a].Start.Compare(demands[b].Start))
	})
	var out []QuotaSlice
	err := s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		out = make([]QuotaSlice, len(demands))
		for _, i := range order {
			t := quotaTaking{tx: tx, id: ids[i], demand: demands[i], boot: b, sequence: sequence, now: s.moment()}
			slice, err := t.take(ctx)
			if err != nil {
				return err
			}
			out[i] = slice
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("take quota: %w", err)
	}
	return out, nil
}

// quotaTaking is one demand while it is taken.
type quotaTaking struct {
	tx       *sqldb.Tx
	id       string
	demand   QuotaDemand
	boot     Boot
	sequence int64
	now      time.Time

	window quotaWindow
	slice  quotaSlice
}

// quotaWindow is the row of a window.
type quotaWindow struct {
	amount, added, usedBefore, granted, spent, overdrawn, cleared, noted int64
}

// used is at least 0: gateways may give back something of what a reset took back.
func (w quotaWindow) used() int64 { return max(0, w.usedBefore+w.spent-w.cleared) }
func (w quotaWindow) most() int64 { return w.amount + w.added }
func (w quotaWindow) left() int64 { return max(0, w.most()-(w.usedBefore+w.granted-w.cleared)) }

// quotaSlice is the row of what a start of a gateway has of a window.
type quotaSlice struct{ granted, spent, sequence int64 }

func (t *quotaTaking) take(ctx context.Context) (QuotaSlice, error) {
	found, err := t.lock(ctx)
	if err != nil {
		return QuotaSlice{}, err
	}
	if !found {
		switch {
		case !t.demand.Begins, t.now.After(t.demand.End.Add(quotaWindowsBegin)):
			return QuotaSlice{Granted: t.demand.Spent, Spent: t.demand.Spent, UsedUp: true}, nil
		case t.demand.Opens && !t.demand.UsageReported:
			return QuotaSlice{ReportUsage: true}, nil
		}
		if err := t.begin(ctx); err != nil {
			return QuotaSlice{}, err
		}
	} else if reports, err := t.reopen(ctx); err != nil || reports {
		return QuotaSlice{ReportUsage: reports}, err
	}
	if err := t.readSlice(ctx); err != nil {
		return QuotaSlice{}, err
	}
	if t.sequence > t.slice.sequence {
		if err := t.settle(ctx); err != nil {
			return QuotaSlice{}, err
		}
	}
	return QuotaSlice{
		Granted: t.slice.granted, Spent: t.slice.spent, Used: t.window.used(),
		UsedUp: t.window.left() == 0 || t.slice.granted-t.slice.spent < t.demand.Want,
	}, nil
}

// lock locks the window's row until the transaction ends, and reads it. It keeps the
// amount that was demanded last, for whoever asks about the quota; who only gives back may
// have an older one.
func (t *quotaTaking) lock(ctx context.Context) (found bool, err error) {
	d := t.demand
	t.window, found, err = sqldb.One(ctx, t.tx, scanQuotaWindow, `
		UPDATE quota_window SET
			plan = CASE WHEN $1 THEN plan ELSE $2 END, limit_name = CASE WHEN $1 THEN limit_name ELSE $3 END,
			amount = CASE WHEN $1 THEN amount ELSE CAST($4 AS BIGINT) END
		WHERE id = $5 AND start_at = $6
		RETURNING amount, added, used_before, granted, spent, overdrawn, cleared, noted`,
		d.GiveBack && d.Want == 0, d.Plan, d.Limit, d.Amount, t.id, d.Start.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("lock the window of a quota: %w", err)
	}
	return found, nil
}

func scanQuotaWindow(row sqldb.Row) (w quotaWindow, err error) {
	err = row.Scan(&w.amount, &w.added, &w.usedBefore, &w.granted, &w.spent, &w.overdrawn, &w.cleared, &w.noted)
	return w, err
}

// begin makes the window's row, unless another does at the same time, and locks it. Where
// the gateway opens the quota in mid-window, it begins with what passed before.
func (t *quotaTaking) begin(ctx context.Context) error {
	d := t.demand
	var before int64
	if d.Opens {
		var err error
		if before, err = t.usedBefore(ctx); err != nil {
			return fmt.Errorf("look for what was used before a quota: %w", err)
		}
	}
	owner, err := newOwners(t.tx).of(ctx, d.Key.Application)
	if err != nil {
		return err
	}
	_, err = t.tx.ExecContext(ctx, `
		INSERT INTO quota_window (id, start_at, end_at, place, application, application_owner, version, unit, window_kind, observe,
			plan, limit_name, amount, added, used_before, granted, spent, overdrawn, cleared, noted)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, 0, 0, 0, 0, 0)
		ON CONFLICT (id, start_at) DO NOTHING`,
		t.id, d.Start.UnixMicro(), d.End.UnixMicro(), d.Key.Place, d.Key.Application, owner, d.Key.Version, d.Key.Unit, d.Key.Window, d.Key.Observe,
		d.Plan, d.Limit, d.Amount, before)
	if err != nil {
		return fmt.Errorf("begin the window of a quota: %w", err)
	}
	found, err := t.lock(ctx)
	if err == nil && !found {
		err = errors.New("the window of a quota is gone that was begun")
	}
	return err
}

// usedBefore returns what passed in the window before the quota was opened: what usage
// says, or more where another limit of the same key, on observe or not, has counted more.
func (t *quotaTaking) usedBefore(ctx context.Context) (int64, error) {
	k := t.demand.Key
	used, err := t.usage(ctx)
	if err != nil {
		return 0, err
	}
	sibling := k
	sibling.Observe = !k.Observe
	other, _, err := sqldb.One(ctx, t.tx, scanCount, `
		SELECT used_before + spent - cleared FROM quota_window WHERE id = $1 AND start_at = $2`, sibling.ID(), t.demand.Start.UnixMicro())
	if err != nil {
		return 0, err
	}
	// What the gateway let pass since it opened the quota it will say itself.
	return max(0, max(used, other)-t.demand.Spent), nil
}

// reopen counts what passed while nobody had the quota, because another plan was there: what
// usage says beyond what gateways said that they spent. It returns true where the gateway
// reports its usage first. Where a gateway has something left, usage may be of that, and
// nothing is counted.
func (t *quotaTaking) reopen(ctx context.Context) (reports bool, err error) {
	w, d := &t.window, t.demand
	if !d.Opens || w.granted != w.spent {
		return false, nil
	}
	used, err := t.usage(ctx)
	if err != nil {
		return false, fmt.Errorf("look for what was used without a quota: %w", err)
	}
	// What the gateway let pass since it opened the quota it will say itself.
	if used = used - w.spent - d.Spent; used <= w.usedBefore {
		return false, nil
	}
	w.usedBefore = used
	return !d.UsageReported, nil
}

func scanCount(row sqldb.Row) (n int64, err error) {
	err = row.Scan(&n)
	return n, err
}

// usage returns what usage says that passed in the window.
func (t *quotaTaking) usage(ctx context.Context) (int64, error) {
	k := t.demand.Key
	column := map[int64]string{quotaMessages: "in_messages + out_messages", quotaBytes: "in_payload + out_payload", quotaSessions: "sessions"}[k.Unit]
	return usedBetween(ctx, t.tx, column, k.Application, k.Version, t.demand.Start, t.demand.End)
}

func (t *quotaTaking) readSlice(ctx context.Context) error {
	var err error
	t.slice, _, err = sqldb.One(ctx, t.tx, func(row sqldb.Row) (s quotaSlice, err error) {
		err = row.Scan(&s.granted, &s.spent, &s.sequence)
		return s, err
	}, `SELECT granted, spent, sequence FROM quota_slice WHERE id = $1 AND start_at = $2 AND gateway = $3 AND boot_id = $4`,
		t.id, t.demand.Start.UnixMicro(), t.boot.Gateway, t.boot.BootID)
	if err != nil {
		return fmt.Errorf("read a slice of a quota: %w", err)
	}
	return nil
}

// settle takes what was spent, gives, and writes both rows.
func (t *quotaTaking) settle(ctx context.Context) error {
	old, d := t.slice, t.demand
	s := &t.slice
	if !d.Opens {
		s.spent = d.Spent
	}
	if s.spent > s.granted {
		t.window.overdrawn += s.spent - s.granted
		s.granted = s.spent
	}
	if d.GiveBack {
		s.granted = s.spent
	}
	t.window.granted += s.granted - old.granted
	t.window.spent += s.spent - old.spent
	if lacks := d.Want - (s.granted - s.spent); lacks > 0 {
		more, err := t.fair(ctx, lacks)
		if err != nil {
			return err
		}
		s.granted += more
		t.window.granted += more
	}
	if err := t.note(ctx); err != nil {
		return err
	}
	w := t.window
	_, err := t.tx.ExecContext(ctx, `
		UPDATE quota_window SET used_before = $1, granted = $2, spent = $3, overdrawn = $4, noted = $5 WHERE id = $6 AND start_at = $7`,
		w.usedBefore, w.granted, w.spent, w.overdrawn, w.noted, t.id, d.Start.UnixMicro())
	if err != nil {
		return fmt.Errorf("write the window of a quota: %w", err)
	}
	asked := t.now.UnixMicro()
	if d.Want == 0 {
		asked = 0
	}
	_, err = t.tx.ExecContext(ctx, `
		INSERT INTO quota_slice (id, start_at, gateway, boot_id, granted, spent, sequence, asked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id, start_at, gateway, boot_id) DO UPDATE SET
			granted = excluded.granted, spent = excluded.spent, sequence = excluded.sequence, asked_at = excluded.asked_at`,
		t.id, d.Start.UnixMicro(), t.boot.Gateway, t.boot.BootID, s.granted, s.spent, t.sequence, asked)
	if err != nil {
		return fmt.Errorf("write a slice of a quota: %w", err)
	}
	return nil
}

// fair returns how much of what is left a gateway gets that lacks so much: a part that
// leaves something for the others and is not much to lose, or what it lacks where that is
// more and is there.
func (t *quotaTaking) fair(ctx context.Context, lacks int64) (int64, error) {
	left := t.window.left()
	if left <= 1 {
		return left, nil
	}
	others, _, err := sqldb.One(ctx, t.tx, scanCount, `
		SELECT COUNT(*) FROM quota_slice
		WHERE id = $1 AND start_at = $2 AND asked_at > $3 AND NOT (gateway = $4 AND boot_id = $5)`,
		t.id, t.demand.Start.UnixMicro(), t.now.Add(-askingFor).UnixMicro(), t.boot.Gateway, t.boot.BootID)
	if err != nil {
		return 0, fmt.Errorf("count the gateways that ask for a quota: %w", err)
	}
	part := max(1, left/(sliceParts*(others+1)))
	if lacks <= left {
		part = max(part, lacks)
	}
	return part, nil
}

// noteAt are the shares of a quota in per cent at which an event is kept, from high to low.
var noteAt = [...]int64{100, 80}

// note keeps an event of each share that is reached for the first time in the window.
func (t *quotaTaking) note(ctx context.Context) error {
	d, w := t.demand, &t.window
	before := w.noted
	for _, percent := range noteAt {
		if percent <= before || w.used() < (w.most()*percent+99)/100 {
			continue
		}
		w.noted = max(w.noted, percent)
		_, err := t.tx.ExecContext(ctx, `
			INSERT INTO quota_event (id, start_at, percent, noted_at, end_at, place, application, application_owner, version, unit, window_kind, observe,
				plan, limit_name, amount, added, used, overdraft)
			SELECT id, start_at, CAST($1 AS BIGINT), CAST($2 AS BIGINT), end_at, place, application, application_owner, version, unit, window_kind, observe,
				plan, limit_name, amount, added, CAST($3 AS BIGINT), CAST($4 AS BIGINT)
			FROM quota_window WHERE id = $5 AND start_at = $6
			ON CONFLICT (id, start_at, percent) DO NOTHING`,
			percent, t.now.UnixMicro(), w.used(), overdraft(w.used(), w.most(), w.overdrawn), t.id, d.Start.UnixMicro())
		if err != nil {
			return fmt.Errorf("keep an event of a quota: %w", err)
		}
	}
	return nil
}

// overdraft is how much of what was used passed beyond the amount because gateways let
// more pass than they had been given.
func overdraft(used, most, overdrawn int64) int64 { return max(0, min(overdrawn, used-most)) }
