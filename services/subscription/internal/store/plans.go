package store

import (
	"context"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SubscriptionlessPlan is the plan of an application at a version that needs no
// subscription, where it has none.
const SubscriptionlessPlan = "plans/async-default-subscriptionless"

// Plan is what the catalog says about a plan.
type Plan struct {
	// Name is the resource name, plans/{plan}.
	Name        string
	DisplayName string
}

// SavePlan keeps a plan that was read from the catalog when the cursor was asOf. It
// reports false, and keeps nothing, when the cursor has moved since: the plan may have
// been deleted after it was read.
func (s *Store) SavePlan(ctx context.Context, p Plan, asOf Cursor) (saved bool, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if saved, err = advance(ctx, tx, asOf, asOf); err != nil || !saved {
			return err
		}
		return savePlans(ctx, tx, []Plan{p})
	})
	if err != nil {
		return false, fmt.Errorf("save plan %q: %w", p.Name, err)
	}
	return saved, nil
}

// savePlans keeps plans. One that was read ahead of the watch is overwritten with what
// the watch brings, which ends with the newest.
func savePlans(ctx context.Context, tx *sqldb.Tx, all []Plan) error {
	for _, p := range all {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO plan (name, display_name) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name`, p.Name, p.DisplayName)
		if err != nil {
			return fmt.Errorf("save plan %q: %w", p.Name, err)
		}
	}
	return nil
}

// ReadPlan returns what is known of a plan; known is false when nothing is.
func (s *Store) ReadPlan(ctx context.Context, name string) (p Plan, known bool, err error) {
	p, known, err = sqldb.One(ctx, s.db, func(row sqldb.Row) (p Plan, err error) {
		err = row.Scan(&p.Name, &p.DisplayName)
		return p, err
	}, `SELECT name, display_name FROM plan WHERE name = $1`, name)
	if err != nil {
		return Plan{}, false, fmt.Errorf("read plan %q: %w", name, err)
	}
	return p, known, nil
}

// checkPlan returns why nothing may be given a plan: the catalog does not have it.
func checkPlan(ctx context.Context, q sqldb.Querier, name string) error {
	known, err := sqldb.Exists(ctx, q, `SELECT EXISTS (SELECT 1 FROM plan WHERE name = $1)`, name)
	if err != nil {
		return fmt.Errorf("look for plan %q: %w", name, err)
	}
	if !known {
		return &CatalogRefusal{Plan: name, fault: fault.NotFound("%s", name)}
	}
	return nil
}

// checkApplicationPlan does what checkPlan does for an application, which may have none.
func checkApplicationPlan(ctx context.Context, q sqldb.Querier, name string) error {
	if name == "" {
		return nil
	}
	return checkPlan(ctx, q, name)
}

// PlanUse is how much has a plan.
type PlanUse struct {
	// Subscriptions includes blocked ones.
	Subscriptions, Applications int64
}

// PlanUse counts what has a plan.
func (s *Store) PlanUse(ctx context.Context, plan string) (u PlanUse, err error) {
	err = s.db.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM subscription WHERE plan = $1), (SELECT count(*) FROM application WHERE plan = $1 AND plan <> '')`, plan).
		Scan(&u.Subscriptions, &u.Applications)
	if err != nil {
		return PlanUse{}, fmt.Errorf("count use of %s: %w", plan, err)
	}
	return u, nil
}
