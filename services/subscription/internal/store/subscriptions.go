package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Subscription lets an application use a version under a plan.
type Subscription struct {
	ID string
	// Application is the id of an application.
	Application string
	// Version and Plan are resource names.
	Version, Plan string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	Etag          int64
}

func scanSubscription(r row, more ...any) (Subscription, error) {
	var s Subscription
	var created, updated int64
	err := r.Scan(append([]any{&s.ID, &s.Application, &s.Version, &s.Plan, &created, &updated, &s.Etag}, more...)...)
	s.CreatedAt, s.UpdatedAt = at(created), at(updated)
	return s, err
}

func errNoSubscription(id string) error { return fault.NotFound("%s", SubscriptionName(id)) }

// VersionRefusal is a refusal that follows from what is known of a version,
// which may be older than what the catalog has. It unwraps to a fault.
type VersionRefusal struct {
	// Version is the version's resource name.
	Version string
	fault   error
}

// Error returns the fault's text.
func (e *VersionRefusal) Error() string { return e.fault.Error() }

// Unwrap returns the fault.
func (e *VersionRefusal) Unwrap() error { return e.fault }

// checkVersion returns why an application of v's may not join a version.
func checkVersion(ctx context.Context, q sqldb.Querier, v Viewer, name string) (Version, error) {
	version, known, err := readVersion(ctx, q, name)
	switch {
	case err != nil:
		return Version{}, err
	case !known, !version.Published && !v.sees(version.Owner):
		return Version{}, &VersionRefusal{Version: name, fault: fault.NotFound("%s", name)}
	case !version.Published:
		return Version{}, &VersionRefusal{Version: name,
			fault: fault.WithReason(fault.Precondition("%s is not published", name), "VERSION_NOT_PUBLISHED")}
	}
	return version, nil
}

func checkPlan(version Version, plan string) error {
	if version.offers(plan) {
		return nil
	}
	return &VersionRefusal{Version: version.Name,
		fault: fault.WithReason(fault.Precondition("%s does not offer %s", version.Name, plan), "PLAN_NOT_OFFERED")}
}

// CreateSubscription subscribes an application that v may see to a published
// version under a plan that it offers.
func (s *Store) CreateSubscription(ctx context.Context, v Viewer, sub Subscription) (Subscription, error) {
	sub.ID, sub.Etag, sub.CreatedAt = id.New(), 1, s.moment()
	sub.UpdatedAt = sub.CreatedAt
	err := s.write(ctx, "create subscription", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := readApplication(ctx, tx, v, sub.Application); err != nil {
			return change.Record{}, err
		}
		version, err := checkVersion(ctx, tx, v, sub.Version)
		if err != nil {
			return change.Record{}, err
		}
		if err := checkPlan(version, sub.Plan); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO subscription (id, application, version, plan, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			sub.ID, sub.Application, sub.Version, sub.Plan, sub.CreatedAt.UnixMicro(), sub.UpdatedAt.UnixMicro(), sub.Etag)
		switch {
		case sqldb.IsUnique(err):
			return change.Record{}, fault.AlreadyExists("%s is subscribed to %s already", ApplicationName(sub.Application), sub.Version)
		case sqldb.IsForeignKey(err):
			return change.Record{}, fault.Aborted("the application or the version was deleted meanwhile")
		case err != nil:
			return change.Record{}, err
		}
		pair := PairName(sub.Application, sub.Version)
		return change.Record{Resource: SubscriptionName(sub.ID), Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, pair)}, nil
	})
	return sub, err
}

// Subscription returns a subscription whose application or version is v's, or
// fault.NotFound.
func (s *Store) Subscription(ctx context.Context, v Viewer, id string) (Subscription, error) {
	sub, err := scanSubscription(s.db.QueryRowContext(ctx, `
		SELECT s.id, s.application, s.version, s.plan, s.created_at, s.updated_at, s.etag
		FROM subscription s JOIN application a ON a.id = s.application JOIN version v ON v.name = s.version
		WHERE s.id = $1 AND (CAST($2 AS TEXT) IS NULL OR a.owner = $2 OR v.owner = $2)`, id, v.limit()))
	if errors.Is(err, sql.ErrNoRows) {
		return Subscription{}, errNoSubscription(id)
	}
	if err != nil {
		return Subscription{}, fmt.Errorf("read subscription %q: %w", id, err)
	}
	return sub, nil
}

// Subscriptions returns at most n subscriptions whose application or version is
// v's after a place, oldest first. The filter may have application, an id,
// version and plan.
func (s *Store) Subscriptions(ctx context.Context, v Viewer, filter map[string]string, after Place, n int) ([]Subscription, error) {
	var out []Subscription
	err := each(ctx, s.db, func(r row) error {
		sub, err := scanSubscription(r)
		out = append(out, sub)
		return err
	}, `
		SELECT s.id, s.application, s.version, s.plan, s.created_at, s.updated_at, s.etag
		FROM subscription s JOIN application a ON a.id = s.application JOIN version v ON v.name = s.version
		WHERE (CAST($1 AS TEXT) IS NULL OR a.owner = $1 OR v.owner = $1)
			AND (CAST($2 AS TEXT) IS NULL OR s.application = $2)
			AND (CAST($3 AS TEXT) IS NULL OR s.version = $3)
			AND (CAST($4 AS TEXT) IS NULL OR s.plan = $4)
			AND (s.created_at, s.id) > ($5, $6)
		ORDER BY s.created_at, s.id LIMIT $7`,
		v.limit(), value(filter, "application"), value(filter, "version"), value(filter, "plan"), after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return out, nil
}

// UpdateSubscription lets edit change a subscription's plan, to one that its
// version offers.
func (s *Store) UpdateSubscription(ctx context.Context, v Viewer, id, etag string, edit func(*Subscription) error) (Subscription, error) {
	var sub Subscription
	err := s.write(ctx, "update subscription", func(tx *sqldb.Tx) (change.Record, error) {
		var err error
		if sub, err = s.touchSubscription(ctx, tx, v, id, etag); err != nil {
			return change.Record{}, err
		}
		version, known, err := readVersion(ctx, tx, sub.Version)
		if err != nil {
			return change.Record{}, err
		}
		if !known {
			return change.Record{}, errNoSubscription(id)
		}
		before := sub.Plan
		if err := edit(&sub); err != nil {
			return change.Record{}, err
		}
		if sub.Plan != before {
			if err := checkPlan(version, sub.Plan); err != nil {
				return change.Record{}, err
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE subscription SET plan = $1 WHERE id = $2`, sub.Plan, id); err != nil {
			return change.Record{}, err
		}
		name := SubscriptionName(id)
		return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, name)}, nil
	})
	return sub, err
}

// touchSubscription locks a subscription's row for the transaction, checks that
// v may change it and the etag, and moves the etag on.
func (s *Store) touchSubscription(ctx context.Context, tx *sqldb.Tx, v Viewer, id, etag string) (Subscription, error) {
	sub, err := scanSubscription(tx.QueryRowContext(ctx, `
		UPDATE subscription SET etag = etag + 1, updated_at = $1 WHERE id = $2
		RETURNING id, application, version, plan, created_at, updated_at, etag`, s.moment().UnixMicro(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return Subscription{}, errNoSubscription(id)
	}
	if err != nil {
		return Subscription{}, err
	}
	var owner, versionOwner string
	err = tx.QueryRowContext(ctx, `
		SELECT a.owner, v.owner FROM application a, version v WHERE a.id = $1 AND v.name = $2`,
		sub.Application, sub.Version).Scan(&owner, &versionOwner)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && !v.sees(owner) && !v.sees(versionOwner):
		return Subscription{}, errNoSubscription(id)
	case err != nil:
		return Subscription{}, err
	case !v.sees(owner):
		return Subscription{}, fault.Denied("only the application's owner changes its subscriptions")
	}
	return sub, checkEtag(etag, sub.Etag-1)
}

// DeleteSubscription removes a subscription.
func (s *Store) DeleteSubscription(ctx context.Context, v Viewer, id, etag string) error {
	return s.write(ctx, "delete subscription", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := s.touchSubscription(ctx, tx, v, id, etag); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM subscription WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		name := SubscriptionName(id)
		return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, name)}, nil
	})
}
