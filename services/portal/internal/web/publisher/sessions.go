package publisher

import (
	"strings"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
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
}

// sessionRow is a live session in the list.
type sessionRow struct {
	*gatewayv1.Session
	// Application and User are what users call them, empty where there is none.
	Application, User string
	Age               string
	// Sent and Received are messages.
	Sent, Received int64
	Gateway        string
	// Close is the address of the page that closes it.
	Close string
}

// mostSubscriptions is how many subscriptions a list of sessions looks at for names.
const mostSubscriptions = 1000

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
			version: v, More: r.Next(list.GetNextPageToken()), Total: list.GetTotalSize(), Unreachable: list.GetUnreachable(),
			Empty: ui.Empty{Title: "No live session", Text: "Nobody is connected to this version now.", Action: &ui.Link{Text: "Look at the records", To: v.Base + "/records"}},
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
	subscriptions, err := p.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{Filter: v.and(""), PageSize: mostSubscriptions})
	if err := unused(err); err != nil {
		return nil, err
	}
	byName := map[string]*subscriptionv1.Subscription{}
	for _, s := range subscriptions.GetSubscriptions() {
		byName[s.GetName()] = s
	}
	var rows []sessionRow
	for _, s := range list {
		of := byName[s.GetSubscription()]
		row := sessionRow{
			Session: s, Application: of.GetApplicationDisplayName(), User: of.GetApplicationOwnerUsername(), Age: "connecting",
			Sent: int64(s.GetInbound().GetMessages()), Received: int64(s.GetOutbound().GetMessages()),
			Gateway: gatewayOf(s.GetName()), Close: v.Base + "/sessions/" + ui.ID(s.GetName()) + "/close",
		}
		if row.Application == "" {
			row.Application = s.GetApplication()
		}
		if s.GetStartTime() != nil {
			row.Age = ui.Age(time.Since(s.GetStartTime().AsTime()))
		}
		rows = append(rows, row)
	}
	return rows, nil
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
			return nil, absent(err)
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
			Text:     []string{"Its client gets code 4010 and may connect again. To keep an application out, block its subscription."},
			Sessions: 1, Button: "Close it", Keep: "Keep it open", To: list + "/" + r.PathValue("id") + "/close", Back: list,
		}}), nil
	})
}

// recordsView is the list of ended sessions and refused handshakes of a version.
type recordsView struct {
	*version
	Filters *ui.Filters
	Rows    []recordRow
	More    string
	Empty   ui.Empty
}

// recordRow is a record in the list.
type recordRow struct {
	*usagev1.SessionRecord
	Ref string
	// Lasted is how long the session lived, empty for a refused handshake.
	Lasted string
	// Reason says why it ended or was refused, By who ended it.
	Reason, By string
	// Code is the close code that the client got, or the status of the answer.
	Code int64
}

// records lists what has ended.
func (p *pages) records() ui.Route {
	t := ui.Parse[recordsView](files, "templates/records.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/records", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		view := recordsView{version: v, Filters: recordFilters(r)}
		view.Empty = ui.Empty{Title: "No record yet", Text: "A session that has ended, and a handshake that was refused, is recorded here."}
		if view.Filters.Any() {
			view.Empty = ui.Empty{Title: "Nothing found", Text: "No record has all of this.", Action: &ui.Link{Text: "Show all", To: v.Base + "/records"}}
		}
		list, err := p.Usage.ListSessionRecords(r.Context(), &usagev1.ListSessionRecordsRequest{
			Filter: v.and(view.Filters.Terms("refused", "end_reason")), PageToken: r.FormValue("page"),
		})
		if unused(err) != nil {
			if err := view.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		for _, one := range list.GetSessionRecords() {
			view.Rows = append(view.Rows, recordOf(one))
		}
		view.More = r.Next(list.GetNextPageToken())
		h := v.head("Records")
		h.Status = view.Filters.Status()
		return t.Page(h, view), nil
	})
}

// recordFilters restrict the list of records.
func recordFilters(r *ui.Request) *ui.Filters {
	kinds := []ui.Option{{Value: "", Text: "All"}, {Value: "false", Text: "Sessions"}, {Value: "true", Text: "Refused handshakes"}}
	reasons := []ui.Option{{Value: "", Text: "All"}}
	values := usagev1.EndReason(0).Descriptor().Values()
	for i := range values.Len() {
		if e := values.Get(i); e.Number() != 0 {
			reason := strings.TrimPrefix(string(e.Name()), "END_REASON_")
			reasons = append(reasons, ui.Option{Value: reason, Text: lower(reason)})
		}
	}
	return ui.NewFilters(r,
		ui.Field{Name: "refused", Label: "Show", Kind: "select", Options: kinds},
		ui.Field{Name: "end_reason", Label: "Reason", Kind: "select", Options: reasons, Paths: []string{"filter"}},
	)
}

// recordOf returns a record as the list shows it.
func recordOf(s *usagev1.SessionRecord) recordRow {
	row := recordRow{
		SessionRecord: s, Ref: ui.ID(s.GetName()), Reason: lower(strings.TrimPrefix(s.GetEndReason().String(), "END_REASON_")),
		By: lower(strings.TrimPrefix(s.GetEndedBy().String(), "PARTY_")), Code: int64(s.GetCloseCodeToClient()),
	}
	if s.GetCode() != "" {
		row.Reason += ": " + lower(s.GetCode())
	}
	if s.GetStatus() != 0 {
		row.Code = int64(s.GetStatus())
	}
	if s.GetStartTime() != nil {
		row.Lasted = ui.Age(s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime()))
	}
	return row
}

// lower writes the name of an enum's value in words.
func lower(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", " ")) }
