package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

// Remote is the subscription service as a Source.
type Remote struct {
	client backplanev1.GrantServiceClient
}

// NewRemote returns the service behind client.
func NewRemote(client backplanev1.GrantServiceClient) *Remote { return &Remote{client: client} }

// Verify judges a credential.
func (r *Remote) Verify(ctx context.Context, c credential.Credential, version string) (Answer, error) {
	req := &backplanev1.VerifyCredentialRequest{
		Credential: c.Value, Scheme: schemeOf(c.Type), Version: version, Attempt: c.Use.Attempt, Origin: c.Use.Origin,
	}
	if c.Use.Client.IsValid() {
		req.ClientAddress = c.Use.Client.Unmap().WithZone("").String()
	}
	resp, err := r.client.VerifyCredential(ctx, req)
	if status.Code(err) == codes.InvalidArgument {
		return Answer{Denial: &Denial{Reason: ErrUnauthenticated}}, nil
	}
	var a Answer
	if err == nil {
		a, err = toAnswer(resp, version)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("verify a credential for %s: %w", version, err)
	}
	return a, nil
}

func schemeOf(t credential.Type) backplanev1.CredentialScheme {
	switch t {
	case credential.OAuth2:
		return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2
	case credential.APIKey:
		return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY
	case credential.Ticket:
		return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_TICKET
	default:
		return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_UNSPECIFIED
	}
}

func toAnswer(resp *backplanev1.VerifyCredentialResponse, version string) (Answer, error) {
	if d := resp.GetDenial(); d != nil {
		return Answer{Denial: &Denial{Reason: reasonOf(d.GetReason()), Application: d.GetApplication(), RestsOn: d.GetRestsOn()}, AsOf: resp.GetAsOfChangeNumber()}, nil
	}
	g, err := toGrant(resp.GetGrant(), version)
	switch {
	case err != nil:
		return Answer{}, err
	case !resp.GetServerTime().IsValid():
		return Answer{}, errors.New("the answer has no time")
	}
	g.AsOf = resp.GetAsOfChangeNumber()
	return Answer{Grant: g, Lifetime: lifetime(g, resp.GetServerTime()), AsOf: resp.GetAsOfChangeNumber()}, nil
}

// lifetime returns how much longer the credential of a grant lived at a time of the
// service; 0 where it never expires.
func lifetime(g *Grant, at *timestamppb.Timestamp) time.Duration {
	if g.ExpireTime.IsZero() {
		return 0
	}
	return g.ExpireTime.Sub(at.AsTime())
}

// reasonOf returns the reason of a denial. One that is not known counts as a bad
// credential.
func reasonOf(r backplanev1.Denial_Reason) error {
	switch r {
	case backplanev1.Denial_REASON_NO_SUBSCRIPTION:
		return ErrNotSubscribed
	case backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED:
		return ErrBlocked
	case backplanev1.Denial_REASON_SUSPENDED:
		return ErrSuspended
	case backplanev1.Denial_REASON_EXPIRED:
		return ErrExpired
	case backplanev1.Denial_REASON_REVOKED:
		return ErrRevoked
	case backplanev1.Denial_REASON_TICKET_SPENT:
		return ErrSpent
	case backplanev1.Denial_REASON_TICKET_ELSEWHERE:
		return ErrElsewhere
	default:
		return ErrUnauthenticated
	}
}

// toGrant converts a grant, and refuses one that lacks what the gateway relies on.
func toGrant(g *backplanev1.Grant, version string) (*Grant, error) {
	switch {
	case g == nil:
		return nil, errors.New("neither a grant nor a denial")
	case g.GetName() == "" || len(g.GetRestsOn()) == 0 || !g.GetExpireTime().IsValid() && (g.GetApiKey() == "" || g.GetExpireTime() != nil):
		return nil, errors.New("the grant lacks its name, its end or what it rests on")
	case g.GetVersion() != version:
		return nil, fmt.Errorf("the grant is for %s", g.GetVersion())
	}
	restsOn := g.GetRestsOn()
	if g.GetSecret() != "" {
		restsOn = append(restsOn, g.GetSecret())
	}
	out := &Grant{
		Name:         g.GetName(),
		Version:      g.GetVersion(),
		User:         g.GetUser(),
		Application:  g.GetApplication(),
		Subscription: g.GetSubscription(),
		Plan:         g.GetPlan(), ApplicationPlan: g.GetApplicationPlan(),
		OAuthClient: g.GetOauthClient(),
		APIKey:      g.GetApiKey(),
		SignIn:      g.GetSignIn(),
		Stage:       stageOf(g.GetStage()),
		Secret:      g.GetSecret(),
		Issued:      moment.Of(g.GetIssuedChangeNumber(), g.GetIssuedChangeTime()),
		Scopes:      g.GetScopes(),
		RestsOn:     restsOn,
		SessionRef:  g.GetSessionRef(),
	}
	if g.GetExpireTime() != nil {
		out.ExpireTime = g.GetExpireTime().AsTime()
	}
	return out, out.permitOnly(g.GetPermittedAddresses(), g.GetPermittedReferers())
}

// permitOnly sets where the credential is good from. What cannot be read is an error: a
// newer service may know more, and to leave it out would permit more.
func (g *Grant) permitOnly(addresses, referers []string) error {
	for _, text := range addresses {
		p, err := netaddr.ParseNetwork(text)
		if err != nil {
			return fmt.Errorf("the grant has a permitted address that cannot be read: %w", err)
		}
		g.Addresses = append(g.Addresses, p)
	}
	for _, text := range referers {
		r, err := permit.ParseReferer(text)
		if err != nil {
			return fmt.Errorf("the grant has a permitted referer that cannot be read: %w", err)
		}
		g.Referers = append(g.Referers, r)
	}
	return nil
}

func stageOf(t catalogv1.Stage) Stage {
	switch t {
	case catalogv1.Stage_STAGE_PRODUCTION:
		return Production
	case catalogv1.Stage_STAGE_SANDBOX:
		return Sandbox
	default:
		return 0
	}
}

// Read returns the present states of grants.
func (r *Remote) Read(ctx context.Context, grants []*Grant) (States, error) {
	req := &backplanev1.BatchGetGrantsRequest{}
	for _, g := range grants {
		q := &backplanev1.GrantQuery{
			Name:         g.Name,
			OauthClient:  g.OAuthClient,
			ApiKey:       g.APIKey,
			Version:      g.Version,
			Scopes:       g.Scopes,
			Subscription: g.Subscription,
			SignIn:       g.SignIn,
			Stage:        catalogv1.Stage(g.Stage), // the numbers are the same
			Secret:       g.Secret, IssuedChangeNumber: g.Issued.Change, IssuedChangeTime: g.Issued.Timestamp(),
		}
		if g.APIKey == "" {
			q.ExpireTime = timestamppb.New(g.ExpireTime)
		}
		req.Grants = append(req.Grants, q)
	}
	resp, err := r.client.BatchGetGrants(ctx, req)
	if err != nil {
		return States{}, fmt.Errorf("read %d grants: %w", len(grants), err)
	}
	if len(resp.GetGrants()) != len(grants) {
		return States{}, fmt.Errorf("read %d grants: %d came", len(grants), len(resp.GetGrants()))
	}
	states := States{AsOf: resp.GetAsOfChangeNumber()}
	for i, s := range resp.GetGrants() {
		st, err := toState(s, grants[i].Version)
		if err != nil {
			return States{}, fmt.Errorf("read %s: %w", grants[i].Name, err)
		}
		if st.Grant != nil {
			st.Grant.AsOf = states.AsOf
			st.Grant.ofTicket(grants[i].SessionRef)
			if !st.Grant.ExpireTime.Equal(grants[i].ExpireTime) {
				if !resp.GetServerTime().IsValid() {
					return States{}, fmt.Errorf("read %s: it has another end, and the answer has no time", grants[i].Name)
				}
				st.Lifetime = lifetime(st.Grant, resp.GetServerTime())
			}
		}
		states.States = append(states.States, st)
	}
	return states, nil
}

func toState(s *backplanev1.GrantState, version string) (State, error) {
	switch {
	case s.GetState() == nil:
		return State{}, errors.New("no state came")
	case s.GetGrant() == nil:
		return State{Ended: kindOf(s.GetEnded())}, nil
	}
	g, err := toGrant(s.GetGrant(), version)
	return State{Grant: g}, err
}

// kindOf returns the kind of an event. One that is not known is a change, which
// makes the gateway read the grants in question.
func kindOf(c backplanev1.GrantEvent_Cause) EventKind {
	switch c {
	case backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED:
		return TokenRevoked
	case backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED:
		return OAuthClientDeleted
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
	case backplanev1.GrantEvent_CAUSE_USER_SUSPENDED:
		return UserSuspended
	case backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED:
		return SubscriptionBlocked
	case backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_REQUIRED:
		return SubscriptionRequired
	case backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED:
		return SignInEnded
	case backplanev1.GrantEvent_CAUSE_NOT_OWNER:
		return NotOwner
	case backplanev1.GrantEvent_CAUSE_REVOKED:
		return Revoked
	case backplanev1.GrantEvent_CAUSE_API_KEY_DELETED:
		return APIKeyDeleted
	case backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED:
		return APIKeyReplaced
	default:
		return Changed
	}
}
