package store

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// User is somebody who signs in.
type User struct {
	ID          string
	Username    string
	DisplayName string
	// Roles are the role names of package identity.
	Roles []string
	// State says whether the user may come in. Unless it is UserActive, the credentials of
	// the user's applications are refused too.
	State     UserState
	CreatedAt time.Time
	UpdatedAt time.Time
	Etag      int64
}

// UserState says whether a user may come in.
type UserState int

// The states.
const (
	UserActive    UserState = 1
	UserSuspended UserState = 2
	// UserPending is somebody who has signed up and is not approved yet.
	UserPending UserState = 3
)

func (u User) admin() bool { return slices.Contains(u.Roles, identity.RoleAdmin) }

// Label returns what users call the user.
func (u User) Label() string { return u.Username }

// ListKey returns the user's key in lists.
func (u User) ListKey() sqldb.TimeKey { return sqldb.TimeKey{Time: u.CreatedAt.UnixMicro(), ID: u.ID} }

const selectUser = `
	SELECT id, username, display_name, roles, state, created_at, updated_at, etag
	FROM users `

func scanUser(row sqldb.Row) (User, error) {
	var u User
	var roles string
	var created, updated int64
	err := row.Scan(&u.ID, &u.Username, &u.DisplayName, &roles, &u.State, &created, &updated, &u.Etag)
	u.Roles, u.CreatedAt, u.UpdatedAt = strings.Fields(roles), sqldb.Time(created), sqldb.Time(updated)
	return u, err
}

// CreateUser adds a user with the hash of a password, or "" for no password, once for a
// request. made is false if the request had made the user before.
func (s *Store) CreateUser(ctx context.Context, req requestid.Request, u User, password string) (user User, made bool, err error) {
	u.ID, u.State, u.Etag = id.New(), UserActive, 1
	again := func(tx *change.Tx, text string) error {
		name, err := resourcename.ParseUser("", text)
		if err == nil {
			user, err = readUser(ctx, tx, identity.Viewer{All: true}, name.User)
		}
		made = false
		return err
	}
	err = s.log.Write(ctx, "create user", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		u.CreatedAt, u.UpdatedAt = tx.Time, tx.Time
		user, made = u, true
		return change.Record{Resource: UserName(u.ID), After: u, Secrets: passwordOf(password)}, insertUser(ctx, tx, u, password)
	}))
	return user, made, err
}

// passwordOf names the secret that a user got with the hash of a password, if any.
func passwordOf(hash string) []string {
	if hash == "" {
		return nil
	}
	return []string{passwordSecret}
}

// passwordSecret is how the audit log calls a user's password.
const passwordSecret = "password"

func insertUser(ctx context.Context, tx *change.Tx, u User, password string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO users (id, username, username_fold, display_name, search, roles, admin, state, password, signed_in_at, created_at, updated_at, etag)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12)`,
		u.ID, u.Username, sqldb.Fold(u.Username), u.DisplayName, u.search(), strings.Join(u.Roles, " "), u.admin(), u.State, password,
		u.CreatedAt.UnixMicro(), u.UpdatedAt.UnixMicro(), u.Etag)
	return userError(u, err)
}

// userError explains an error from writing a user.
func userError(u User, err error) error {
	if sqldb.IsUnique(err) {
		return fault.AlreadyExists("the username %q is taken", u.Username)
	}
	return err
}

// User returns the user with this id, or a NotFound fault. v may see itself, and
// others only if it may see everything.
func (s *Store) User(ctx context.Context, v identity.Viewer, id string) (User, error) {
	return readUser(ctx, s.db, v, id)
}

func readUser(ctx context.Context, q sqldb.Querier, v identity.Viewer, id string) (User, error) {
	u, found, err := sqldb.One(ctx, q, scanUser, selectUser+`WHERE id = $1`, id)
	switch {
	case err != nil:
		return User{}, fmt.Errorf("read user %q: %w", id, err)
	case !found, !v.Sees(u.ID):
		return User{}, fault.NotFound("%s", UserName(id))
	}
	return u, nil
}

// Password returns the user with this username and the hash of their password, ""
// if they have none. known is false if there is no such user.
func (s *Store) Password(ctx context.Context, username string) (u User, hash string, known bool, err error) {
	u, known, err = sqldb.One(ctx, s.db, func(row sqldb.Row) (User, error) { return scanUser(sqldb.With(row, &hash)) }, `
		SELECT id, username, display_name, roles, state, created_at, updated_at, etag, password
		FROM users WHERE username_fold = $1`, sqldb.Fold(username))
	if err != nil {
		return User{}, "", false, fmt.Errorf("read user by username: %w", err)
	}
	return u, hash, known, nil
}

// UserFilter restricts Users; a nil field restricts nothing.
type UserFilter struct {
	// Username is compared without regard to case.
	Username *string
	State    *UserState
	Role     *string
	// Query is in the username or the display name, without regard to case.
	Query *string
}

// Users returns the users after a key, oldest first or newest first.
func (s *Store) Users(ctx context.Context, f UserFilter, newest bool, after sqldb.TimeKey) iter.Seq2[User, error] {
	if newest && after == (sqldb.TimeKey{}) {
		after.Time = math.MaxInt64
	}
	return usersBy(ctx, s, "created_at", newest, User.ListKey, after, f)
}

// NameKey is the Key of a list that is ordered by a folded name and an id.
type NameKey struct{ Name, ID string }

// Args returns the name and the id.
func (k NameKey) Args() []any { return []any{k.Name, k.ID} }

// NameKey returns the user's key in lists by username.
func (u User) NameKey() NameKey { return NameKey{Name: sqldb.Fold(u.Username), ID: u.ID} }

// afterNames is behind all usernames, as no character of theirs is.
const afterNames = "~"

// UsersByName returns the users after a key, by username, or backwards.
func (s *Store) UsersByName(ctx context.Context, f UserFilter, backwards bool, after NameKey) iter.Seq2[User, error] {
	if backwards && after == (NameKey{}) {
		after.Name = afterNames
	}
	return usersBy(ctx, s, "username_fold", backwards, User.NameKey, after, f)
}

// usersBy returns the users after a key, by a column and their ids, or backwards.
func usersBy[K sqldb.Key](ctx context.Context, s *Store, column string, backwards bool, key func(User) K, after K, f UserFilter) iter.Seq2[User, error] {
	is, direction := ">", ""
	if backwards {
		is, direction = "<", " DESC"
	}
	return sqldb.List(ctx, s.db, scanUser, key, after, selectUser+`
		WHERE (`+column+`, id) `+is+` ($1, $2)
			AND (CAST($4 AS TEXT) IS NULL OR username_fold = $4)
			AND (CAST($5 AS BIGINT) IS NULL OR state = $5)
			AND (CAST($6 AS TEXT) IS NULL OR ' ' || roles || ' ' LIKE '% ' || $6 || ' %')
			AND (CAST($7 AS TEXT) IS NULL OR `+s.db.Contains("search", "$7")+`)
		ORDER BY `+column+direction+`, id`+direction+` LIMIT $3`,
		sqldb.FoldFilter(f.Username), f.State, f.Role, sqldb.FoldFilter(f.Query))
}

// search returns what a query looks in.
func (u User) search() string { return sqldb.Fold(u.Username) + "\n" + sqldb.Fold(u.DisplayName) }

// checkAdmin refuses a change that leaves no administrator who can sign in. Changes
// are made one at a time, so two of them cannot each count on the other's user.
func checkAdmin(ctx context.Context, tx *change.Tx) error {
	left, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM users WHERE admin AND state = 1 AND password <> '')`)
	if err != nil {
		return fmt.Errorf("look for an administrator: %w", err)
	}
	if !left {
		return fault.WithReason(fault.Precondition("this is the last administrator who can sign in"), fault.ReasonLastAdministrator)
	}
	return nil
}

// UpdateUser writes a user that v may see as edit returns it; edit may change the
// username, display name and roles. Other roles end the access that tokens with the
// old ones give.
func (s *Store) UpdateUser(ctx context.Context, v identity.Viewer, id string, edit func(User) (User, error)) (u User, err error) {
	err = s.log.Write(ctx, "update user", func(tx *change.Tx) (change.Record, error) {
		old, err := readUser(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if u, err = edit(old); err != nil {
			return change.Record{}, err
		}
		u.ID, u.Etag, u.UpdatedAt = old.ID, old.Etag+1, tx.Time
		_, err = tx.ExecContext(ctx, `
			UPDATE users SET username = $1, username_fold = $2, display_name = $3, search = $4, roles = $5, admin = $6, updated_at = $7, etag = $8
			WHERE id = $9`,
			u.Username, sqldb.Fold(u.Username), u.DisplayName, u.search(), strings.Join(u.Roles, " "), u.admin(), u.UpdatedAt.UnixMicro(), u.Etag, u.ID)
		if err != nil {
			return change.Record{}, userError(u, err)
		}
		record := change.Record{Resource: UserName(id), Before: old, After: u}
		if !sameRoles(old.Roles, u.Roles) {
			if record.Event, err = endAccess(ctx, tx, UserName(id)); err != nil {
				return change.Record{}, err
			}
			// Who was an administrator may not try out others' versions any more.
			record.Others = []proto.Message{event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, UserName(id))}
		}
		return record, checkAdmin(ctx, tx)
	})
	return u, err
}

// sameRoles reports whether two lists have the same roles, in any order.
func sameRoles(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// DeleteUser removes a user that v may see and that check lets the caller remove,
// with their applications, OAuth clients, subscriptions and sign-ins.
func (s *Store) DeleteUser(ctx context.Context, v identity.Viewer, id string, check func(User) error) error {
	return s.log.Write(ctx, "delete user", func(tx *change.Tx) (change.Record, error) {
		u, err := readUser(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(u); err != nil {
			return change.Record{}, err
		}
		return deleteUser(ctx, tx, u)
	})
}

// deleteUser removes a user, with all that belongs to them.
func deleteUser(ctx context.Context, tx *change.Tx, u User) (change.Record, error) {
	if err := keepFormerUser(ctx, tx, u); err != nil {
		return change.Record{}, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1`, u.ID); err != nil {
		return change.Record{}, err
	}
	name := UserName(u.ID)
	ended, err := endAccess(ctx, tx, name)
	if err != nil {
		return change.Record{}, err
	}
	return change.Record{
		Resource: name, Before: u, Event: event(backplanev1.GrantEvent_CAUSE_USER_DELETED, name), Others: []proto.Message{ended},
	}, checkAdmin(ctx, tx)
}

// SuspendUser suspends a user that v may see and that check lets the caller suspend.
// It ends the user's sign-ins and access, and the grants of the user's applications.
func (s *Store) SuspendUser(ctx context.Context, v identity.Viewer, id string, check func(User) error) (u User, err error) {
	err = s.log.Write(ctx, "suspend user", func(tx *change.Tx) (change.Record, error) {
		var old User
		if old, u, err = setState(ctx, tx, v, id, UserSuspended, check); err != nil {
			return change.Record{}, err
		}
		if err := endSignIns(ctx, tx, id); err != nil {
			return change.Record{}, err
		}
		name := UserName(id)
		ended, err := endAccess(ctx, tx, name)
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{
			Resource: name, Before: old, After: u, Event: event(backplanev1.GrantEvent_CAUSE_USER_SUSPENDED, name), Others: []proto.Message{ended},
		}, checkAdmin(ctx, tx)
	})
	return u, err
}

// RestoreUser restores a suspended user that v may see and that check lets the
// caller restore.
func (s *Store) RestoreUser(ctx context.Context, v identity.Viewer, id string, check func(User) error) (u User, err error) {
	err = s.log.Write(ctx, "restore user", func(tx *change.Tx) (change.Record, error) {
		var old User
		if old, u, err = setState(ctx, tx, v, id, UserActive, check); err != nil {
			return change.Record{}, err
		}
		name := UserName(id)
		return change.Record{Resource: name, Before: old, After: u, Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, name)}, nil
	})
	return u, err
}

// setState returns the user before and after.
func setState(ctx context.Context, tx *change.Tx, v identity.Viewer, id string, state UserState, check func(User) error) (old, u User, err error) {
	if old, err = readUser(ctx, tx, v, id); err != nil {
		return User{}, User{}, err
	}
	if err := check(old); err != nil {
		return old, old, err
	}
	u = old
	u.State, u.Etag, u.UpdatedAt = state, u.Etag+1, tx.Time
	_, err = tx.ExecContext(ctx, `UPDATE users SET state = $1, updated_at = $2, etag = $3 WHERE id = $4`,
		u.State, u.UpdatedAt.UnixMicro(), u.Etag, u.ID)
	return old, u, err
}
