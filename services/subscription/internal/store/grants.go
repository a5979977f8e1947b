package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Grant is what a token is valid for, according to its rows.
type Grant struct {
	// User, Application, OAuthClient and Subscription are ids. Subscription is empty where
	// the version needs none and there is none.
	User, Application, OAuthClient, Subscription string
	Stage                                        Stage
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

// TokenState returns what is known of a token, issued to the OAuth client with this
// client_id, for a version. resource is the address that the token is narrowed to, ""
// for none.
func (s *Store) TokenState(ctx context.Context, tokenID, clientID, resource, version string) (TokenState, error) {
	var st TokenState
	err := s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		st = TokenState{}
		asOf, err := change.Head(ctx, tx)
		if err != nil {
			return err
		}
		if st, err = readTokenState(ctx, tx, tokenID, version, `WHERE c.client_id = $3`, clientID); err != nil {
			return err
		}
		st.AsOf = asOf
		if st.Known && resource != "" {
			st.Elsewhere, err = elsewhere(ctx, tx, resource, version)
		}
		return err
	})
	if err != nil {
		return TokenState{}, fmt.Errorf("read state of a token: %w", err)
	}
	return st, nil
}

// readTokenState returns what is known of a token for a version; where, with parameters
// from $3 on, finds its OAuth client, called c. It leaves Elsewhere and AsOf open.
func readTokenState(ctx context.Context, tx *sqldb.Tx, tokenID, version, where string, client ...any) (st TokenState, err error) {
	var subscriptionless bool
	err = tx.QueryRowContext(ctx, `
		SELECT c.id, c.stage, a.id, a.owner, a.plan, u.state <> 1,
			COALESCE(s.id, ''), COALESCE(s.plan, ''), COALESCE(s.blocked, FALSE), COALESCE(v.subscriptionless, FALSE),
			EXISTS (SELECT 1 FROM revocation r WHERE r.id = $1)
		FROM oauth_client c
		JOIN application a ON a.id = c.application
		JOIN users u ON u.id = a.owner
		LEFT JOIN version v ON v.name = $2
		LEFT JOIN subscription s ON s.application = a.id AND s.version = $2
		`+where, append([]any{tokenID, version}, client...)...).
		Scan(&st.OAuthClient, &st.Stage, &st.Application, &st.User, &st.ApplicationPlan, &st.Suspended,
			&st.Subscription, &st.Plan, &st.Blocked, &subscriptionless, &st.Revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return TokenState{}, nil
	}
	if err != nil {
		return TokenState{}, err
	}
	st.Known, st.Subscribed = true, st.Subscription != ""
	if !st.Subscribed && subscriptionless {
		st.Subscribed, st.Plan = true, SubscriptionlessPlan
	}
	return st, nil
}

// GrantQuery names a grant that a gateway holds.
type GrantQuery struct {
	TokenID     string
	OAuthClient resourcename.OAuthClient
	// Version is a resource name.
	Version string
	// Subscribed says that the grant had a subscription.
	Subscribed bool
	ExpiresAt  time.Time
}

// GrantState is the present state of a grant: the grant, or why it ended.
type GrantState struct {
	Grant
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
	if !s.now().Before(q.ExpiresAt) {
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}, nil
	}
	st, err := readTokenState(ctx, tx, q.TokenID, q.Version, `WHERE c.application = $3 AND c.id = $4`, q.OAuthClient.Application, q.OAuthClient.OAuthClient)
	switch {
	case err != nil:
		return GrantState{}, err
	case !st.Known:
		return ended(ctx, tx, `SELECT EXISTS (SELECT 1 FROM application WHERE id = $1)`, q.OAuthClient.Application,
			backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED, backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED)
	case st.Revoked:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED}, nil
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

// ended finds, by what still exists, which deletion ended a grant.
func ended(ctx context.Context, tx *sqldb.Tx, query, arg string, there, gone backplanev1.GrantEvent_Cause) (GrantState, error) {
	exists, err := sqldb.Exists(ctx, tx, query, arg)
	if err != nil || exists {
		return GrantState{Ended: there}, err
	}
	return GrantState{Ended: gone}, nil
}

// Revoke revokes a token of an OAuth client until the token would have expired.
// Revoking it again makes no change.
func (s *Store) Revoke(ctx context.Context, c OAuthClient, tokenID string, expires time.Time) error {
	return s.log.Write(ctx, "revoke token", func(tx *change.Tx) (change.Record, error) {
		added, err := sqldb.Changed(tx.ExecContext(ctx, `
			INSERT INTO revocation (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`,
			tokenID, expires.UnixMicro()))
		if err != nil {
			return change.Record{}, err
		}
		name := GrantName(tokenID)
		return change.Record{
			Actor: c.Name.String(), ActorLabel: c.Label(), Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, name), Skip: !added,
		}, nil
	})
}

// Head returns the number of the newest change.
func (s *Store) Head(ctx context.Context) (uint64, error) { return change.Head(ctx, s.db) }

// Revoked reports whether a token was revoked.
func (s *Store) Revoked(ctx context.Context, tokenID string) (bool, error) {
	revoked, err := sqldb.Exists(ctx, s.db, `SELECT EXISTS (SELECT 1 FROM revocation WHERE id = $1)`, tokenID)
	if err != nil {
		return false, fmt.Errorf("read revocation: %w", err)
	}
	return revoked, nil
}
