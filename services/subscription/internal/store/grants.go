package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Grant is what a credential is valid for, according to its rows.
type Grant struct {
	// User, Application, OAuthClient, APIKey and Subscription are ids. Subscription is empty
	// where the version needs none and there is none. OAuthClient is that of a token, APIKey
	// that of a value of an API key; a try-out token has neither, and TryOut as its
	// Application.
	User, Application, OAuthClient, APIKey, Subscription string
	Stage                                                Stage
	// Addresses and Referers are where an API key is good from; none means everywhere.
	Addresses, Referers []string
	// Plan is the resource name of the subscription's plan; without a subscription it is
	// SubscriptionlessPlan.
	Plan string
	// ApplicationPlan is the resource name of the application's own plan, or empty.
	ApplicationPlan string
}

// TokenState is what is known of a token for a version.
type TokenState struct {
	// Revoked says that the token was revoked.
	Revoked bool
	// Over says that the sign-in within which a user got the token has ended.
	Over bool
	// NotOwner says that the user of a try-out token neither owns the version nor is an
	// administrator.
	NotOwner bool
	// Known says that its OAuth client exists; otherwise Grant is empty.
	Known bool
	// Suspended says that the application's owner is suspended.
	Suspended bool
	// Elsewhere says that it is narrowed to an address that is not the version's.
	Elsewhere bool
	// Subscribed says that its application is subscribed, or that the version needs no
	// subscription; otherwise Subscription and Plan are empty.
	Subscribed bool
	// Blocked says that the subscription is blocked.
	Blocked bool
	Grant
	// AsOf is the number of the newest change that these rows reflect: all were
	// read in one snapshot.
	AsOf uint64
}

// Token is what a token says of itself.
type Token struct {
	ID string
	// ClientID is that of the OAuth client that it was issued to.
	ClientID string
	// SignIn is the sign-in within which a user got it; zero for none.
	SignIn resourcename.SignIn
	// Secret is the id of the secret that it was issued for, "" for none.
	Secret string
	// Issued is the moment at which it was issued.
	Issued moment.Moment
	// Resource is the address that it is narrowed to, "" for none.
	Resource string
}

// TokenState returns what is known of a token for a version.
func (s *Store) TokenState(ctx context.Context, t Token, version string) (TokenState, error) {
	return s.tokenState(ctx, func(tx *sqldb.Tx) (TokenState, error) {
		st, err := readTokenState(ctx, tx, t, version, `WHERE c.client_id = $5`, t.ClientID)
		if err == nil && st.Known && t.Resource != "" {
			st.Elsewhere, err = elsewhere(ctx, tx, t.Resource, version)
		}
		return st, err
	})
}

// TryOutState returns what is known of a try-out token for its version, which a user got
// within a sign-in.
func (s *Store) TryOutState(ctx context.Context, t Token, version string, stage Stage) (TokenState, error) {
	return s.tokenState(ctx, func(tx *sqldb.Tx) (TokenState, error) { return readTryOut(ctx, tx, t, version, stage) })
}

// tokenState calls read in a transaction that sees all changes up to the state's AsOf.
func (s *Store) tokenState(ctx context.Context, read func(*sqldb.Tx) (TokenState, error)) (st TokenState, err error) {
	err = s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		asOf, err := change.Head(ctx, tx)
		if err != nil {
			return err
		}
		st, err = read(tx)
		st.AsOf = asOf
		return err
	})
	if err != nil {
		return TokenState{}, fmt.Errorf("read state of a token: %w", err)
	}
	return st, nil
}

// TryOut is the id of what stands for an application where a version is tried out. No
// application has it.
const TryOut = "try-out"

// readTryOut returns what is known of a try-out token. It leaves AsOf open.
func readTryOut(ctx context.Context, tx *sqldb.Tx, t Token, version string, stage Stage) (st TokenState, err error) {
	var alive, owns, revoked bool
	err = tx.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM sign_in WHERE id = $1 AND user_id = $2),
			EXISTS (SELECT 1 FROM version v JOIN users u ON u.id = $2 WHERE v.name = $3 AND (v.owner = u.id OR u.admin)),
			EXISTS (SELECT 1 FROM revocation WHERE id IN ($4, $5, $6))`,
		t.SignIn.SignIn, t.SignIn.User, version, t.ID, ofOwner(t.ID, TryOut), ofOwner(t.ID, t.SignIn.User)).Scan(&alive, &owns, &revoked)
	return TokenState{
		Known: true, Over: !alive, NotOwner: !owns, Revoked: revoked, Subscribed: true, Grant: Grant{User: t.SignIn.User, Application: TryOut, Stage: stage},
	}, err
}

// readTokenState returns what is known of a token for a version; where, with parameters from
// $5 on, finds its OAuth client, called c. It leaves Elsewhere and AsOf open.
func readTokenState(ctx context.Context, tx *sqldb.Tx, t Token, version, where string, client ...any) (st TokenState, err error) {
	var revoked moment.Moment
	rights := rightsOf(&st)
	err = tx.QueryRowContext(ctx, `
		SELECT c.id, c.stage, c.revoked, c.revoked_us,
			EXISTS (SELECT 1 FROM revocation r WHERE r.id IN ($2, $2 || '@' || a.id, $4 || '@' || c.id, $4)),
			CAST($3 AS TEXT) <> '' AND NOT EXISTS (SELECT 1 FROM sign_in i WHERE i.id = $3 AND i.user_id = a.owner), `+rightsColumns+`
		FROM oauth_client c `+rightsJoins+where, append([]any{version, t.ID, t.SignIn.SignIn, t.Secret}, client...)...).
		Scan(append([]any{&st.OAuthClient, &st.Stage, &revoked.Change, &revoked.Time, &st.Revoked, &st.Over}, rights.dests()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return TokenState{}, nil
	}
	if err != nil {
		return TokenState{}, err
	}
	rights.settle(t.Issued)
	st.Revoked = st.Revoked || t.Issued.Before(revoked)
	return st, nil
}

// Columns and joins that find out what the application of a credential, called c, may at
// the version $1.
const (
	rightsColumns = `a.id, a.owner, a.plan, u.state <> 1,
			COALESCE(s.id, ''), COALESCE(s.plan, ''), COALESCE(s.blocked, FALSE), COALESCE(v.subscriptionless, FALSE),
			a.revoked, a.revoked_us, COALESCE(rv.revoked, 0), COALESCE(rv.revoked_us, 0)`
	rightsJoins = `
		JOIN application a ON a.id = c.application
		JOIN users u ON u.id = a.owner
		LEFT JOIN version v ON v.name = $1
		LEFT JOIN subscription s ON s.application = a.id AND s.version = $1
		LEFT JOIN revoked_at_version rv ON rv.application = a.id AND rv.version = $1
		`
)

// rights reads rightsColumns into a state.
type rights struct {
	st               *TokenState
	subscriptionless bool
	revoked          [2]moment.Moment // when all was revoked that the application had, everywhere and at the version
}

func rightsOf(st *TokenState) *rights { return &rights{st: st} }

// dests are where the columns are scanned to.
func (r *rights) dests() []any {
	st := r.st
	return []any{&st.Application, &st.User, &st.ApplicationPlan, &st.Suspended, &st.Subscription, &st.Plan, &st.Blocked, &r.subscriptionless,
		&r.revoked[0].Change, &r.revoked[0].Time, &r.revoked[1].Change, &r.revoked[1].Time}
}

// settle sets what follows from the columns for a credential that was issued at a moment.
func (r *rights) settle(issued moment.Moment) {
	r.st.Revoked = r.st.Revoked || issued.Before(r.revoked[0]) || issued.Before(r.revoked[1])
	r.st.Known, r.st.Subscribed = true, r.st.Subscription != ""
	if !r.st.Subscribed && r.subscriptionless {
		r.st.Subscribed, r.st.Plan = true, SubscriptionlessPlan
	}
}

// GrantQuery names a grant that a gateway holds.
type GrantQuery struct {
	// Token has no ClientID and no Resource. Of an API key it has only the id of the key's
	// value.
	Token Token
	// APIKey is zero for a token. Otherwise only the version is set besides, and whether there
	// was a subscription.
	APIKey resourcename.APIKey
	// OAuthClient is zero for a try-out token, which has Stage.
	OAuthClient resourcename.OAuthClient
	Stage       Stage
	// Version is a resource name.
	Version string
	// Subscribed says that the grant had a subscription.
	Subscribed bool
	ExpiresAt  time.Time
}

// GrantState is the present state of a grant: the grant, or why it ended.
type GrantState struct {
	Grant
	// ExpiresAt is when the value of an API key expires; the zero time means never. That
	// of a token never changes.
	ExpiresAt time.Time
	// Issued is the moment at which the value of an API key was issued; zero for a token.
	Issued moment.Moment
	// Ended is why it ended; unspecified while it is valid.
	Ended backplanev1.GrantEvent_Cause
}

// Grants returns the state of each grant, in the order of queries, all as of one
// change.
func (s *Store) Grants(ctx context.Context, queries []GrantQuery) (states []GrantState, asOf uint64, err error) {
	err = s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		states = make([]GrantState, 0, len(queries))
		if asOf, err = change.Head(ctx, tx); err != nil {
			return err
		}
		for _, q := range queries {
			state, err := s.grant(ctx, tx, q)
			if err != nil {
				return err
			}
			states = append(states, state)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read grants: %w", err)
	}
	return states, asOf, nil
}

func (s *Store) grant(ctx context.Context, tx *sqldb.Tx, q GrantQuery) (GrantState, error) {
	if q.APIKey != (resourcename.APIKey{}) {
		return s.keyGrant(ctx, tx, q)
	}
	if !s.now().Before(q.ExpiresAt) {
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}, nil
	}
	if q.OAuthClient == (resourcename.OAuthClient{}) {
		return tryOutGrant(ctx, tx, q)
	}
	st, err := readTokenState(ctx, tx, q.Token, q.Version,
		`WHERE c.application = $5 AND c.id = $6`, q.OAuthClient.Application, q.OAuthClient.OAuthClient)
	switch {
	case err != nil:
		return GrantState{}, err
	case !st.Known:
		return ended(ctx, tx, `SELECT EXISTS (SELECT 1 FROM application WHERE id = $1)`, q.OAuthClient.Application,
			backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED, backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED)
	case st.Revoked:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED}, nil
	case st.Over && !st.Suspended:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED}, nil
	}
	return rightsEnded(ctx, tx, q, st)
}

// rightsEnded returns the grant, or what ended it of what the application may at the
// version.
func rightsEnded(ctx context.Context, tx *sqldb.Tx, q GrantQuery, st TokenState) (GrantState, error) {
	switch {
	case st.Suspended:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_USER_SUSPENDED}, nil
	case st.Blocked:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED}, nil
	case !st.Subscribed:
		lost := backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_REQUIRED
		if q.Subscribed {
			lost = backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED
		}
		return ended(ctx, tx, `SELECT EXISTS (SELECT 1 FROM version WHERE name = $1)`, q.Version,
			lost, backplanev1.GrantEvent_CAUSE_VERSION_DELETED)
	}
	return GrantState{Grant: st.Grant}, nil
}

func tryOutGrant(ctx context.Context, tx *sqldb.Tx, q GrantQuery) (GrantState, error) {
	st, err := readTryOut(ctx, tx, q.Token, q.Version, q.Stage)
	switch {
	case err != nil:
		return GrantState{}, err
	case st.Revoked:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED}, nil
	case st.Over:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED}, nil
	case st.NotOwner:
		return ended(ctx, tx, `SELECT EXISTS (SELECT 1 FROM version WHERE name = $1)`, q.Version,
			backplanev1.GrantEvent_CAUSE_NOT_OWNER, backplanev1.GrantEvent_CAUSE_VERSION_DELETED)
	}
	return GrantState{Grant: st.Grant}, nil
}

// ended finds, by what still exists, which deletion ended a grant.
func ended(ctx context.Context, tx *sqldb.Tx, query, arg string, there, gone backplanev1.GrantEvent_Cause) (GrantState, error) {
	exists, err := sqldb.Exists(ctx, tx, query, arg)
	if err != nil || exists {
		return GrantState{Ended: there}, err
	}
	return GrantState{Ended: gone}, nil
}

// Head returns the number of the newest change.
func (s *Store) Head(ctx context.Context) (uint64, error) { return change.Head(ctx, s.db) }
