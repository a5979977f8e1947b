package publisher

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// sessionsView is the list of a version's live sessions.
type sessionsView struct {
	*version
	Rows []sessionRow
	More string
	// Total is how many there are on all pages.
	Total int32
	// Unreachable are the gateways whose sessions are missing.
	Unreachable []string
	Empty       ui.Empty
	// Live is the address that the list is read from again while it is looked at, empty
	// where it stands still; Turn leads to the other of both.
	Live string
	Turn ui.Link
}

// sessionRow is a live session in the list.
type sessionRow struct {
	*gatewayv1.Session
	// Application and User are what users call them, empty where there is none.
	Application, User string
	Age               string
	// Renewed says how often its credential was renewed; empty for never.
	Renewed string
	// Sent and Received are messages.
	Sent, Received int64
	Gateway        string
	// Close is the address of the page that closes it, and Deny of the form that keeps its
	// client out, empty where the viewer may not.
	Close, Deny string
}

// liveList lists the live sessions of a version.
func (p *pages) liveList() ui.Route {
	t := ui.Parse[sessionsView](files, "templates/sessions.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/sessions", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Sessions.ListSessions(r.Context(), &gatewayv1.ListSessionsRequest{
			Parent: "gateways/-", Filter: v.and(""), PageToken: r.FormValue("page"), ReturnPartialSuccess: true,
		})
		if err != nil {
			return nil, err
		}
		view := sessionsView{
			version: v, Live: r.URL.RequestURI(), Turn: ui.Link{Text: "Pause", To: v.Base + "/sessions?live=off"}, More: r.Next(list.GetNextPageToken()), Total: list.GetTotalSize(), Unreachable: list.GetUnreachable(),
			Empty: ui.Empty{Title: "No live session", Text: "Nobody is connected to this version now.", Action: &ui.Link{Text: "Look at the records", To: v.Base + "/records"}},
		}
		if r.FormValue("live") == "off" {
			view.Live, view.Turn = "", ui.Link{Text: "Follow", To: v.Base + "/sessions"}
		}
		if view.Rows, err = p.sessionRows(r, v, list.GetSessions()); err != nil {
			return nil, err
		}
		return t.Page(v.head("Live sessions"), view), nil
	})
}

// sessionRows adds names to sessions, in one call.
func (p *pages) sessionRows(r *ui.Request, v *version, list []*gatewayv1.Session) ([]sessionRow, error) {
	if len(list) == 0 {
		return nil, nil
	}
	subscriptions, err := p.subscriptionsOfSessions(r, list)
	if err != nil {
		return nil, err
	}
	var rows []sessionRow
	for _, s := range list {
		of := subscriptions[s.GetSubscription()]
		row := sessionRow{
			Session: s, Application: of.GetApplicationDisplayName(), User: of.GetApplicationOwnerUsername(), Age: "connecting", Renewed: ui.Renewals(s),
			Sent: int64(s.GetInbound().GetMessages()), Received: int64(s.GetOutbound().GetMessages()),
			Gateway: gatewayOf(s.GetName()), Close: v.Base + "/sessions/" + ui.ID(s.GetName()) + "/close",
		}
		if row.Application == "" {
			row.Application = s.GetApplication()
		}
		if mayDeny(r, v.API) {
			row.Deny = ui.NewDenyRule(denyPath(v.API)+"/new", s.GetClientAddress(), "")
		}
		if s.GetStartTime() != nil {
			row.Age = ui.Age(time.Since(s.GetStartTime().AsTime()))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// subscriptionsOfSessions reads the subscriptions that sessions have, by name. What is
// deleted since is missing.
func (p *pages) subscriptionsOfSessions(r *ui.Request, list []*gatewayv1.Session) (map[string]*subscriptionv1.Subscription, error) {
	byName := map[string]*subscriptionv1.Subscription{}
	for _, s := range list {
		if s.GetSubscription() != "" {
			byName[s.GetSubscription()] = nil
		}
	}
	if len(byName) == 0 {
		return byName, nil
	}
	got, err := p.Subscriptions.BatchGetSubscriptions(r.Context(), &subscriptionv1.BatchGetSubscriptionsRequest{
		Names: slices.Sorted(maps.Keys(byName)), AllowMissing: true,
	})
	for _, s := range got.GetSubscriptions() {
		byName[s.GetName()] = s
	}
	return byName, err
}

// gatewayOf is the gateway's part of a session's name.
func gatewayOf(session string) string {
	gateway, _, _ := strings.Cut(strings.TrimPrefix(session, "gateways/"), "/")
	return gateway
}

// closeSession closes a live session, after a page that asks.
func (p *pages) closeSession() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/sessions/{id}/close", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		s, err := p.Sessions.GetSession(r.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/-/sessions/" + r.PathValue("id")})
		switch {
		case err != nil:
			return nil, ui.Absent(err)
		case s.GetVersion() != v.Version.GetName():
			return nil, fault.NotFound("the version has no such session")
		}
		list := v.Base + "/sessions"
		if r.Submitted() {
			if _, err := p.Sessions.CloseSession(r.Context(), &gatewayv1.CloseSessionRequest{Name: s.GetName()}); err != nil {
				return nil, err
			}
			return ui.Done(list, "The session of %s is closed.", s.GetClientAddress()), nil
		}
		return t.Page(v.below("Close the session of "+s.GetClientAddress()+"?", "Close"), confirmView{Confirm: ui.Confirm{
			Text:     []string{"Its client gets code 4010 and may connect again. To keep an application out, block its subscription; to keep an address out, add a deny rule."},
			Sessions: 1, Button: "Close it", Keep: "Keep it open", To: list + "/" + r.PathValue("id") + "/close", Back: list,
		}}), nil
	})
}

// closeAll closes all live sessions of a version, after a page that says how many.
func (p *pages) closeAll() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/close-sessions", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		list := v.Base + "/sessions"
		if r.Submitted() {
			done, err := p.Sessions.CloseSessions(r.Context(), &gatewayv1.CloseSessionsRequest{Parent: "gateways/-", Version: v.Version.GetName()})
			if err != nil {
				return nil, err
			}
			return ui.Closed(list, "All are closed.", done), nil
		}
		sessions, err := p.AllLiveSessions(r, fmt.Sprintf("version = %q", v.Version.GetName()))
		if err != nil {
			return nil, err
		}
		return t.Page(v.below("Close all sessions?", "Close all"), confirmView{Confirm: ui.Confirm{
			Text:     []string{"Their clients get code 4010 and may connect again. To keep clients out, add a deny rule, or demote the version."},
			Sessions: sessions, Button: "Close them", Keep: "Keep them open", To: v.Base + "/close-sessions", Back: list,
		}}), nil
	})
}

// closingView is the form that closes some sessions.
type closingView struct {
	Form     *ui.Form
	To, Back string
}

// closeSome closes the live sessions of a version at an address, or those that a filter leaves.
func (p *pages) closeSome() ui.Route {
	t := ui.Parse[closingView](files, "templates/closing.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/close-some", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		form, list := ui.ClosingForm(r), v.Base+"/sessions"
		if r.Submitted() && form.Get("address") == "" && form.Get("filter") == "" {
			form.Wrong("address", "is needed, or a filter")
		}
		if r.Submitted() && form.Good() {
			done, err := p.Sessions.CloseSessions(r.Context(), &gatewayv1.CloseSessionsRequest{
				Parent: "gateways/-", Version: v.Version.GetName(), ClientAddress: form.Get("address"), Filter: form.Get("filter"),
			})
			if err == nil {
				return ui.Closed(list, "Such sessions are closed.", done), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		h := v.below("Close some sessions", "Close")
		h.Status = form.Status()
		return t.Page(h, closingView{Form: form, To: v.Base + "/close-some", Back: list}), nil
	})
}

// Refresh is the address that shows the list again as it is shown.
func (v sessionsView) Refresh() string {
	if v.Live == "" {
		return v.Base + "/sessions?live=off"
	}
	return v.Base + "/sessions"
}
