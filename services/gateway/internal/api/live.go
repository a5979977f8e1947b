package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/renewal"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// live serves LiveSessionService.
type live struct {
	backplanev1.UnsafeLiveSessionServiceServer
	gateway Gateway
}

var _ backplanev1.LiveSessionServiceServer = (*live)(nil)

// patience is how long CountClosed waits for a change.
const patience = time.Second

// CountClosed returns how many sessions a change of the subscription service has closed.
func (l *live) CountClosed(ctx context.Context, req *backplanev1.CountClosedRequest) (*backplanev1.CountClosedResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := l.gateway.Closed(ctx, req.GetChangeNumber())
	if err != nil {
		return nil, fault.Unavailable("the change is not applied, or its sessions are not counted")
	}
	return &backplanev1.CountClosedResponse{ClosedSessions: int64(n)}, nil
}

// RenewSession renews the credential of a session as a client of another gateway asks for.
func (l *live) RenewSession(ctx context.Context, req *backplanev1.RenewSessionRequest) (*backplanev1.RenewSessionResponse, error) {
	client, err := netip.ParseAddr(req.GetClientAddress())
	if err != nil {
		return nil, fault.Invalid("client_address", "must be an address")
	}
	shown := renewal.Shown{Header: http.Header{}, Query: string(req.GetQuery()), Client: client, Proxy: req.GetProxy()}
	for _, f := range req.GetHeader() {
		shown.Header[f.GetName()] = append(shown.Header[f.GetName()], string(f.GetValue()))
	}
	g, err := l.gateway.Live.Renew(ctx, req.GetRef(), shown)
	switch {
	case errors.Is(err, renewal.ErrNotFound):
		return nil, fault.NotFound("session")
	case errors.Is(err, renewal.ErrUnavailable):
		return nil, fault.Unavailable("the credential cannot be checked now")
	case err != nil:
		return nil, err
	}
	return &backplanev1.RenewSessionResponse{ExpireTime: stamp(g.ExpireTime), Scopes: g.Scopes}, nil
}

// FindSession says whether the gateway has a live session.
func (l *live) FindSession(_ context.Context, req *backplanev1.FindSessionRequest) (*backplanev1.FindSessionResponse, error) {
	return &backplanev1.FindSessionResponse{Found: l.gateway.Live.Holds(req.GetRef())}, nil
}

// ListCredentialSessions lists the sessions that rest on a credential.
func (l *live) ListCredentialSessions(_ context.Context, req *backplanev1.ListCredentialSessionsRequest) (*backplanev1.ListCredentialSessionsResponse, error) {
	resp := &backplanev1.ListCredentialSessionsResponse{}
	for _, s := range l.gateway.Live.List(req.GetCredential(), req.GetVersion()) {
		resp.Sessions = append(resp.Sessions, &backplanev1.CredentialSession{
			Ref: s.Ref(), StartTime: stamp(s.Started()), ExpireTime: stamp(grantOf(s).ExpireTime),
		})
	}
	return resp, nil
}
