package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Plan is a row of the table plan.
type Plan struct {
	ID          string
	DisplayName string
	Description string
	// QuotaMessages are the messages per QuotaWindow; 0 for any number.
	QuotaMessages int64
	// QuotaWindow is MINUTE, HOUR or DAY, or empty without a quota.
	QuotaWindow string
	Etag        int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// After is where the plan stands in a list.
func (p Plan) After() After { return After{Micros: p.CreatedAt.UnixMicro(), ID: p.ID} }

const selectPlan = `
	SELECT id, display_name, description, quota_messages, quota_window, etag, created_at, updated_at
	FROM plan `

func scanPlan(row interface{ Scan(...any) error }) (Plan, error) {
	var p Plan
	var created, updated int64
	err := row.Scan(&p.ID, &p.DisplayName, &p.Description, &p.QuotaMessages, &p.QuotaWindow, &p.Etag, &created, &updated)
	p.CreatedAt, p.UpdatedAt = time.UnixMicro(created), time.UnixMicro(updated)
	return p, err
}

// Plan returns the plan with this id, or a NotFound fault.
func (s *Store) Plan(ctx context.Context, id string) (Plan, error) {
	p, err := scanPlan(s.q.QueryRowContext(ctx, selectPlan+`WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Plan{}, fault.NotFound("plans/%s", id)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("read plan %q: %w", id, err)
	}
	return p, nil
}

// PlanFilter restricts ListPlans; nil is no restriction.
type PlanFilter struct {
	// DisplayName is compared without regard to case.
	DisplayName *string
}

// ListPlans returns up to limit plans, oldest first.
func (s *Store) ListPlans(ctx context.Context, f PlanFilter, after After, limit int) ([]Plan, error) {
	if f.DisplayName != nil {
		folded := Fold(*f.DisplayName)
		f.DisplayName = &folded
	}
	rows, err := s.q.QueryContext(ctx, selectPlan+`
		WHERE (created_at, id) > ($1, $2)
		  AND (CAST($3 AS TEXT) IS NULL OR display_fold = $3)
		ORDER BY created_at, id LIMIT $4`,
		after.Micros, after.ID, optional(f.DisplayName), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	return collect(rows, "list plans", scanPlan)
}

// CreatePlan adds a plan, or returns an AlreadyExists fault.
func (s *Store) CreatePlan(ctx context.Context, p Plan) error {
	if err := s.planNameFree(ctx, p); err != nil {
		return err
	}
	return s.exec(ctx, "create plan", `
		INSERT INTO plan (id, display_name, display_fold, description, quota_messages, quota_window, etag, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7)`,
		p.ID, p.DisplayName, Fold(p.DisplayName), p.Description, p.QuotaMessages, p.QuotaWindow, p.CreatedAt.UnixMicro())
}

// UpdatePlan writes the plan's fields over those of the row with its id and etag,
// or returns an AlreadyExists or Aborted fault.
func (s *Store) UpdatePlan(ctx context.Context, p Plan) error {
	if err := s.planNameFree(ctx, p); err != nil {
		return err
	}
	return s.exec(ctx, "update plan", `
		UPDATE plan SET display_name = $1, display_fold = $2, description = $3, quota_messages = $4, quota_window = $5,
			updated_at = $6, etag = etag + 1
		WHERE id = $7 AND etag = $8`,
		p.DisplayName, Fold(p.DisplayName), p.Description, p.QuotaMessages, p.QuotaWindow,
		p.UpdatedAt.UnixMicro(), p.ID, p.Etag)
}

// DeletePlan removes the plan with this id and etag, or returns a Precondition
// fault when a version offers it.
func (s *Store) DeletePlan(ctx context.Context, id string, etag int64) error {
	offered, err := s.exists(ctx, "look for versions with the plan", `
		SELECT EXISTS (SELECT 1 FROM version_plan WHERE plan_id = $1)`, id)
	if err != nil {
		return err
	}
	if offered {
		return fault.Precondition("a version offers plans/%s: take it from all versions first", id)
	}
	return s.exec(ctx, "delete plan", `DELETE FROM plan WHERE id = $1 AND etag = $2`, id, etag)
}

// planNameFree returns an AlreadyExists fault when another plan has the name.
func (s *Store) planNameFree(ctx context.Context, p Plan) error {
	taken, err := s.exists(ctx, "look for the plan's name", `
		SELECT EXISTS (SELECT 1 FROM plan WHERE display_fold = $1 AND id <> $2)`, Fold(p.DisplayName), p.ID)
	if err != nil {
		return err
	}
	if taken {
		return fault.AlreadyExists("plan.display_name: %q is taken", p.DisplayName)
	}
	return nil
}

// collect reads all rows and closes them.
func collect[T any](rows *sql.Rows, doing string, scan func(interface{ Scan(...any) error }) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return all, nil
}
