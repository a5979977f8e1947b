package users

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ListSecurityEvents returns a page of security events.
func (a *API) ListSecurityEvents(ctx context.Context, req *identityv1.ListSecurityEventsRequest) (*identityv1.ListSecurityEventsResponse, error) {
	filter, err := a.securityEventFilter(ctx, req)
	if err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	events, next, err := page.Collect(p, a.store.SecurityEvents(ctx, filter, p.After), store.SecurityEvent.ListKey, securityEventProto)
	if err != nil {
		return nil, err
	}
	return &identityv1.ListSecurityEventsResponse{SecurityEvents: events, NextPageToken: next}, nil
}

// securityEventFilter reads what a list of security events is restricted to.
func (a *API) securityEventFilter(ctx context.Context, req *identityv1.ListSecurityEventsRequest) (f store.SecurityEventFilter, err error) {
	terms, err := page.Filter(req.GetFilter(), "event", "user", "client_address")
	if err != nil {
		return f, err
	}
	if f.Event = terms.Value("event"); f.Event != nil && !slices.Contains(securitylog.Kinds(), securitylog.Kind(*f.Event)) {
		var words []string
		for _, kind := range securitylog.Kinds() {
			words = append(words, string(kind))
		}
		return f, fault.Invalid("filter", "no event %q: there are %s", *f.Event, strings.Join(words, ", "))
	}
	if f.User, err = a.userTerm(ctx, terms); err != nil {
		return f, err
	}
	if text := terms.Value("client_address"); text != nil {
		addr, err := netip.ParseAddr(*text)
		if err != nil {
			return f, fault.Invalid("filter", "client_address must be an IP address, such as 192.0.2.7")
		}
		f.ClientAddress = new(addr.Unmap().String())
	}
	f.Happened, err = page.NewTimeRange(req)
	return f, err
}

// userTerm returns the name of the user in a filter, who is named by it or by the username.
func (a *API) userTerm(ctx context.Context, terms page.Terms) (*string, error) {
	username := terms.Value("user")
	if username == nil {
		return nil, nil
	}
	if strings.HasPrefix(*username, "users/") {
		return page.Name(terms, "user", resourcename.ParseUser, func(n resourcename.User) string {
			if n.User == resourcename.Me {
				n.User = identity.From(ctx).Viewer().User
			}
			return n.String()
		})
	}
	u, _, known, err := a.store.Password(ctx, *username)
	if err == nil && !known {
		err = fault.NotFound("user %q", *username)
	}
	return new(store.UserName(u.ID)), err
}

func securityEventProto(e store.SecurityEvent) *identityv1.SecurityEvent {
	actor := e.ActorLabel.Username
	if service, ok := strings.CutPrefix(e.Who, "services/"); ok {
		actor = service
	}
	return &identityv1.SecurityEvent{
		Time: timestamppb.New(e.Time), Event: string(e.Kind), Actor: e.Who, ActorDisplayName: actor, ActorDeleted: e.ActorLabel.Deleted,
		ClientAddress: e.From, Method: e.Method, Subject: e.What, User: e.About, Username: e.AboutLabel.Username, UserDeleted: e.AboutLabel.Deleted,
		Detail: e.Why, LeftOut: int64(e.LeftOut),
	}
}
