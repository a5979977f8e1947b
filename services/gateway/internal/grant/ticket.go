package grant

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

// Order is what a ticket is to be good for.
type Order struct {
	Credential credential.Credential // that buys it
	Version    string                // apis/{api}/versions/{version}
	Ref        string                // of the session that it will open
	Lifetime   time.Duration         // 1 to 120 s
	Origin     string                // that the handshake must have; "" for any
	Clients    netip.Prefix          // where the client must be; not valid for anywhere
}

// Ticket is what is bought.
type Ticket struct {
	Value   string
	Expires time.Time // by the control plane's clock
}

// ErrTickets says that the credential has as many tickets as it may.
var ErrTickets = errors.New("the credential has too many tickets that are not spent")

// Buy buys a ticket. The error wraps one of this package's, in a *DeniedError where the
// application is known: the credential is judged anew for each ticket.
func (r *Remote) Buy(ctx context.Context, o Order) (Ticket, error) {
	req := &backplanev1.IssueTicketRequest{
		Credential: o.Credential.Value, Scheme: schemeOf(o.Credential.Type), Version: o.Version, Ref: o.Ref,
		Lifetime: durationpb.New(o.Lifetime), Origin: o.Origin,
	}
	if o.Clients.IsValid() {
		req.ClientNetwork = o.Clients.String()
	}
	resp, err := r.client.IssueTicket(ctx, req)
	switch {
	case status.Code(err) == codes.ResourceExhausted:
		return Ticket{}, ErrTickets
	case err != nil:
		return Ticket{}, fmt.Errorf("%w: buy a ticket for %s: %w", ErrUnavailable, o.Version, err)
	case resp.GetDenial() != nil:
		return Ticket{}, denied(reasonOf(resp.GetDenial().GetReason()), resp.GetDenial().GetApplication())
	case resp.GetTicket().GetValue() == "" || !resp.GetTicket().GetExpireTime().IsValid():
		return Ticket{}, fmt.Errorf("%w: neither a ticket nor a denial", ErrUnavailable)
	}
	return Ticket{Value: resp.GetTicket().GetValue(), Expires: resp.GetTicket().GetExpireTime().AsTime()}, nil
}

// ofTicket makes a grant that was read again that of the session that a ticket has opened,
// if it was that before: where the credential is good from was judged when it bought the
// ticket, and says nothing about who has spent it.
func (g *Grant) ofTicket(ref string) {
	if ref != "" {
		g.SessionRef, g.Addresses, g.Referers = ref, nil, nil
	}
}
