package store

import (
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
	"github.com/tidegatehq/tidegate/services/kit/uniquename"
)

// Application is a user's program, which subscribes to versions.
type Application struct {
	ID string
	// Owner is the id of a user.
	Owner       string
	DisplayName string
	Description string
	// Plan is the resource name of a plan, empty for none.
	Plan      string
	CreatedAt time.Time
	UpdatedAt time.Time
	Etag      int64
}

// Label returns what users call the application.
func (a Application) Label() string { return a.DisplayName }

// ApplicationKey is an application's key in lists, in any order; the zero value is before
// all of them.
type ApplicationKey struct {
	// Time is when it was created, in microseconds since 1970.
	Time int64
	// Name is the folded display name; empty where the order is that of times.
	Name string `json:",omitempty"`
	ID   string
}

const selectApplication = `
	SELECT id, owner, display_name, description, plan, created_at, updated_at, etag
	FROM application `

func scanApplication(row sqldb.Row) (Application, error) {
	var a Application
	var created, updated int64
	err := row.Scan(&a.ID, &a.Owner, &a.DisplayName, &a.Description, &a.Plan, &created, &updated, &a.Etag)
	a.CreatedAt, a.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return a, err
}

// CreateApplication adds an application, whose plan the catalog must have, once for a
// request.
func (s *Store) CreateApplication(ctx context.Context, req requestid.Request, a Application) (Application, error) {
	a.ID, a.Etag = id.New(), 1
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParseApplication("", text)
		if err == nil {
			a, err = readApplication(ctx, tx, identity.Viewer{User: a.Owner}, made.Application)
		}
		return err
	}
	err := s.log.Write(ctx, "create application", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		a.CreatedAt, a.UpdatedAt = tx.Time, tx.Time
		name := uniquename.Of(a.DisplayName)
		if err := checkApplicationName(ctx, tx, a, name); err != nil {
			return change.Record{}, err
		}
		if err := s.checkRoom(ctx, tx, a.Owner); err != nil {
			return change.Record{}, err
		}
		if err := checkApplicationPlan(ctx, tx, a.Plan); err != nil {
			return change.Record{}, err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO application (id, owner, display_name, name_fold, name_skeleton, name_ascii, description, plan, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			a.ID, a.Owner, a.DisplayName, name.Fold, name.Skeleton, name.ASCII, a.Description, a.Plan, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro(), a.Etag)
		if sqldb.IsForeignKey(err) {
			return change.Record{}, fault.Unauthenticated("the user whose token this is has been removed")
		}
		return change.Record{Resource: ApplicationName(a.ID), After: a}, err
	}))
	return a, err
}

// checkApplicationName returns a fault when the display name cannot be one that must be
// unique, or when another application of the owner has it, or one that looks like it.
func checkApplicationName(ctx context.Context, tx *change.Tx, a Application, name uniquename.Forms) error {
	if err := uniquename.Check("application.display_name", a.DisplayName); err != nil {
		return err
	}
	var like uniquename.Likeness
	err := tx.QueryRowContext(ctx, `
		SELECT COALESCE(max(CASE WHEN name_fold = $1 THEN 2 ELSE 1 END), 0) FROM application
		WHERE owner = $2 AND id <> $3 AND (name_fold = $1 OR name_skeleton = $4 AND NOT (name_ascii AND CAST($5 AS BOOLEAN)))`,
		name.Fold, a.Owner, a.ID, name.Skeleton, name.ASCII).Scan(&like)
	if err != nil {
		return fmt.Errorf("look for the application's name: %w", err)
	}
	return like.Fault("application.display_name", a.DisplayName)
}

// checkRoom refuses an application of an owner who has as many as there may be.
func (s *Store) checkRoom(ctx context.Context, tx *change.Tx, owner string) error {
	if s.bounds.Applications == 0 {
		return nil
	}
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM application WHERE owner = $1`, owner).Scan(&n); err != nil {
		return fmt.Errorf("count applications: %w", err)
	}
	if n >= s.bounds.Applications {
		return fault.WithReason(fault.Exhausted("you have %d applications, as many as a user may have: delete one first", n), fault.ReasonTooManyApplications)
	}
	return nil
}

// Application returns an application that v may see, or a NotFound fault.
func (s *Store) Application(ctx context.Context, v identity.Viewer, id string) (Application, error) {
	return readApplication(ctx, s.db, v, id)
}

func readApplication(ctx context.Context, q sqldb.Querier, v identity.Viewer, id string) (Application, error) {
	a, found, err := sqldb.One(ctx, q, scanApplication, selectApplication+`WHERE id = $1`, id)
	switch {
	case err != nil:
		return Application{}, fmt.Errorf("read application %q: %w", id, err)
	case !found, !v.Sees(a.Owner):
		return Application{}, errNoApplication(id)
	}
	return a, nil
}

func errNoApplication(id string) error { return fault.NotFound("%s", ApplicationName(id)) }

// ApplicationFilter restricts Applications; a nil field restricts nothing.
type ApplicationFilter struct {
	// DisplayName is compared without regard to case.
	DisplayName *string
	// Owner is the id of a user.
	Owner *string
	// Part is a part of the display name, without regard to case.
	Part *string
}

// ApplicationOrder is what applications are ordered by; the zero value is the oldest first.
type ApplicationOrder struct {
	// ByName says that it is the display name, without regard to case, and not the time.
	ByName bool
	// Descending says that the order is reversed.
	Descending bool
}

// Key returns an application's key in lists of this order.
func (o ApplicationOrder) Key(a Application) ApplicationKey {
	k := ApplicationKey{Time: a.CreatedAt.UnixMicro(), ID: a.ID}
	if o.ByName {
		k.Name = sqldb.Fold(a.DisplayName)
	}
	return k
}

// Applications returns the applications after a key that v may see.
func (s *Store) Applications(ctx context.Context, v identity.Viewer, f ApplicationFilter, order ApplicationOrder, after ApplicationKey) iter.Seq2[Application, error] {
	return sqldb.Pages(order.Key, after, func(after ApplicationKey, limit int) ([]Application, error) {
		var w conditions
		w.is("owner", v.Owner())
		w.is("owner", f.Owner)
		w.is("name_fold", sqldb.FoldFilter(f.DisplayName))
		if f.Part != nil {
			w.add(s.db.Contains("name_fold", w.param(sqldb.Fold(*f.Part))))
		}
		column, value := "created_at", any(after.Time)
		if order.ByName {
			column, value = "name_fold", after.Name
		}
		if after != (ApplicationKey{}) {
			w.after(column, value, "id", after.ID, order.Descending)
		}
		return sqldb.All(ctx, s.db, scanApplication, selectApplication+w.where()+orderBy(column, "id", order.Descending)+" LIMIT "+w.param(limit), w.args...)
	})
}

// ApplicationsNamed returns those of the applications with these ids that v may see, in any
// order.
func (s *Store) ApplicationsNamed(ctx context.Context, v identity.Viewer, ids []string) ([]Application, error) {
	var w conditions
	w.is("owner", v.Owner())
	w.oneOf("id", ids)
	return sqldb.All(ctx, s.db, scanApplication, selectApplication+w.where(), w.args...)
}

// UpdateApplication writes an application that v may see as edit returns it; edit
// may change the display name, the description, and the plan to one that the catalog has.
// Grants of the application are read again where the plan is another.
func (s *Store) UpdateApplication(ctx context.Context, v identity.Viewer, id string, edit func(Application) (Application, error)) (a Application, err error) {
	err = s.log.Write(ctx, "update application", func(tx *change.Tx) (change.Record, error) {
		old, err := readApplication(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if a, err = edit(old); err != nil {
			return change.Record{}, err
		}
		a.ID, a.Etag, a.UpdatedAt = old.ID, old.Etag+1, tx.Time
		name := uniquename.Of(a.DisplayName)
		if err := checkApplicationName(ctx, tx, a, name); err != nil {
			return change.Record{}, err
		}
		record := change.Record{Resource: ApplicationName(id), Before: old, After: a}
		if a.Plan != old.Plan {
			if err := checkApplicationPlan(ctx, tx, a.Plan); err != nil {
				return change.Record{}, err
			}
			record.Event = event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, record.Resource)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE application SET display_name = $1, name_fold = $2, name_skeleton = $3, name_ascii = $4, description = $5,
				plan = $6, updated_at = $7, etag = $8
			WHERE id = $9`,
			a.DisplayName, name.Fold, name.Skeleton, name.ASCII, a.Description, a.Plan, a.UpdatedAt.UnixMicro(), a.Etag, a.ID)
		return record, err
	})
	return a, err
}

// DeleteApplication removes an application that v may see and that check lets the
// caller remove, with its OAuth clients and subscriptions.
func (s *Store) DeleteApplication(ctx context.Context, v identity.Viewer, id string, check func(Application) error) error {
	return s.log.Write(ctx, "delete application", func(tx *change.Tx) (change.Record, error) {
		a, err := readApplication(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(a); err != nil {
			return change.Record{}, err
		}
		name := ApplicationName(id)
		if err := keepFormerOwner(ctx, tx, name, a.Owner); err != nil {
			return change.Record{}, err
		}
		if err := keepFormerName(ctx, tx, name, a.DisplayName, ""); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM application WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: name, Before: a, Event: event(backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED, name)}, nil
	})
}

// keepFormerOwner remembers the owner of a resource that is being deleted, for
// reports about it that gateways send later.
func keepFormerOwner(ctx context.Context, tx *change.Tx, name, owner string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO former_owner (name, owner, ended_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ended_at = excluded.ended_at`,
		name, owner, tx.Time.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep owner of %s: %w", name, err)
	}
	return nil
}
