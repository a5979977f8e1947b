package store

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Subscription lets an application use a version under a plan.
type Subscription struct {
	ID string
	// Application is the id of an application.
	Application string
	// Version and Plan are resource names.
	Version, Plan string
	// Blocked says that the version's publisher, or an administrator, has blocked it.
	Blocked bool
	// Owner is the id of the user who owns the application, VersionOwner of the one who
	// owns the version.
	Owner, VersionOwner string
	// OwnerLabel is the username of the user who owns the application.
	OwnerLabel string
	// ApplicationLabel and VersionLabel are what users call the two.
	ApplicationLabel, VersionLabel string
	CreatedAt                      time.Time
	UpdatedAt                      time.Time
	Etag                           int64
}

// Label returns what users call the subscription.
func (s Subscription) Label() string { return s.ApplicationLabel + " to " + s.VersionLabel }

// ListKey returns the subscription's key in lists.
func (s Subscription) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: s.CreatedAt.UnixMicro(), ID: s.ID}
}

const selectSubscription = `
	SELECT s.id, s.application, s.version, s.plan, s.blocked, a.owner, v.owner, u.username, a.display_name, v.api_name || '/' || v.version, s.created_at, s.updated_at, s.etag
	FROM subscription s JOIN application a ON a.id = s.application JOIN users u ON u.id = a.owner
		JOIN version v ON v.name = s.version `

func scanSubscription(row sqldb.Row) (Subscription, error) {
	var s Subscription
	var created, updated int64
	err := row.Scan(&s.ID, &s.Application, &s.Version, &s.Plan, &s.Blocked, &s.Owner, &s.VersionOwner, &s.OwnerLabel, &s.ApplicationLabel, &s.VersionLabel, &created, &updated, &s.Etag)
	s.CreatedAt, s.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return s, err
}

// CatalogRefusal is a refusal that rests on what is known of a version or a plan, which
// may be older than what the catalog has. It unwraps to a fault.
type CatalogRefusal struct {
	// Version or Plan is the resource name of what it rests on; the other is empty.
	Version, Plan string
	fault         error
}

// Error returns the fault's text.
func (e *CatalogRefusal) Error() string { return e.fault.Error() }

// Unwrap returns the fault.
func (e *CatalogRefusal) Unwrap() error { return e.fault }

// checkVersion returns why an application of v's may not subscribe to a version.
func checkVersion(ctx context.Context, q sqldb.Querier, v identity.Viewer, name string) (Version, error) {
	version, known, err := readVersion(ctx, q, name)
	switch {
	case err != nil:
		return Version{}, err
	case !known, !version.Published && !v.Sees(version.Owner):
		return Version{}, &CatalogRefusal{Version: name, fault: fault.NotFound("%s", name)}
	case !version.Published:
		return Version{}, &CatalogRefusal{Version: name,
			fault: fault.WithReason(fault.Precondition("%s is not published", name), fault.ReasonVersionNotPublished)}
	}
	return version, nil
}

// checkOffer returns why a version's subscribers may not choose a plan.
func checkOffer(version Version, plan string) error {
	if version.offers(plan) {
		return nil
	}
	return &CatalogRefusal{Version: version.Name,
		fault: fault.WithReason(fault.Precondition("%s does not offer %s", version.Name, plan), fault.ReasonPlanNotOffered)}
}

// CreateSubscription subscribes an application, which v may see and which check
// lets the caller change, to a published version under a plan that the version
// offers, once for a request.
func (s *Store) CreateSubscription(ctx context.Context, req requestid.Request, v identity.Viewer, sub Subscription, check func(Application) error) (Subscription, error) {
	sub.ID, sub.Etag = id.New(), 1
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParseSubscription("", text)
		if err == nil {
			sub, err = readSubscription(ctx, tx, v, made.Subscription)
		}
		return err
	}
	err := s.log.Write(ctx, "create subscription", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		app, err := readApplication(ctx, tx, v, sub.Application)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(app); err != nil {
			return change.Record{}, err
		}
		version, err := checkVersion(ctx, tx, v, sub.Version)
		if err != nil {
			return change.Record{}, err
		}
		if err := checkOffer(version, sub.Plan); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO subscription (id, application, application_owner, version, version_owner, plan, blocked, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $8, $9)`,
			sub.ID, sub.Application, app.Owner, sub.Version, version.Owner, sub.Plan, tx.Time.UnixMicro(), tx.Time.UnixMicro(), sub.Etag)
		if sqldb.IsUnique(err) {
			return change.Record{}, fault.AlreadyExists("%s is subscribed to %s already", ApplicationName(sub.Application), sub.Version)
		}
		if err != nil {
			return change.Record{}, err
		}
		if sub, err = readSubscription(ctx, tx, v, sub.ID); err != nil {
			return change.Record{}, err
		}
		pair := PairName(sub.Application, sub.Version)
		return change.Record{Resource: SubscriptionName(sub.ID), After: sub, Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, pair)}, err
	}))
	return sub, err
}

// Subscription returns a subscription whose application or version v may see, or a
// NotFound fault.
func (s *Store) Subscription(ctx context.Context, v identity.Viewer, id string) (Subscription, error) {
	return readSubscription(ctx, s.db, v, id)
}

func readSubscription(ctx context.Context, q sqldb.Querier, v identity.Viewer, id string) (Subscription, error) {
	sub, found, err := sqldb.One(ctx, q, scanSubscription, selectSubscription+`
		WHERE s.id = $1 AND (CAST($2 AS TEXT) IS NULL OR a.owner = $2 OR v.owner = $2)`, id, v.Owner())
	switch {
	case err != nil:
		return Subscription{}, fmt.Errorf("read subscription %q: %w", id, err)
	case !found:
		return Subscription{}, fault.NotFound("%s", SubscriptionName(id))
	}
	return sub, nil
}

// SubscriptionsNamed returns those of the subscriptions with these ids whose application or
// version v may see, in any order.
func (s *Store) SubscriptionsNamed(ctx context.Context, v identity.Viewer, ids []string) ([]Subscription, error) {
	var w conditions
	w.oneOf("s.id", ids)
	if owner := v.Owner(); owner != nil {
		viewer := w.param(*owner)
		w.add("(a.owner = ", viewer, " OR v.owner = ", viewer, ")")
	}
	return sqldb.All(ctx, s.db, scanSubscription, selectSubscription+w.where(), w.args...)
}

// SubscriptionFilter restricts Subscriptions; a nil field restricts nothing.
type SubscriptionFilter struct {
	// Application is the id of an application.
	Application *string
	// Version and Plan are resource names.
	Version, Plan *string
	// State is ACTIVE or BLOCKED.
	State *string
	// Owner is the id of the user who owns the application, VersionOwner of the one who
	// owns the version.
	Owner, VersionOwner *string
}

// Subscriptions returns the subscriptions after a key whose application or version
// v may see, oldest first.
func (s *Store) Subscriptions(ctx context.Context, v identity.Viewer, f SubscriptionFilter, after sqldb.TimeKey) iter.Seq2[Subscription, error] {
	return sqldb.Pages(Subscription.ListKey, after, func(after sqldb.TimeKey, limit int) ([]Subscription, error) {
		var w conditions
		w.is("s.application", f.Application)
		w.is("s.version", f.Version)
		w.is("s.plan", f.Plan)
		if f.State != nil {
			w.add(cmp.Or(map[string]string{"BLOCKED": "s.blocked", "ACTIVE": "NOT s.blocked"}[*f.State], "FALSE"))
		}
		w.is("s.application_owner", f.Owner)
		w.is("s.version_owner", f.VersionOwner)
		if after != (sqldb.TimeKey{}) {
			w.after("s.created_at", after.Time, "s.id", after.ID, false)
		}
		if v.All {
			return sqldb.All(ctx, s.db, scanSubscription, selectSubscription+w.where()+orderBy("s.created_at", "s.id", false)+" LIMIT "+w.param(limit), w.args...)
		}
		// Each of the two conditions is enough, and has an index that is in order. What they
		// find is few rows, which are sorted: with the plus no engine reads all in order instead.
		viewer, first := w.param(v.User), w.param(limit)
		keys := func(owner string) string {
			return "SELECT id FROM (SELECT s.id FROM subscription s " + w.where(owner+" = "+viewer) + orderBy("s.created_at", "s.id", false) + " LIMIT " + first + ") k"
		}
		return sqldb.All(ctx, s.db, scanSubscription, selectSubscription+`
			WHERE s.id IN (`+keys("s.application_owner")+" UNION "+keys("s.version_owner")+")"+orderBy("+s.created_at", "s.id", false)+" LIMIT "+first, w.args...)
	})
}

// UpdateSubscription writes a subscription that v may see as edit returns it; edit
// may change the plan to one that the version offers or, where anyPlan says so, to any
// that the catalog has. A plan that the version offers no longer may stay.
func (s *Store) UpdateSubscription(ctx context.Context, v identity.Viewer, id string, anyPlan func(Subscription) bool, edit func(Subscription) (Subscription, error)) (sub Subscription, err error) {
	err = s.log.Write(ctx, "update subscription", func(tx *change.Tx) (change.Record, error) {
		old, err := readSubscription(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if sub, err = edit(old); err != nil {
			return change.Record{}, err
		}
		if sub.Plan != old.Plan {
			version, _, err := readVersion(ctx, tx, old.Version) // it exists: the subscription refers to it
			if err != nil {
				return change.Record{}, err
			}
			err = checkOffer(version, sub.Plan)
			if err != nil && anyPlan(old) {
				err = checkPlan(ctx, tx, sub.Plan)
			}
			if err != nil {
				return change.Record{}, err
			}
		}
		sub.Etag, sub.UpdatedAt = old.Etag+1, tx.Time
		_, err = tx.ExecContext(ctx, `
			UPDATE subscription SET plan = $1, updated_at = $2, etag = $3 WHERE id = $4`,
			sub.Plan, sub.UpdatedAt.UnixMicro(), sub.Etag, id)
		name := SubscriptionName(id)
		return change.Record{Resource: name, Before: old, After: sub, Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, name)}, err
	})
	return sub, err
}

// BlockSubscription blocks a subscription that v may see and that check lets the caller
// block: it gives no access until it is restored, also where the version needs none.
func (s *Store) BlockSubscription(ctx context.Context, v identity.Viewer, id string, check func(Subscription) error) (Subscription, error) {
	return s.setBlocked(ctx, v, id, true, backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED, check)
}

// RestoreSubscription restores a blocked subscription that v may see and that check lets
// the caller restore.
func (s *Store) RestoreSubscription(ctx context.Context, v identity.Viewer, id string, check func(Subscription) error) (Subscription, error) {
	return s.setBlocked(ctx, v, id, false, backplanev1.GrantEvent_CAUSE_UNSPECIFIED, check)
}

func (s *Store) setBlocked(ctx context.Context, v identity.Viewer, id string, blocked bool, cause backplanev1.GrantEvent_Cause, check func(Subscription) error) (sub Subscription, err error) {
	err = s.log.Write(ctx, "block or restore subscription", func(tx *change.Tx) (change.Record, error) {
		old, err := readSubscription(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		sub = old
		if err := check(old); err != nil {
			return change.Record{}, err
		}
		if old.Blocked == blocked {
			return change.Record{}, change.Unchanged(0)
		}
		sub.Blocked, sub.Etag, sub.UpdatedAt = blocked, old.Etag+1, tx.Time
		_, err = tx.ExecContext(ctx, `
			UPDATE subscription SET blocked = $1, updated_at = $2, etag = $3 WHERE id = $4`,
			sub.Blocked, sub.UpdatedAt.UnixMicro(), sub.Etag, id)
		name := SubscriptionName(id)
		return change.Record{Resource: name, Before: old, After: sub, Event: event(cause, name)}, err
	})
	return sub, err
}

// DeleteSubscription removes a subscription that v may see and that check lets the
// caller remove.
func (s *Store) DeleteSubscription(ctx context.Context, v identity.Viewer, id string, check func(Subscription) error) error {
	return s.log.Write(ctx, "delete subscription", func(tx *change.Tx) (change.Record, error) {
		sub, err := readSubscription(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(sub); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM subscription WHERE id = $1`, id)
		name := SubscriptionName(id)
		return change.Record{Resource: name, Before: sub, Event: event(backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, name)}, err
	})
}
