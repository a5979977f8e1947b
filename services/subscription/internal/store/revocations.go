package store

import (
	"context"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// A row of revocation is of a token, or of all tokens of a secret: their id. One that holds
// for the token of one application only has the application, too.

// revocationOf returns the id of a revocation that holds for a token of one application only.
func revocationOf(tokenID, application string) string { return tokenID + "@" + application }

// longestLife is how long a token can live: the longest that the configuration allows.
const longestLife = 30 * 24 * time.Hour

// allCredentials is what the audit log says was revoked, where it was not one credential.
const allCredentials = "credentials"

// Revoke revokes a token of an OAuth client until the token would have expired.
// Revoking it again makes no change.
func (s *Store) Revoke(ctx context.Context, c OAuthClient, tokenID string, expires time.Time) error {
	return s.log.Write(ctx, "revoke token", func(tx *change.Tx) (change.Record, error) {
		r, err := revokeToken(ctx, tx, tokenID, tokenID, expires)
		r.Actor, r.ActorLabel = c.Name.String(), c.Label()
		return r, err
	})
}

// revokeToken adds a revocation of a token, and skips where there is one already.
func revokeToken(ctx context.Context, tx *change.Tx, id, tokenID string, expires time.Time) (change.Record, error) {
	added, err := sqldb.Changed(tx.ExecContext(ctx, `
		INSERT INTO revocation (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, expires.UnixMicro()))
	name := GrantName(tokenID)
	return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, name), Skip: !added}, err
}

// revoke makes the change of a revocation, and returns its number, 0 where there was nothing
// to revoke.
func (s *Store) revoke(ctx context.Context, doing string, fn func(tx *change.Tx) (change.Record, error)) (number uint64, err error) {
	err = s.log.Write(ctx, doing, func(tx *change.Tx) (change.Record, error) {
		r, err := fn(tx)
		if number = tx.Number; err != nil || r.Skip {
			number = 0
		}
		return r, err
	})
	return number, err
}

// revokedBefore is the event of a change that revokes all credentials issued before it.
func revokedBefore(tx *change.Tx, name string) *backplanev1.GrantEvent {
	e := event(backplanev1.GrantEvent_CAUSE_REVOKED, name)
	e.IssuedBeforeChangeNumber = tx.Number
	return e
}

// RevokeToken revokes a token, which check lets the caller do to its application's owner; of a
// try-out token that is the user who got it. A token of an OAuth client that v may not see,
// or that is gone, is NotFound.
func (s *Store) RevokeToken(ctx context.Context, v identity.Viewer, t Token, expires time.Time, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke token", func(tx *change.Tx) (change.Record, error) {
		owner := t.SignIn.User
		if t.ClientID != "" {
			c, found, err := sqldb.One(ctx, tx, scanOAuthClient, selectOAuthClient+`WHERE c.client_id = $1`, t.ClientID)
			switch {
			case err != nil:
				return change.Record{}, fmt.Errorf("read OAuth client: %w", err)
			case !found:
				return change.Record{}, errNoToken(t.ID)
			}
			owner = c.Owner
		}
		if !v.Sees(owner) {
			return change.Record{}, errNoToken(t.ID)
		}
		if err := check(owner); err != nil {
			return change.Record{}, err
		}
		return revokeToken(ctx, tx, t.ID, t.ID, expires)
	})
}

func errNoToken(id string) error { return fault.NotFound("%s", GrantName(id)) }

// RevokeGrant revokes a credential by the name of its grant alone: that of an application
// that v may see and that check lets the caller do it to, and of no other; with an empty
// application that of any. Of an API key it deletes the value that the grant is of; of a
// token nothing is stored.
func (s *Store) RevokeGrant(ctx context.Context, v identity.Viewer, tokenID, application string, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke token by its name", func(tx *change.Tx) (change.Record, error) {
		expires := tx.Time.Add(longestLife)
		if application == "" {
			if r, found, err := dropKeyValue(ctx, tx, tokenID, application); found || err != nil {
				return r, err
			}
			return revokeToken(ctx, tx, tokenID, tokenID, expires)
		}
		a, err := readApplication(ctx, tx, v, application)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(a.Owner); err != nil {
			return change.Record{}, err
		}
		if r, found, err := dropKeyValue(ctx, tx, tokenID, application); found || err != nil {
			return r, err
		}
		r, err := revokeToken(ctx, tx, revocationOf(tokenID, application), tokenID, expires)
		e := event(backplanev1.GrantEvent_CAUSE_REVOKED, GrantName(tokenID))
		e.Application = ApplicationName(application)
		r.Event = e
		return r, err
	})
}

// dropKeyValue deletes the value of an API key that a grant is of, and returns the change.
// found is false where the grant is of no key, or of another application; "" is any.
func dropKeyValue(ctx context.Context, tx *change.Tx, id, application string) (r change.Record, found bool, err error) {
	name, found, err := sqldb.One(ctx, tx, scanKeyOfValue, `
		SELECT c.application, c.id FROM api_key_value k JOIN api_key c ON c.id = k.api_key
		WHERE k.id = $1 AND (c.application = $2 OR $2 = '')`, id, application)
	if err != nil || !found {
		return change.Record{}, false, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM api_key_value WHERE id = $1`, id)
	return change.Record{
		Resource: name.String(), Secrets: []string{"key"}, Event: event(backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED, GrantName(id)),
	}, true, err
}

func scanKeyOfValue(row sqldb.Row) (n resourcename.APIKey, err error) {
	return n, row.Scan(&n.Application, &n.APIKey)
}

// RevokeApplication revokes the credentials that an application, which v may see and which
// check lets the caller do it to, has until now.
func (s *Store) RevokeApplication(ctx context.Context, v identity.Viewer, id string, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke credentials of an application", func(tx *change.Tx) (change.Record, error) {
		a, err := readApplication(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(a.Owner); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE application SET revoked = $1 WHERE id = $2`, int64(tx.Number), id)
		name := ApplicationName(id)
		return change.Record{Resource: name, Label: a.Label(), Secrets: []string{allCredentials}, Event: revokedBefore(tx, name)}, err
	})
}

// RevokeOAuthClient revokes the tokens that an OAuth client has until now.
func (s *Store) RevokeOAuthClient(ctx context.Context, v identity.Viewer, name resourcename.OAuthClient, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke tokens of an OAuth client", func(tx *change.Tx) (change.Record, error) {
		c, err := readOAuthClient(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(c.Owner); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE oauth_client SET revoked = $1 WHERE id = $2`, int64(tx.Number), name.OAuthClient)
		return change.Record{Resource: name.String(), Label: c.Label(), Secrets: []string{allCredentials}, Event: revokedBefore(tx, name.String())}, err
	})
}

// RevokeSecret removes a secret and revokes the tokens that were issued for it.
func (s *Store) RevokeSecret(ctx context.Context, v identity.Viewer, name resourcename.OAuthClientSecret, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke secret", func(tx *change.Tx) (change.Record, error) {
		secret, err := readSecret(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		c, err := readOAuthClient(ctx, tx, v, resourcename.OAuthClient{Application: name.Application, OAuthClient: name.OAuthClient})
		if err != nil {
			return change.Record{}, err
		}
		if err := check(c.Owner); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_client_secret WHERE id = $1`, name.Secret); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO revocation (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`,
			name.Secret, tx.Time.Add(longestLife).UnixMicro())
		return change.Record{
			Resource: name.String(), Before: secret, Secrets: []string{"secret"}, Event: event(backplanev1.GrantEvent_CAUSE_REVOKED, name.String()),
		}, err
	})
}

// RevokeAPIKey removes an API key.
func (s *Store) RevokeAPIKey(ctx context.Context, v identity.Viewer, name resourcename.APIKey, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke API key", func(tx *change.Tx) (change.Record, error) {
		return deleteAPIKey(ctx, tx, v, name, func(k APIKey) error { return check(k.Owner) })
	})
}

// RevokeSubscription revokes, at the version of a subscription, the credentials that its
// application has until now.
func (s *Store) RevokeSubscription(ctx context.Context, v identity.Viewer, id string, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke credentials of a subscription", func(tx *change.Tx) (change.Record, error) {
		sub, err := readSubscription(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(sub.Owner); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE subscription SET revoked = $1 WHERE id = $2`, int64(tx.Number), id)
		name := SubscriptionName(id)
		return change.Record{Resource: name, Label: sub.Label(), Secrets: []string{allCredentials}, Event: revokedBefore(tx, name)}, err
	})
}
