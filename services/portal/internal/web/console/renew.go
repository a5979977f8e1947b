package console

import (
	"context"
	"net/netip"

	"google.golang.org/grpc/status"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// renew gives the gateway's session the credential that the page says, and returns what the page
// is told. The connection stays as it is.
func (s *socket) renew(cmd *command, ref string) event {
	kept := func(why string) event { return event{Type: "kept", Text: why} }
	if _, err := s.issue(cmd); err != nil {
		return kept("there is no token: " + status.Convert(err).Message())
	}
	if cmd.Token == "" {
		return kept("there is no token")
	}
	ctx, cancel := context.WithTimeout(s.ctx, openWithin)
	defer cancel()
	if addr, err := netip.ParseAddr(s.client); err == nil {
		ctx = clientaddr.With(ctx, addr)
	}
	resp, err := s.console.Services.Sessions.RenewSession(s.access.Load().on(ctx), &gatewayv1.RenewSessionRequest{
		Name: "gateways/-/sessions/" + ref, Credential: cmd.Token,
	})
	if err != nil {
		return kept(status.Convert(err).Message())
	}
	return event{Type: "renewed", Expires: stamp(resp.GetExpireTime())}
}
