package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Issue is what a token is made of that a user gets within a sign-in.
type Issue struct {
	// ClientID is that of the application's OAuth client; empty for a try-out token.
	ClientID string
	// Address is the one of the version that the token is narrowed to.
	Address string
	// SignInEnds is when the sign-in ends at the latest, unless it is refreshed.
	SignInEnds time.Time
	// AsOf is the moment at which all of it was read.
	AsOf moment.Moment
}

// IssueForApplication returns what a token of an application, for a version and a stage, is
// made of. The application must be that of the sign-in's user, whom check lets have it. A
// refusal that rests on what is known of the version is a *CatalogRefusal.
func (s *Store) IssueForApplication(
	ctx context.Context, signIn resourcename.SignIn, application, version string, stage Stage, check func(Application) error,
) (out Issue, err error) {
	return s.issue(ctx, signIn, func(tx *sqldb.Tx, out *Issue) error {
		user := identity.Viewer{User: signIn.User}
		app, err := readApplication(ctx, tx, user, application)
		if err != nil {
			return err
		}
		if err := check(app); err != nil {
			return err
		}
		v, err := checkVersion(ctx, tx, user, version)
		if err != nil {
			return err
		}
		client, found, err := sqldb.One(ctx, tx, scanOAuthClient, selectOAuthClient+`WHERE c.application = $1 AND c.stage = $2`, application, int64(stage))
		if err != nil {
			return fmt.Errorf("read OAuth client: %w", err)
		}
		if !found {
			return fault.WithReason(fault.Precondition("%s has no OAuth client for %s: create one", ApplicationName(app.ID), stage), fault.ReasonOAuthClientMissing)
		}
		st, err := readTokenState(ctx, tx, Token{SignIn: signIn}, version, `WHERE c.client_id = $5`, client.ClientID)
		if err != nil {
			return err
		}
		out.ClientID = client.ClientID
		switch {
		case st.Blocked:
			return fault.WithReason(fault.Precondition("the subscription of %s to %s is blocked", ApplicationName(app.ID), version), fault.ReasonSubscriptionBlocked)
		case !st.Subscribed:
			return &CatalogRefusal{Version: version,
				fault: fault.WithReason(fault.Precondition("%s is not subscribed to %s", ApplicationName(app.ID), version), fault.ReasonNotSubscribed)}
		}
		return out.to(ctx, tx, v, stage)
	})
}

// IssueToTryOut returns what a try-out token of the sign-in's user, for a version and a
// stage, is made of. The user must own the version, unless v may see everything. A refusal
// that rests on what is known of the version is a *CatalogRefusal.
func (s *Store) IssueToTryOut(ctx context.Context, v identity.Viewer, signIn resourcename.SignIn, version string, stage Stage) (Issue, error) {
	return s.issue(ctx, signIn, func(tx *sqldb.Tx, out *Issue) error {
		found, known, err := readVersion(ctx, tx, version)
		switch {
		case err != nil:
			return err
		case !known, !found.Published && !v.Publishes && !v.Sees(found.Owner):
			return &CatalogRefusal{Version: version, fault: fault.NotFound("%s", version)}
		case !v.Sees(found.Owner):
			return &CatalogRefusal{Version: version, fault: fault.Denied("only its owner and administrators may try a version out")}
		}
		return out.to(ctx, tx, found, stage)
	})
}

// issue reads what a token is made of, in one transaction.
func (s *Store) issue(ctx context.Context, signIn resourcename.SignIn, read func(*sqldb.Tx, *Issue) error) (out Issue, err error) {
	err = s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		asOf, err := change.Latest(ctx, tx)
		if err != nil {
			return err
		}
		in, found, err := sqldb.One(ctx, tx, scanSignIn, selectSignIn+`WHERE user_id = $1 AND id = $2 AND expires_at > $3`,
			signIn.User, signIn.SignIn, s.moment().UnixMicro())
		if err != nil {
			return fmt.Errorf("read %s: %w", signIn, err)
		}
		if !found {
			return fault.WithReason(fault.Unauthenticated("the sign-in has ended: sign in again"), fault.ReasonAccessEnded)
		}
		out = Issue{SignInEnds: in.ExpiresAt, AsOf: asOf}
		return read(tx, &out)
	})
	return out, err
}

// to sets where the token leads to.
func (i *Issue) to(ctx context.Context, tx *sqldb.Tx, v Version, stage Stage) error {
	if !v.has(stage) {
		return &CatalogRefusal{Version: v.Name,
			fault: fault.WithReason(fault.Precondition("%s has no endpoint for %s", v.Name, stage), fault.ReasonEndpointMissing)}
	}
	gateways, err := readGateways(ctx, tx)
	if err != nil {
		return fmt.Errorf("read the gateways' addresses: %w", err)
	}
	if len(gateways) == 0 {
		return fault.Precondition("no gateway advertises an address that a token could be for: set -gateway-urls of the catalog")
	}
	i.Address = gateways[0] + v.Context + "/" + v.Version
	return nil
}
