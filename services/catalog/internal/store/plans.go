package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/uniquename"
)

// Plan is a row of the table plan.
type Plan struct {
	ID          string
	DisplayName string
	Description string
	// Limits are complete (package planlimit).
	Limits []Limit
	// Billing is FREE or COMMERCIAL.
	Billing    string
	PriceLabel string
	// Attributes are in the order of their names.
	Attributes []Attribute
	Etag       int64
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Attribute is one of a plan's attributes.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// DefaultSubscriptionless is the plan of an application at a version that needs no
// subscription, if it has none.
const DefaultSubscriptionless = "async-default-subscriptionless"

// Name returns the plan's name.
func (p Plan) Name() resourcename.Plan { return resourcename.Plan{Plan: p.ID} }

// Label returns what users call the plan.
func (p Plan) Label() string { return p.DisplayName }

// ListPlace returns the plan's place in a list.
func (p Plan) ListPlace(o Order) ListPlace {
	if o.By == ByName {
		return ListPlace{Text: sqldb.Fold(p.DisplayName), ID: p.ID}
	}
	return ListPlace{Time: p.CreatedAt.UnixMicro(), ID: p.ID}
}

const selectPlan = `
	SELECT id, display_name, description, limits, billing, price_label, attributes, etag, created_at, updated_at
	FROM plan `

func scanPlan(row sqldb.Row) (Plan, error) {
	var p Plan
	var created, updated int64
	err := row.Scan(&p.ID, &p.DisplayName, &p.Description, text(&p.Limits), &p.Billing, &p.PriceLabel, text(&p.Attributes),
		&p.Etag, &created, &updated)
	p.CreatedAt, p.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return p, err
}

// Plan returns the plan with this id, or a NotFound fault.
func (s *Store) Plan(ctx context.Context, id string) (Plan, error) { return readPlan(ctx, s.db, id) }

func readPlan(ctx context.Context, q sqldb.Querier, id string) (Plan, error) {
	p, found, err := sqldb.One(ctx, q, scanPlan, selectPlan+`WHERE id = $1`, id)
	switch {
	case err != nil:
		return Plan{}, fmt.Errorf("read plan %q: %w", id, err)
	case !found:
		return Plan{}, fault.NotFound("%s", resourcename.Plan{Plan: id})
	}
	return p, nil
}

// PlansByID returns the plans with these ids that exist.
func (s *Store) PlansByID(ctx context.Context, ids []string) (map[string]Plan, error) {
	found, err := readBatch(ctx, s.db, scanPlan, func(p Plan) string { return p.ID }, selectPlan+`WHERE id IN `, ids)
	if err != nil {
		return nil, fmt.Errorf("read plans: %w", err)
	}
	return found, nil
}

// PlanFilter restricts Plans; nil does not.
type PlanFilter struct {
	// DisplayName is compared without regard to case.
	DisplayName *string
	// Query is a text in the display name, without regard to case; empty for any.
	Query string
}

// Plans returns the plans after a place, in an order.
func (s *Store) Plans(ctx context.Context, f PlanFilter, o Order, after ListPlace) iter.Seq2[Plan, error] {
	return s.listPlans(ctx, s.db, f, o, after)
}

func (s *Store) listPlans(ctx context.Context, q sqldb.Querier, f PlanFilter, o Order, after ListPlace) iter.Seq2[Plan, error] {
	l := listing{text: selectPlan + `WHERE TRUE`}
	l.whereEqual("display_fold", sqldb.FoldFilter(f.DisplayName))
	l.whereContains(s.db, f.Query, "display_fold")
	column := map[By]string{ByTime: "created_at", ByName: "display_fold"}[o.By]
	return rows(ctx, q, scanPlan, l, o, column, "id", after)
}

// CreatePlan adds a plan, once for a request.
func (s *Store) CreatePlan(ctx context.Context, req requestid.Request, p Plan) (Plan, error) {
	p.ID, p.Etag = id.New(), 1
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParsePlan("", text)
		if err == nil {
			p, err = readPlan(ctx, tx, made.Plan)
		}
		return err
	}
	err := s.log.Write(ctx, "create plan", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		p.CreatedAt, p.UpdatedAt = tx.Time, tx.Time
		name := uniquename.Of(p.DisplayName)
		if err := checkPlanName(ctx, tx, p, name); err != nil {
			return change.Record{}, err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO plan (id, display_name, display_fold, display_skeleton, display_ascii, description,
				limits, billing, price_label, attributes, etag, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			p.ID, p.DisplayName, name.Fold, name.Skeleton, name.ASCII, p.Description,
			text(&p.Limits), p.Billing, p.PriceLabel, text(&p.Attributes),
			p.Etag, p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro())
		return changed(nil, p), err
	}))
	return p, err
}

// changed returns the change that makes a plan, which was before or did not exist, what
// it is now.
func changed(before any, p Plan) change.Record {
	return change.Record{Resource: p.Name().String(), Before: before, After: p, Event: &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{p.Message()}}}
}

// checkPlanName returns a fault when the display name cannot be one that must be unique,
// or when another plan has it, or one that looks like it.
func checkPlanName(ctx context.Context, tx *change.Tx, p Plan, name uniquename.Forms) error {
	if err := uniquename.Check("plan.display_name", p.DisplayName); err != nil {
		return err
	}
	var like uniquename.Likeness
	err := tx.QueryRowContext(ctx, `
		SELECT COALESCE(max(CASE WHEN display_fold = $1 THEN 2 ELSE 1 END), 0) FROM plan
		WHERE id <> $2 AND (display_fold = $1 OR display_skeleton = $3 AND NOT (display_ascii AND CAST($4 AS BOOLEAN)))`,
		name.Fold, p.ID, name.Skeleton, name.ASCII).Scan(&like)
	if err != nil {
		return fmt.Errorf("look for the plan's name: %w", err)
	}
	return like.Fault("plan.display_name", p.DisplayName)
}

// UpdatePlan makes a plan what edit makes of it: all but the fields that the server sets.
func (s *Store) UpdatePlan(ctx context.Context, id string, edit func(Plan) (Plan, error)) (p Plan, err error) {
	err = s.log.Write(ctx, "update plan", func(tx *change.Tx) (change.Record, error) {
		old, err := readPlan(ctx, tx, id)
		if err != nil {
			return change.Record{}, err
		}
		if p, err = edit(old); err != nil {
			return change.Record{}, err
		}
		p.ID, p.Etag, p.UpdatedAt = old.ID, old.Etag+1, tx.Time
		name := uniquename.Of(p.DisplayName)
		if err := checkPlanName(ctx, tx, p, name); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE plan SET display_name = $1, display_fold = $2, display_skeleton = $3, display_ascii = $4,
				description = $5, limits = $6, billing = $7, price_label = $8, attributes = $9, etag = $10, updated_at = $11
			WHERE id = $12`,
			p.DisplayName, name.Fold, name.Skeleton, name.ASCII, p.Description,
			text(&p.Limits), p.Billing, p.PriceLabel, text(&p.Attributes),
			p.Etag, p.UpdatedAt.UnixMicro(), id)
		return changed(old, p), err
	})
	return p, err
}

// PlanUse is how much of the catalog uses a plan.
type PlanUse struct {
	// Offers are versions that offer the plan, Traffic those that have it for all their
	// traffic, and Subscriptionless those that give it because they need no subscription.
	Offers, Traffic, Subscriptionless int64
}

// PlanUse counts what uses the plan with this id, or returns a NotFound fault.
func (s *Store) PlanUse(ctx context.Context, id string) (use PlanUse, err error) {
	err = s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		if _, err := readPlan(ctx, tx, id); err != nil {
			return err
		}
		use, err = planUse(ctx, tx, id)
		return err
	})
	return use, err
}

func planUse(ctx context.Context, q sqldb.Querier, id string) (PlanUse, error) {
	var use PlanUse
	err := q.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM version_plan WHERE plan_id = $1),
			(SELECT count(*) FROM version WHERE traffic_plan = $1),
			CASE WHEN CAST($2 AS BOOLEAN) THEN (SELECT count(*) FROM version WHERE subscriptionless) ELSE 0 END`,
		id, id == DefaultSubscriptionless).Scan(&use.Offers, &use.Traffic, &use.Subscriptionless)
	if err != nil {
		return PlanUse{}, fmt.Errorf("count what uses plan %q: %w", id, err)
	}
	return use, nil
}

// DeletePlan removes a plan that check, which is told what uses it, allows to be
// removed.
func (s *Store) DeletePlan(ctx context.Context, id string, check func(Plan, PlanUse) error) error {
	return s.log.Write(ctx, "delete plan", func(tx *change.Tx) (change.Record, error) {
		p, err := readPlan(ctx, tx, id)
		if err != nil {
			return change.Record{}, err
		}
		use, err := planUse(ctx, tx, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(p, use); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM plan WHERE id = $1`, id)
		name := p.Name().String()
		return change.Record{Resource: name, Before: p, Event: &backplanev1.RouteEvent{RemovedPlans: []string{name}}}, err
	})
}
