package devportal

import (
	"slices"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// sessionsView has an application's live sessions.
type sessionsView struct {
	*application
	Rows []sessionRow
	More string
	// Unreachable are gateways whose sessions are not among them.
	Unreachable []string
	Empty       ui.Empty
}

// sessionRow is a live session.
type sessionRow struct {
	*gatewayv1.Session
	// Of is what users call the version.
	Of string
	// Since is how long it has been.
	Since string
	// Renewed says how often its credential was renewed; empty for never.
	Renewed string
	// Close leads to the page that asks first.
	Close string
}

// liveSessions lists an application's live sessions.
func (p *pages) liveSessions() ui.Route {
	t := ui.Parse[sessionsView](files, "templates/sessions.html")
	return ui.Page("/devportal/applications/{application}/sessions", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Sessions.ListSessions(r.Context(), &gatewayv1.ListSessionsRequest{
			Parent: "gateways/-", Filter: `application = "` + a.GetName() + `"`, PageToken: r.FormValue("page"), ReturnPartialSuccess: true,
		})
		if err != nil {
			return nil, err
		}
		v := sessionsView{
			application: a, More: r.Next(list.GetNextPageToken()), Unreachable: list.GetUnreachable(),
			Empty: ui.Empty{Title: "No live session", Text: "A session is one connection through a gateway. Those of this application are listed here while they last; records have those that have ended."},
		}
		titles, err := p.versionTitles(r, list.GetSessions())
		if err != nil {
			return nil, err
		}
		for _, s := range list.GetSessions() {
			v.Rows = append(v.Rows, sessionRow{
				Session: s, Of: titles[s.GetVersion()], Since: ui.Age(time.Since(s.GetStartTime().AsTime())), Renewed: ui.Renewals(s), Close: a.Base + "/sessions/" + ui.ID(s.GetName()) + "/close",
			})
		}
		return t.Page(a.head("Sessions"), v), nil
	})
}

// versionTitles are what users call the versions of sessions, by name.
func (p *pages) versionTitles(r *ui.Request, sessions []*gatewayv1.Session) (map[string]string, error) {
	var names []string
	for _, s := range sessions {
		if !slices.Contains(names, s.GetVersion()) {
			names = append(names, s.GetVersion())
		}
	}
	titles := map[string]string{}
	if len(names) == 0 {
		return titles, nil
	}
	got, err := p.Catalog.BatchGetVersions(r.Context(), &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: names, AllowMissing: true})
	if err != nil {
		return nil, err
	}
	rows, err := p.rows(r, got.GetVersions())
	for _, row := range rows {
		titles[row.Version.GetName()] = row.API.GetDisplayName() + " " + row.Version.GetVersion()
	}
	return titles, err
}

// closeSession closes a live session, after a page that asks.
func (p *pages) closeSession() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/sessions/{session}/close", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		s, err := p.Sessions.GetSession(r.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/-/sessions/" + r.PathValue("session")})
		switch {
		case err != nil:
			return nil, ui.Absent(err)
		case s.GetApplication() != a.GetName():
			return nil, fault.NotFound("the application has no such session")
		}
		if r.Submitted() {
			if _, err := p.Sessions.CloseSession(r.Context(), &gatewayv1.CloseSessionRequest{Name: s.GetName()}); err != nil {
				return nil, err
			}
			return ui.Done(a.Base+"/sessions", "The session is closed."), nil
		}
		h := a.below("Close the session?", "Close a session")
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Sessions", To: a.Base + "/sessions"})
		return t.Page(h, confirmView{ui.Confirm{
			Text:     []string{"It is that of the client at " + s.GetClientAddress() + ", since " + ui.Date(s.GetStartTime()) + ". It ends with code 4010; the client may connect again."},
			Sessions: 1, Button: "Close it", Keep: "Keep it", To: a.Base + "/sessions/" + r.PathValue("session") + "/close", Back: a.Base + "/sessions",
		}}), nil
	})
}

// recordsView has the records of an application's ended sessions and refused handshakes.
type recordsView struct {
	*application
	Rows  []recordRow
	More  string
	Empty ui.Empty
}

// recordRow is a record, with the address of its page.
type recordRow struct {
	ui.Record
	Path string
}

// records lists why an application's sessions have ended and handshakes were refused.
func (p *pages) records() ui.Route {
	t := ui.Parse[recordsView](files, "templates/records.html")
	return ui.Page("/devportal/applications/{application}/records", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Usage.ListSessionRecords(r.Context(), &usagev1.ListSessionRecordsRequest{
			Filter: `application = "` + a.GetName() + `"`, PageToken: r.FormValue("page"),
		})
		if err != nil {
			return nil, err
		}
		v := recordsView{
			application: a, More: r.Next(list.GetNextPageToken()),
			Empty: ui.Empty{Title: "No record yet", Text: "When a session of this application ends, or a handshake is refused, the reason is here, under the ref that the client was shown."},
		}
		for _, record := range list.GetSessionRecords() {
			v.Rows = append(v.Rows, recordRow{ui.NewRecord(record), a.Base + "/records/" + ui.ID(record.GetName())})
		}
		return t.Page(a.head("Records"), v), nil
	})
}

// recordView is one record.
type recordView struct{ Record ui.RecordPage }

// record shows why a session of an application ended, or a handshake was refused.
func (p *pages) record() ui.Route {
	t := ui.Parse[recordView](files, "templates/record.html")
	return ui.Page("/devportal/applications/{application}/records/{ref}", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		got, err := p.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + r.PathValue("ref")})
		switch {
		case err != nil:
			return nil, ui.Absent(err)
		case got.GetApplication() != a.GetName():
			return nil, fault.NotFound("the application has no record with this ref")
		}
		page, err := p.RecordPage(r, got)
		if err != nil {
			return nil, err
		}
		page.OfApplication = a.Base + "/records"
		h := a.below(page.Ref, page.Ref)
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Records", To: a.Base + "/records"})
		h.Badges = []ui.Badge{{Kind: "tag", Text: page.Word}}
		return t.Page(h, recordView{page}), nil
	})
}
