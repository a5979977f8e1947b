package store

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// A row of revocation is of a token, by its id, or of something that holds for one owner only
// (see ofOwner): of a token by its name, for the application or the user who revoked it, and of
// the tokens of a secret, for its OAuth client. Earlier builds wrote that of a secret by its id
// alone, which holds, too.

// ofOwner returns the id of a revocation that holds only for what belongs to an owner, so that
// nobody revokes what is another's by naming it.
func ofOwner(what, owner string) string { return what + "@" + owner }

// maxNamed is how many tokens and secrets may be revoked at a time by their names, of one
// application, or of one user's try-out tokens. They are not stored, so a name may be of
// nothing.
const maxNamed = 1000

// longestLife is how long a token can live: the longest that the configuration allows.
const longestLife = 30 * 24 * time.Hour

// allCredentials is what the audit log says was revoked, where it was not one credential.
const allCredentials = "credentials"

// Revoke revokes a token of an OAuth client until the token would have expired.
// Revoking it again makes no change.
func (s *Store) Revoke(ctx context.Context, c OAuthClient, tokenID string, expires time.Time) error {
	return s.log.Write(ctx, "revoke token", func(tx *change.Tx) (change.Record, error) {
		r, err := revokeToken(ctx, tx, tokenID, expires)
		r.Actor, r.ActorLabel = c.Name.String(), c.Label()
		return r, err
	})
}

// revokeToken adds a revocation of a token, and skips where there is one already.
func revokeToken(ctx context.Context, tx *change.Tx, tokenID string, expires time.Time) (change.Record, error) {
	added, err := sqldb.Changed(tx.ExecContext(ctx, `
		INSERT INTO revocation (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, tokenID, expires.UnixMicro()))
	name := GrantName(tokenID)
	return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, name), Skip: !added}, err
}

// revokeNamed adds a revocation of what its owner has named, and reports whether there was
// none yet. It is for an application, or a user, who may have maxNamed of them.
func revokeNamed(ctx context.Context, tx *change.Tx, id, namedFor, remedy string) (added bool, err error) {
	added, err = sqldb.Changed(tx.ExecContext(ctx, `
		INSERT INTO revocation (id, expires_at, named_for) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`,
		id, tx.Time.Add(longestLife).UnixMicro(), namedFor))
	if err != nil || !added {
		return false, err
	}
	var n int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM revocation WHERE named_for = $1 AND expires_at > $2`, namedFor, tx.Time.UnixMicro()).Scan(&n)
	if err == nil && n > maxNamed {
		err = fault.Precondition("%d tokens and secrets are revoked by their names, as many as may be: %s", maxNamed, remedy)
	}
	return true, err
}

// revokeAllInstead is what to do where an application has maxNamed revocations.
const revokeAllInstead = "revoke the application, which revokes all of them, or a token by its value"

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
func revokedBefore(tx *change.Tx, names ...string) *backplanev1.GrantEvent {
	e := event(backplanev1.GrantEvent_CAUSE_REVOKED, names...)
	e.IssuedBeforeChangeNumber, e.IssuedBeforeChangeTime = tx.Number, tx.Moment.Timestamp()
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
		return revokeToken(ctx, tx, t.ID, expires)
	})
}

func errNoToken(id string) error { return fault.NotFound("%s", GrantName(id)) }

// RevokeGrant revokes a credential by the name of its grant alone: that of an application
// that v may see and that check lets the caller do it to, and of no other; with an empty
// application that of any. With TryOut it is a try-out token of v's, who may see everything
// that of any user. Of an API key it deletes the value that the grant is of; of a token
// nothing is stored.
func (s *Store) RevokeGrant(ctx context.Context, v identity.Viewer, tokenID, application string, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke token by its name", func(tx *change.Tx) (change.Record, error) {
		switch application {
		case "":
			if r, found, err := dropKeyValue(ctx, tx, tokenID, application); found || err != nil {
				return r, err
			}
			return revokeToken(ctx, tx, tokenID, tx.Time.Add(longestLife))
		case TryOut:
			return revokeTryOut(ctx, tx, v, tokenID)
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
		added, err := revokeNamed(ctx, tx, ofOwner(tokenID, application), application, revokeAllInstead)
		e := event(backplanev1.GrantEvent_CAUSE_REVOKED, GrantName(tokenID))
		e.Application = ApplicationName(application)
		return change.Record{Resource: GrantName(tokenID), Event: e, Skip: !added}, err
	})
}

// revokeTryOut revokes a try-out token by its name: of v alone, or where v sees everything of
// any user.
func revokeTryOut(ctx context.Context, tx *change.Tx, v identity.Viewer, tokenID string) (change.Record, error) {
	e := event(backplanev1.GrantEvent_CAUSE_REVOKED, GrantName(tokenID))
	e.Application = ApplicationName(TryOut)
	owner := TryOut
	if !v.All {
		owner, e.User = v.User, UserName(v.User)
	}
	added, err := revokeNamed(ctx, tx, ofOwner(tokenID, owner), owner, "revoke a token by its value, or end the sign-in")
	return change.Record{Resource: GrantName(tokenID), Event: e, Skip: !added}, err
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
		if _, err := tx.ExecContext(ctx, `UPDATE application SET revoked = $1, revoked_us = $2 WHERE id = $3`, int64(tx.Number), tx.Moment.Time, id); err != nil {
			return change.Record{}, err
		}
		// Whatever these were of was issued before.
		_, err = tx.ExecContext(ctx, `DELETE FROM revocation WHERE named_for = $1`, id)
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
		_, err = tx.ExecContext(ctx, `UPDATE oauth_client SET revoked = $1, revoked_us = $2 WHERE id = $3`, int64(tx.Number), tx.Moment.Time, name.OAuthClient)
		return change.Record{Resource: name.String(), Label: c.Label(), Secrets: []string{allCredentials}, Event: revokedBefore(tx, name.String())}, err
	})
}

// RevokeSecret removes a secret and revokes the tokens that were issued for it. They may
// outlive it, so it may be one that was deleted or has expired: it is enough that v may see
// the OAuth client.
func (s *Store) RevokeSecret(ctx context.Context, v identity.Viewer, name resourcename.OAuthClientSecret, check func(owner string) error) (uint64, error) {
	return s.revoke(ctx, "revoke secret", func(tx *change.Tx) (change.Record, error) {
		c, err := readOAuthClient(ctx, tx, v, resourcename.OAuthClient{Application: name.Application, OAuthClient: name.OAuthClient})
		if fault.Is(err, codes.NotFound) {
			return change.Record{}, fault.NotFound("%s", name)
		}
		if err != nil {
			return change.Record{}, err
		}
		if err := check(c.Owner); err != nil {
			return change.Record{}, err
		}
		r := change.Record{
			Resource: name.String(), Label: c.Label(), Secrets: []string{"secret"}, Event: event(backplanev1.GrantEvent_CAUSE_REVOKED, name.String()),
		}
		secret, err := readSecret(ctx, tx, v, name)
		there := err == nil
		if err != nil && !fault.Is(err, codes.NotFound) {
			return change.Record{}, err
		}
		if there {
			r.Before = secret
			if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_client_secret WHERE id = $1`, name.Secret); err != nil {
				return change.Record{}, err
			}
		}
		added, err := revokeNamed(ctx, tx, ofOwner(name.Secret, name.OAuthClient), name.Application, revokeAllInstead)
		r.Skip = !added && !there
		return r, err
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
		_, err = tx.ExecContext(ctx, `
			INSERT INTO revoked_at_version (application, version, revoked, revoked_us) VALUES ($1, $2, $3, $4)
			ON CONFLICT (application, version) DO UPDATE SET revoked = excluded.revoked, revoked_us = excluded.revoked_us`,
			sub.Application, sub.Version, int64(tx.Number), tx.Moment.Time)
		name := SubscriptionName(id)
		return change.Record{
			Resource: name, Label: sub.Label(), Secrets: []string{allCredentials}, Event: revokedBefore(tx, name, PairName(sub.Application, sub.Version)),
		}, err
	})
}
