package grants

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// ticketCredential is the credential that a ticket was made of, as its row has it: what is
// needed to judge it again, and nothing that could be shown anywhere.
type ticketCredential struct {
	// Token is what an access token says.
	Token *token.ApplicationClaims `json:"token,omitempty"`
	// Key is the hash of the value of an API key.
	Key []byte `json:"key,omitempty"`
}

// judge judges the credential as it is now.
func (c ticketCredential) judge(ctx context.Context, a *API, version string) (*backplanev1.VerifyCredentialResponse, error) {
	if c.Token != nil {
		return a.judgeToken(ctx, *c.Token, version)
	}
	return a.judgeKey(ctx, c.Key, version)
}

// IssueTicket makes a ticket of a credential that is good for the version now.
func (a *API) IssueTicket(ctx context.Context, req *backplanev1.IssueTicketRequest) (*backplanev1.IssueTicketResponse, error) {
	network, err := clientNetwork(req.GetClientNetwork())
	if err != nil {
		return nil, err
	}
	resp, err := a.VerifyCredential(ctx, &backplanev1.VerifyCredentialRequest{
		Credential: req.GetCredential(), Version: req.GetVersion(), Scheme: req.GetScheme(),
	})
	if err != nil {
		return nil, err
	}
	g := resp.GetGrant()
	if g == nil {
		return &backplanev1.IssueTicketResponse{Verdict: &backplanev1.IssueTicketResponse_Denial{Denial: resp.GetDenial()}}, nil
	}
	grant, err := resourcename.ParseGrant("grant", g.GetName())
	if err != nil {
		return nil, err
	}
	var of ticketCredential
	if g.GetApiKey() != "" {
		of.Key = token.HashKey(req.GetCredential())
	} else {
		t, err := a.issuer.ReadApplication(ctx, req.GetCredential())
		if err != nil {
			return nil, fmt.Errorf("read the token of a ticket: %w", err)
		}
		of.Token = &t
	}
	text, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("write the credential of a ticket: %w", err)
	}
	value, hash := token.New(madesecret.Ticket)
	expires := a.now().Add(req.GetLifetime().AsDuration())
	if end := g.GetExpireTime(); end != nil && end.AsTime().Before(expires) {
		expires = end.AsTime()
	}
	err = a.store.CreateTicket(ctx, store.Ticket{
		Hash: hash, Version: req.GetVersion(), Grant: grant.Grant, Credential: string(text), Ref: req.GetRef(),
		Origin: strings.ToLower(req.GetOrigin()), ClientNetwork: network, ExpiresAt: expires,
	})
	if err != nil {
		return nil, err
	}
	return &backplanev1.IssueTicketResponse{Verdict: &backplanev1.IssueTicketResponse_Ticket_{
		Ticket: &backplanev1.IssueTicketResponse_Ticket{Value: value, ExpireTime: timestamppb.New(expires)},
	}}, nil
}

// clientNetwork returns an address or a network as a network, "" for none.
func clientNetwork(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	network, err := netaddr.ParseNetwork(text)
	if err != nil {
		return "", fault.Invalid("client_network", "must be an address or a network without bits behind its prefix, such as 203.0.113.7 or 2001:db8::/64")
	}
	return network.String(), nil
}

// spendTicket judges a ticket, and spends it where it is good. All is judged before: a
// handshake that is refused because of something else leaves the ticket as it was.
func (a *API) spendTicket(ctx context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	if req.GetAttempt() == "" {
		return nil, fault.Invalid("attempt", "is required for a ticket")
	}
	hash, ok := token.Hash(madesecret.Ticket, req.GetCredential())
	if !ok {
		return a.denyInvalid(ctx)
	}
	t, ok, err := a.store.Ticket(ctx, hash)
	switch {
	case err != nil:
		return nil, err
	case !ok || t.Version != req.GetVersion():
		return a.denyInvalid(ctx)
	}
	var of ticketCredential
	if err := json.Unmarshal([]byte(t.Credential), &of); err != nil {
		return nil, fmt.Errorf("read the credential of a ticket: %w", err)
	}
	resp, err := of.judge(ctx, a, t.Version)
	if err != nil || resp.GetGrant() == nil {
		return resp, err
	}
	// Where the credential is good from was judged when the ticket was made of it.
	g := resp.GetGrant()
	g.SessionRef, g.PermittedAddresses, g.PermittedReferers = t.Ref, nil, nil
	mine := t.Attempt == req.GetAttempt()
	switch {
	case t.Attempt != "" && !mine:
		return denyTicket(resp, backplanev1.Denial_REASON_TICKET_SPENT), nil
	case !mine && !a.now().Before(t.ExpiresAt):
		return denyTicket(resp, backplanev1.Denial_REASON_EXPIRED), nil
	case t.Origin != "" && t.Origin != strings.ToLower(req.GetOrigin()), !within(t.ClientNetwork, req.GetClientAddress()):
		return denyTicket(resp, backplanev1.Denial_REASON_TICKET_ELSEWHERE), nil
	}
	spent, err := a.store.SpendTicket(ctx, hash, req.GetAttempt())
	if err != nil {
		return nil, err
	}
	if !spent {
		return denyTicket(resp, backplanev1.Denial_REASON_TICKET_SPENT), nil
	}
	return resp, nil
}

// within reports whether an address is in a network; any is in "".
func within(network, address string) bool {
	if network == "" {
		return true
	}
	in, err1 := netip.ParsePrefix(network)
	addr, err2 := netip.ParseAddr(address)
	return err1 == nil && err2 == nil && in.Contains(addr.Unmap())
}

// denyTicket denies a ticket of a credential that is good. Gateways keep no verdict on
// tickets, so it names nothing that it rests on.
func denyTicket(resp *backplanev1.VerifyCredentialResponse, reason backplanev1.Denial_Reason) *backplanev1.VerifyCredentialResponse {
	denial := &backplanev1.Denial{Reason: reason, Application: resp.GetGrant().GetApplication()}
	resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: denial}
	return resp
}
