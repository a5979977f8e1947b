package grant

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

const version1 = "apis/x/versions/1"

var token = credential.Credential{Type: credential.OAuth2, Value: "t"}

// service is the subscription service with fixed answers.
type service struct {
	backplanev1.GrantServiceClient
	verdict *backplanev1.VerifyCredentialResponse
	grants  *backplanev1.BatchGetGrantsResponse
	asked   *backplanev1.BatchGetGrantsRequest
	err     error
	keys    bool // an API key is asked for
}

func (s *service) scheme() backplanev1.CredentialScheme {
	if s.keys {
		return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY
	}
	return backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2
}

func (s *service) VerifyCredential(_ context.Context, req *backplanev1.VerifyCredentialRequest, _ ...grpc.CallOption) (*backplanev1.VerifyCredentialResponse, error) {
	if req.GetScheme() != s.scheme() || req.GetCredential() != "t" || req.GetVersion() != version1 {
		return nil, fmt.Errorf("asked %v", req)
	}
	return s.verdict, s.err
}

func (s *service) BatchGetGrants(_ context.Context, req *backplanev1.BatchGetGrantsRequest, _ ...grpc.CallOption) (*backplanev1.BatchGetGrantsResponse, error) {
	s.asked = req
	return s.grants, s.err
}

var (
	serverTime = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	expireTime = serverTime.Add(time.Minute)
)

func wire() *backplanev1.Grant {
	return &backplanev1.Grant{
		Name: "grants/t", User: "users/p", Application: "applications/a", OauthClient: "applications/a/oauthClients/c",
		Stage: catalogv1.Stage_STAGE_SANDBOX, Subscription: "subscriptions/s", Version: version1, Plan: "plans/gold", ApplicationPlan: "plans/app",
		Scopes: []string{"read"}, ExpireTime: timestamppb.New(expireTime), RestsOn: []string{"grants/t", version1}, SignIn: "users/u/signIns/s",
		IssuedChangeNumber: 4, IssuedChangeTime: timestamppb.New(serverTime),
	}
}

func ours() *Grant {
	return &Grant{
		Name: "grants/t", Version: version1, User: "users/p", Application: "applications/a", OAuthClient: "applications/a/oauthClients/c", Stage: Sandbox,
		Subscription: "subscriptions/s", Plan: "plans/gold", ApplicationPlan: "plans/app", RestsOn: []string{"grants/t", version1}, Scopes: []string{"read"}, ExpireTime: expireTime, SignIn: "users/u/signIns/s",
		Issued: moment.Moment{Change: 4, Time: serverTime.UnixMicro()},
	}
}

// oursAsOf is ours as it was read.
func oursAsOf(number uint64) *Grant {
	g := ours()
	g.AsOf = number
	return g
}

func verdict(g *backplanev1.Grant) *backplanev1.VerifyCredentialResponse {
	return &backplanev1.VerifyCredentialResponse{
		Verdict: &backplanev1.VerifyCredentialResponse_Grant{Grant: g}, AsOfChangeNumber: 9, ServerTime: timestamppb.New(serverTime),
	}
}

func denial(reason backplanev1.Denial_Reason) *backplanev1.VerifyCredentialResponse {
	return &backplanev1.VerifyCredentialResponse{
		Verdict: &backplanev1.VerifyCredentialResponse_Denial{
			Denial: &backplanev1.Denial{Reason: reason, RestsOn: []string{"a"}},
		}, AsOfChangeNumber: 9,
	}
}

func TestRemoteVerify(t *testing.T) {
	s := &service{}
	r := NewRemote(s)
	for name, tt := range map[string]struct {
		verdict *backplanev1.VerifyCredentialResponse
		want    Answer
	}{
		"grant":         {verdict(wire()), Answer{Grant: oursAsOf(9), Lifetime: time.Minute, AsOf: 9}},
		"invalid":       {denial(backplanev1.Denial_REASON_INVALID), Answer{Denial: &Denial{Reason: ErrUnauthenticated, RestsOn: []string{"a"}}, AsOf: 9}},
		"revoked":       {denial(backplanev1.Denial_REASON_REVOKED), Answer{Denial: &Denial{Reason: ErrRevoked, RestsOn: []string{"a"}}, AsOf: 9}},
		"not heard of":  {denial(77), Answer{Denial: &Denial{Reason: ErrUnauthenticated, RestsOn: []string{"a"}}, AsOf: 9}},
		"suspended":     {denial(backplanev1.Denial_REASON_SUSPENDED), Answer{Denial: &Denial{Reason: ErrSuspended, RestsOn: []string{"a"}}, AsOf: 9}},
		"blocked":       {denial(backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED), Answer{Denial: &Denial{Reason: ErrBlocked, RestsOn: []string{"a"}}, AsOf: 9}},
		"no subscriber": {denial(backplanev1.Denial_REASON_NO_SUBSCRIPTION), Answer{Denial: &Denial{Reason: ErrNotSubscribed, RestsOn: []string{"a"}}, AsOf: 9}},
	} {
		s.verdict = tt.verdict
		got, err := r.Verify(t.Context(), token, version1)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateErrors()); err != nil || diff != "" {
			t.Errorf("%s: Verify = %v, differs (- want, + got):\n%s", name, err, diff)
		}
	}
	for name, spoil := range map[string]func(v *backplanev1.VerifyCredentialResponse){
		"no verdict":       func(v *backplanev1.VerifyCredentialResponse) { v.Verdict = nil },
		"no name":          func(v *backplanev1.VerifyCredentialResponse) { v.GetGrant().Name = "" },
		"nothing to rest":  func(v *backplanev1.VerifyCredentialResponse) { v.GetGrant().RestsOn = nil },
		"no end":           func(v *backplanev1.VerifyCredentialResponse) { v.GetGrant().ExpireTime = nil },
		"another version":  func(v *backplanev1.VerifyCredentialResponse) { v.GetGrant().Version = "apis/x/versions/2" },
		"no time":          func(v *backplanev1.VerifyCredentialResponse) { v.ServerTime = nil },
		"time of no clock": func(v *backplanev1.VerifyCredentialResponse) { v.ServerTime.Nanos = -1 },
	} {
		s.verdict = verdict(wire())
		spoil(s.verdict)
		if got, err := r.Verify(t.Context(), token, version1); err == nil {
			t.Errorf("%s: Verify = %+v, want an error", name, got)
		}
	}
	s.err = status.Error(codes.InvalidArgument, "what is that")
	if got, err := r.Verify(t.Context(), token, version1); err != nil || got.Denial == nil || !errors.Is(got.Denial.Reason, ErrUnauthenticated) {
		t.Errorf("Verify of what is refused as malformed = %+v, %v, want a denial", got, err)
	}
	s.err = status.Error(codes.Unavailable, "away")
	if _, err := r.Verify(t.Context(), token, version1); !errors.Is(err, s.err) {
		t.Errorf("Verify = %v, want %v", err, s.err)
	}
}

func TestRemoteRead(t *testing.T) {
	s := &service{}
	r := NewRemote(s)
	asked := []*Grant{ours(), ours()}
	s.grants = &backplanev1.BatchGetGrantsResponse{AsOfChangeNumber: 4, Grants: []*backplanev1.GrantState{
		{State: &backplanev1.GrantState_Grant{Grant: wire()}},
		{State: &backplanev1.GrantState_Ended{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}},
	}}
	got, err := r.Read(t.Context(), asked)
	want := States{AsOf: 4, States: []State{{Grant: oursAsOf(4)}, {Ended: Expired}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Read = %v, differs (- want, + got):\n%s", err, diff)
	}
	q := s.asked.GetGrants()[0]
	if !proto.Equal(q, &backplanev1.GrantQuery{
		Name: "grants/t", OauthClient: "applications/a/oauthClients/c", Version: version1, ExpireTime: timestamppb.New(expireTime), Scopes: []string{"read"}, Subscription: "subscriptions/s",
		SignIn: "users/u/signIns/s", Stage: catalogv1.Stage_STAGE_SANDBOX, IssuedChangeNumber: 4, IssuedChangeTime: timestamppb.New(serverTime),
	}) {
		t.Errorf("asked for %v", q)
	}
	for name, grants := range map[string][]*backplanev1.GrantState{
		"too few":   s.grants.GetGrants()[:1],
		"no state":  {{}, {}},
		"bad grant": {{State: &backplanev1.GrantState_Grant{Grant: &backplanev1.Grant{}}}, {}},
	} {
		s.grants = &backplanev1.BatchGetGrantsResponse{Grants: grants}
		if got, err := r.Read(t.Context(), asked); err == nil {
			t.Errorf("%s: Read = %+v, want an error", name, got)
		}
	}
	s.err = errors.New("away")
	if _, err := r.Read(t.Context(), asked); !errors.Is(err, s.err) {
		t.Errorf("Read = %v, want %v", err, s.err)
	}
}

func TestEventKinds(t *testing.T) {
	for wire, want := range map[backplanev1.GrantEvent_Cause]struct {
		kind EventKind
		code uint16
	}{
		backplanev1.GrantEvent_CAUSE_UNSPECIFIED:           {Changed, 4006},
		backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED:         {TokenRevoked, 4001},
		backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED:  {OAuthClientDeleted, 4001},
		backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED:   {ApplicationDeleted, 4006},
		backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED:  {SubscriptionDeleted, 4006},
		backplanev1.GrantEvent_CAUSE_USER_DELETED:          {UserDeleted, 4006},
		backplanev1.GrantEvent_CAUSE_VERSION_DELETED:       {VersionDeleted, 4006},
		backplanev1.GrantEvent_CAUSE_EXPIRED:               {Expired, 4001},
		backplanev1.GrantEvent_CAUSE_USER_SUSPENDED:        {UserSuspended, 4006},
		backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED:  {SubscriptionBlocked, 4006},
		backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_REQUIRED: {SubscriptionRequired, 4006},
		99: {Changed, 4006},
	} {
		k := kindOf(wire)
		if end := k.ending([]string{"n"}); k != want.kind || end.ClientCode != want.code {
			t.Errorf("%v is %v and ends with %d, want %v and %d", wire, k, end.ClientCode, want.kind, want.code)
		}
	}
}

// wireKey is a grant of an API key that never expires.
func wireKey() *backplanev1.Grant {
	g := wire()
	g.OauthClient, g.SignIn, g.Scopes, g.ExpireTime = "", "", nil, nil
	g.ApiKey, g.PermittedAddresses, g.PermittedReferers = "applications/a/apiKeys/k", []string{"192.0.2.0/24"}, []string{"*.example.com"}
	return g
}

// TestRemoteAPIKeys verifies an API key, and reads its grant again once it ends.
func TestRemoteAPIKeys(t *testing.T) {
	s := &service{keys: true, verdict: verdict(wireKey())}
	r, key := NewRemote(s), credential.Credential{Type: credential.APIKey, Value: "t"}
	got, err := r.Verify(t.Context(), key, version1)
	if err != nil || got.Lifetime != 0 || !got.Grant.ExpireTime.IsZero() || got.Grant.APIKey != "applications/a/apiKeys/k" {
		t.Fatalf("Verify of an API key = %+v of %+v, %v, want a grant without an end", got, got.Grant, err)
	}
	for _, tt := range []struct {
		client, referer string
		want            error
	}{
		{"192.0.2.7", "https://a.example.com/", nil},
		{"198.51.100.7", "https://a.example.com/", ErrAddress},
		{"192.0.2.7", "https://example.test/", ErrReferer},
	} {
		if err := got.Grant.Permits(netip.MustParseAddr(tt.client), permit.PageOf([]string{tt.referer}, nil)); !errors.Is(err, tt.want) {
			t.Errorf("Permits(%s, %s) = %v, want %v", tt.client, tt.referer, err, tt.want)
		}
	}
	for name, spoil := range map[string]func(*backplanev1.Grant){
		"an end of no clock":                  func(g *backplanev1.Grant) { g.ExpireTime = &timestamppb.Timestamp{Nanos: -1} },
		"an address that cannot be read":      func(g *backplanev1.Grant) { g.PermittedAddresses = []string{"192.0.2.1-192.0.2.9"} },
		"a referer that cannot be read":       func(g *backplanev1.Grant) { g.PermittedReferers = []string{"/regex/"} },
		"no end, and it is of no API key":     func(g *backplanev1.Grant) { g.ApiKey = "" },
		"no end, and it is an OAuth client's": func(g *backplanev1.Grant) { g.ApiKey, g.OauthClient = "", "applications/a/oauthClients/c" },
	} {
		g := wireKey()
		spoil(g)
		s.verdict = verdict(g)
		if got, err := r.Verify(t.Context(), key, version1); err == nil {
			t.Errorf("%s: Verify = %+v, want an error", name, got)
		}
	}
	ends := wireKey()
	ends.ExpireTime = timestamppb.New(expireTime)
	s.grants = &backplanev1.BatchGetGrantsResponse{
		Grants: []*backplanev1.GrantState{{State: &backplanev1.GrantState_Grant{Grant: ends}}}, ServerTime: timestamppb.New(serverTime),
	}
	states, err := r.Read(t.Context(), []*Grant{got.Grant})
	if err != nil || states.States[0].Lifetime != time.Minute || !states.States[0].Grant.ExpireTime.Equal(expireTime) {
		t.Errorf("Read of a key that ends in a minute = %+v, %v", states, err)
	}
	if q := s.asked.GetGrants()[0]; q.GetApiKey() != got.Grant.APIKey || q.GetExpireTime() != nil {
		t.Errorf("it was asked for %v, want the key and no end", q)
	}
	s.grants.ServerTime = nil
	if _, err := r.Read(t.Context(), []*Grant{got.Grant}); err == nil {
		t.Error("an answer with another end and no time is taken")
	}
}
