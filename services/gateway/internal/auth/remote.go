package auth

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// Remote is the subscription service as a Source.
type Remote struct {
	client backplanev1.GrantServiceClient
}

// NewRemote returns the service behind client.
func NewRemote(client backplanev1.GrantServiceClient) *Remote { return &Remote{client: client} }

// Verify judges a credential.
func (r *Remote) Verify(ctx context.Context, credential, version string) (Answer, error) {
	resp, err := r.client.VerifyCredential(ctx, &backplanev1.VerifyCredentialRequest{
		Credential: credential, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2, Version: version,
	})
	if status.Code(err) == codes.InvalidArgument {
		return Answer{Denied: grant.ErrUnauthenticated}, nil
	}
	if err != nil {
		return Answer{}, fmt.Errorf("verify a credential for %s: %w", version, err)
	}
	a := Answer{AsOf: resp.GetAsOfChangeNumber()}
	if d := resp.GetDenial(); d != nil {
		a.Denied, a.RestsOn = denied(d.GetReason()), d.GetRestsOn()
		return a, nil
	}
	g := resp.GetGrant()
	if a.Grant, err = toGrant(g, version); err != nil {
		return Answer{}, fmt.Errorf("verify a credential for %s: %w", version, err)
	}
	if !resp.GetServerTime().IsValid() {
		return Answer{}, fmt.Errorf("verify a credential for %s: the answer has no time", version)
	}
	a.RestsOn = a.Grant.IDs
	a.KeyType = keyTypes[g.GetKeyType()]
	a.Lifetime = a.Grant.ExpireTime.Sub(resp.GetServerTime().AsTime())
	return a, nil
}

var keyTypes = map[subscriptionv1.KeyType]grant.KeyType{
	subscriptionv1.KeyType_KEY_TYPE_PRODUCTION: grant.Production,
	subscriptionv1.KeyType_KEY_TYPE_SANDBOX:    grant.Sandbox,
}

// denied returns the error of a denial; reasons that are not known count as
// bad credentials.
func denied(r backplanev1.Denial_Reason) error {
	if r == backplanev1.Denial_REASON_NO_SUBSCRIPTION {
		return grant.ErrNotSubscribed
	}
	return grant.ErrUnauthenticated
}

// toGrant converts a grant, and refuses one that lacks what the gateway relies
// on.
func toGrant(g *backplanev1.Grant, version string) (*session.Grant, error) {
	switch {
	case g == nil:
		return nil, errors.New("neither a grant nor a denial")
	case g.GetName() == "" || len(g.GetRestsOn()) == 0 || !g.GetExpireTime().IsValid():
		return nil, errors.New("the grant lacks its name, its end or what it rests on")
	case g.GetVersion() != version:
		return nil, fmt.Errorf("the grant is for %s", g.GetVersion())
	}
	return &session.Grant{
		Name:         g.GetName(),
		User:         g.GetUser(),
		Application:  g.GetApplication(),
		Subscription: g.GetSubscription(),
		Key:          g.GetKey(),
		IDs:          g.GetRestsOn(),
		Scopes:       g.GetScopes(),
		ExpireTime:   g.GetExpireTime().AsTime(),
	}, nil
}

// Read reads grants again.
func (r *Remote) Read(ctx context.Context, asked []Query) (States, error) {
	req := &backplanev1.BatchGetGrantsRequest{}
	for _, q := range asked {
		req.Grants = append(req.Grants, &backplanev1.GrantQuery{
			Name:       q.Grant.Name,
			Key:        q.Grant.Key,
			Version:    q.Version,
			ExpireTime: timestamppb.New(q.Grant.ExpireTime),
			Scopes:     q.Grant.Scopes,
		})
	}
	resp, err := r.client.BatchGetGrants(ctx, req)
	if err != nil {
		return States{}, fmt.Errorf("read %d grants: %w", len(asked), err)
	}
	if len(resp.GetGrants()) != len(asked) {
		return States{}, fmt.Errorf("read %d grants: %d came", len(asked), len(resp.GetGrants()))
	}
	out := States{AsOf: resp.GetAsOfChangeNumber()}
	for i, s := range resp.GetGrants() {
		if s.GetState() == nil {
			return States{}, fmt.Errorf("read %s: no state came", asked[i].Grant.Name)
		}
		if s.GetGrant() == nil {
			out.States = append(out.States, State{Ended: causeOf(s.GetEnded())})
			continue
		}
		g, err := toGrant(s.GetGrant(), asked[i].Version)
		if err != nil {
			return States{}, fmt.Errorf("read %s: %w", asked[i].Grant.Name, err)
		}
		out.States = append(out.States, State{Grant: g})
	}
	return out, nil
}

// causeOf returns the cause that is meant; one that is not known is a change,
// which makes the gateway look for itself.
func causeOf(c backplanev1.GrantEvent_Cause) Cause {
	switch c {
	case backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED:
		return TokenRevoked
	case backplanev1.GrantEvent_CAUSE_KEY_DELETED:
		return KeyDeleted
	case backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED:
		return ApplicationDeleted
	case backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED:
		return SubscriptionDeleted
	case backplanev1.GrantEvent_CAUSE_USER_DELETED:
		return UserDeleted
	case backplanev1.GrantEvent_CAUSE_VERSION_DELETED:
		return VersionDeleted
	case backplanev1.GrantEvent_CAUSE_EXPIRED:
		return Expired
	default:
		return Changed
	}
}
