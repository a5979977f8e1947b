package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// sessionRef is the ref of the session that tickets of these tests open.
const sessionRef = "0123456789abcdef"

// buy makes a ticket of a credential for v1, as gateways do; edit may change what it is
// good for.
func (w *world) buy(credential string, edit func(*backplanev1.IssueTicketRequest)) *backplanev1.IssueTicketResponse {
	w.t.Helper()
	req := &backplanev1.IssueTicketRequest{
		Credential: credential, Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2,
		Lifetime: durationpb.New(30 * time.Second), Ref: sessionRef,
	}
	if strings.HasPrefix(credential, string(madesecret.APIKey)) {
		req.Scheme = backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY
	}
	if edit != nil {
		edit(req)
	}
	resp, err := w.gateway.tokens.IssueTicket(w.t.Context(), req)
	w.must(err)
	return resp
}

// spend is what a gateway asks when a ticket is shown to it.
func spend(ticket, attempt string) *backplanev1.VerifyCredentialRequest {
	return &backplanev1.VerifyCredentialRequest{
		Credential: ticket, Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_TICKET, Attempt: attempt,
	}
}

// TestTicket makes tickets of a token and of an API key. One attempt has the grant of the
// credential, however often it asks; another one is denied. Nothing in the database is a
// ticket or a credential.
func TestTicket(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		app := w.application(w.ann, "Chat")
		w.subscribe(w.ann, app.GetName(), v1)
		raw := w.token(w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION))
		key := w.apiKey(w.ann, app.GetName(), func(k *subscriptionv1.APIKey) { k.PermittedAddresses = []string{"192.0.2.1"} })
		for _, c := range []struct {
			credential string
			grant      *backplanev1.Grant
		}{{raw, w.verify(raw, v1).GetGrant()}, {key.GetKey(), w.verifyKey(key.GetKey(), v1).GetGrant()}} {
			bought := w.buy(c.credential, nil).GetTicket()
			if !madesecret.Recognized(bought.GetValue()) || !strings.HasPrefix(bought.GetValue(), "tgtk_") || !bought.GetExpireTime().AsTime().Equal(w.now().Add(30*time.Second)) {
				t.Fatalf("the ticket = %v", bought)
			}
			if rows := w.dump(); strings.Contains(rows, bought.GetValue()) || strings.Contains(rows, c.credential) {
				t.Errorf("the database has the ticket or its credential:\n%s", rows)
			}
			want := c.grant
			want.SessionRef, want.PermittedAddresses = sessionRef, nil // where the key is good from was judged before
			for range 2 {
				got, err := w.gateway.tokens.VerifyCredential(t.Context(), spend(bought.GetValue(), "one"))
				w.must(err)
				if diff := cmp.Diff(want, got.GetGrant(), protocmp.Transform()); diff != "" || got.GetAsOfChangeNumber() != w.head() {
					t.Errorf("the ticket is good for (-want +got):\n%s", diff)
				}
				w.add(time.Minute) // however late an attempt asks again
			}
			got, err := w.gateway.tokens.VerifyCredential(t.Context(), spend(bought.GetValue(), "two"))
			w.must(err)
			if got.GetDenial().GetReason() != backplanev1.Denial_REASON_TICKET_SPENT || got.GetDenial().GetApplication() != app.GetName() {
				t.Errorf("another attempt = %v, want TICKET_SPENT, and whose it was", got)
			}
		}
		w.must(w.store.Purge(t.Context()))
		if rows := w.dump(); strings.Contains(rows, sessionRef) {
			t.Errorf("tickets are kept:\n%s", rows)
		}
	})
}

// TestTicketIsDenied shows tickets where they are not good, and credentials of which no
// ticket is made. What is denied is not spent.
func TestTicketIsDenied(t *testing.T) {
	w := onSQLite(t)
	w.publish(v1, v2)
	app := w.application(w.ann, "Chat")
	w.subscribe(w.ann, app.GetName(), v1)
	client := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION)
	raw := w.token(client)
	for name, tt := range map[string]struct {
		bought func(*backplanev1.IssueTicketRequest)
		shown  func(*backplanev1.VerifyCredentialRequest)
		want   backplanev1.Denial_Reason // 0: it is good
	}{
		"as bought":           {nil, nil, 0},
		"another version":     {nil, func(r *backplanev1.VerifyCredentialRequest) { r.Version = v2 }, backplanev1.Denial_REASON_INVALID},
		"mistyped":            {nil, func(r *backplanev1.VerifyCredentialRequest) { r.Credential += "x" }, backplanev1.Denial_REASON_INVALID},
		"its origin":          {origin("https://App.example"), func(r *backplanev1.VerifyCredentialRequest) { r.Origin = "https://app.example" }, 0},
		"another origin":      {origin("https://app.example"), func(r *backplanev1.VerifyCredentialRequest) { r.Origin = "https://app.example.org" }, backplanev1.Denial_REASON_TICKET_ELSEWHERE},
		"no origin":           {origin("https://app.example"), nil, backplanev1.Denial_REASON_TICKET_ELSEWHERE},
		"any origin":          {nil, func(r *backplanev1.VerifyCredentialRequest) { r.Origin = "https://app.example" }, 0},
		"its address":         {network("203.0.113.7"), func(r *backplanev1.VerifyCredentialRequest) { r.ClientAddress = "203.0.113.7" }, 0},
		"the address in IPv6": {network("203.0.113.7"), func(r *backplanev1.VerifyCredentialRequest) { r.ClientAddress = "::ffff:203.0.113.7" }, 0},
		"its network":         {network("2001:db8::/64"), func(r *backplanev1.VerifyCredentialRequest) { r.ClientAddress = "2001:db8::2" }, 0},
		"another network":     {network("2001:db8::/64"), func(r *backplanev1.VerifyCredentialRequest) { r.ClientAddress = "2001:db8:0:1::2" }, backplanev1.Denial_REASON_TICKET_ELSEWHERE},
		"no address":          {network("203.0.113.0/24"), nil, backplanev1.Denial_REASON_TICKET_ELSEWHERE},
	} {
		ticket := w.buy(raw, tt.bought).GetTicket().GetValue()
		req := spend(ticket, "one")
		if tt.shown != nil {
			tt.shown(req)
		}
		got, err := w.gateway.tokens.VerifyCredential(t.Context(), req)
		w.must(err)
		if got.GetDenial().GetReason() != tt.want || (got.GetGrant() == nil) != (tt.want != 0) {
			t.Errorf("%s = %v, want the denial %v", name, got, tt.want)
		}
		if tt.want != 0 && tt.bought == nil { // it is still there for who has it
			if got, err := w.gateway.tokens.VerifyCredential(t.Context(), spend(ticket, "two")); err != nil || got.GetGrant() == nil {
				t.Errorf("%s, then as bought = %v, %v, want a grant", name, got, err)
			}
		}
	}

	// What became of the credential is asked when the ticket is spent.
	late, revoked := w.buy(raw, nil).GetTicket().GetValue(), w.buy(raw, nil).GetTicket().GetValue()
	w.add(30 * time.Second)
	if got, err := w.gateway.tokens.VerifyCredential(t.Context(), spend(late, "one")); err != nil || got.GetDenial().GetReason() != backplanev1.Denial_REASON_EXPIRED {
		t.Errorf("a ticket after 30 seconds = %v, %v, want EXPIRED", got, err)
	}
	_, err := w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: raw, ClientCredentials: credentials(client)})
	w.must(err)
	if got, err := w.gateway.tokens.VerifyCredential(t.Context(), spend(revoked, "one")); err != nil || got.GetDenial().GetReason() != backplanev1.Denial_REASON_REVOKED {
		t.Errorf("a ticket of a revoked token = %v, %v, want REVOKED", got, err)
	}
	if got := w.buy(raw, nil).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
		t.Errorf("a ticket is made of a revoked token: %v", got)
	}
	fresh := w.token(client)
	if got := w.buy(fresh, func(r *backplanev1.IssueTicketRequest) { r.Version = v2 }).GetDenial().GetReason(); got != backplanev1.Denial_REASON_NO_SUBSCRIPTION {
		t.Errorf("a ticket is made for a version without a subscription: %v", got)
	}
	// A ticket is good no longer than its credential, and there are only so many.
	w.add(time.Hour - 10*time.Second)
	if end := w.buy(fresh, nil).GetTicket().GetExpireTime().AsTime(); !end.Equal(w.now().Add(10 * time.Second)) {
		t.Errorf("a ticket of a token that expires in 10 s is good until %v, at %v", end, w.now())
	}
	for range store.MaxTickets - 1 {
		w.buy(fresh, nil)
	}
	_, err = w.gateway.tokens.IssueTicket(t.Context(), &backplanev1.IssueTicketRequest{
		Credential: fresh, Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2, Lifetime: durationpb.New(time.Second), Ref: sessionRef,
	})
	refused(t, "IssueTicket of one too many", err, codes.ResourceExhausted, "the credential has 1000 tickets that are not spent")
	_, err = w.gateway.tokens.IssueTicket(t.Context(), &backplanev1.IssueTicketRequest{
		Credential: fresh, Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2, Lifetime: durationpb.New(time.Second), Ref: sessionRef, ClientNetwork: "here",
	})
	refused(t, "IssueTicket for no network", err, codes.InvalidArgument, "client_network: must be an address or a network without bits behind its prefix, such as 203.0.113.7 or 2001:db8::/64")
	_, err = w.gateway.tokens.VerifyCredential(t.Context(), spend("x", ""))
	refused(t, "VerifyCredential of a ticket without an attempt", err, codes.InvalidArgument, "attempt: is required for a ticket")
}

func origin(o string) func(*backplanev1.IssueTicketRequest) {
	return func(r *backplanev1.IssueTicketRequest) { r.Origin = o }
}

func network(n string) func(*backplanev1.IssueTicketRequest) {
	return func(r *backplanev1.IssueTicketRequest) { r.ClientNetwork = n }
}

// TestTicketIsSpentOnce has 100 attempts at two replicas spend one ticket at once: one
// has it.
func TestTicketIsSpentOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat")
		w.subscribe(w.ann, app.GetName(), v1)
		ticket := w.buy(w.token(w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION)), nil).GetTicket().GetValue()
		_, internal, _, _ := w.replica()
		replicas := []backplanev1.GrantServiceClient{w.gateway.tokens, newClients(w.dial(internal, identity.Gateway)).tokens}
		var attempts sync.WaitGroup
		verdicts := make([]*backplanev1.VerifyCredentialResponse, 100)
		errs := make([]error, len(verdicts))
		for i := range verdicts {
			attempts.Go(func() {
				verdicts[i], errs[i] = replicas[i%2].VerifyCredential(t.Context(), spend(ticket, fmt.Sprint("attempt ", i)))
			})
		}
		attempts.Wait()
		granted := 0
		for i, got := range verdicts {
			switch {
			case errs[i] != nil:
				t.Errorf("attempt %d: %v", i, errs[i])
			case got.GetGrant() != nil:
				granted++
			case got.GetDenial().GetReason() != backplanev1.Denial_REASON_TICKET_SPENT:
				t.Errorf("attempt %d = %v, want TICKET_SPENT", i, got)
			}
		}
		if granted != 1 {
			t.Errorf("%d attempts have spent the ticket, want 1", granted)
		}
	})
}
