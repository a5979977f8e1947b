package admin

import (
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// sessionsPath is the address of the list of live sessions.
const sessionsPath = "/admin/sessions"

// sessionsView is the list of live sessions.
type sessionsView struct {
	Filters *ui.Filters
	Rows    []sessionRow
	Total   int32
	// Unreachable are the gateways whose sessions are missing.
	Unreachable []string
	More        string
	Empty       ui.Empty
}

// sessionRow is a live session in the list.
type sessionRow struct {
	*gatewayv1.Session
	// Gateway is the one that has it.
	Gateway string
	// VersionName and ApplicationName are what users call these.
	VersionName, ApplicationName string
	// OfVersion and OfApplication list the sessions of the same; Close asks before it
	// is closed.
	OfVersion, OfApplication, Close string
	// Renewed says how often its credential was renewed; empty for never.
	Renewed string
	// Deny leads to the form that keeps its client out.
	Deny string
}

// sessions lists the live sessions of all gateways.
func (p *pages) sessions() ui.Route {
	t := ui.Parse[sessionsView](files, "templates/sessions.html")
	return ui.Page(sessionsPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := sessionsView{Filters: ui.NewFilters(r,
			ui.Field{Name: "gateway", Label: "Gateway"},
			ui.Field{Name: "version", Label: "Version", Code: true, Placeholder: "apis/…/versions/…"},
			ui.Field{Name: "application", Label: "Application", Code: true, Placeholder: "applications/…"},
			ui.Field{Name: "oauth_client", Label: "OAuth client", Code: true, Placeholder: "applications/…/oauthClients/…"},
			ui.Field{Name: "api_key", Label: "API key", Code: true, Placeholder: "applications/…/apiKeys/…"},
			ui.Field{Name: "user", Label: "Owner of the application", Max: 64, Placeholder: "username"},
		)}
		v.Empty = ui.Empty{Title: "No live session", Text: "Nobody is connected."}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No live session found", Text: "No live session has all of this.", Action: &ui.Link{Text: "Show all sessions", To: sessionsPath}}
		}
		if err := p.listSessions(r, &v); err != nil {
			return nil, err
		}
		h := head("Sessions", "Live sessions", "Who is connected now, on all gateways, oldest first.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// listSessions reads the sessions that the filters leave. What is wrong with the filters is
// said there.
func (p *pages) listSessions(r *ui.Request, v *sessionsView) error {
	user, err := p.userNamed(r, v.Filters)
	if err != nil || !v.Filters.Good() {
		return err
	}
	req := &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true, PageToken: r.FormValue("page")}
	if g := v.Filters.Get("gateway"); g != "" {
		req.Parent, req.ReturnPartialSuccess = "gateways/"+g, false
	}
	terms := []string{v.Filters.Terms("version", "application", "oauth_client", "api_key"), user}
	req.Filter = strings.Join(slices.DeleteFunc(terms, func(s string) bool { return s == "" }), " AND ")
	list, err := p.Sessions.ListSessions(r.Context(), req)
	switch {
	case !req.GetReturnPartialSuccess() && ui.Away(err):
		v.Unreachable = []string{req.GetParent()}
		return nil
	case !req.GetReturnPartialSuccess() && fault.Is(err, codes.NotFound):
		v.Filters.Wrong("gateway", "there is no such gateway")
		return nil
	case err != nil:
		return v.Filters.Explain(err)
	}
	v.Total, v.Unreachable, v.More = list.GetTotalSize(), list.GetUnreachable(), r.Next(list.GetNextPageToken())
	v.Rows, err = p.sessionRows(r, list.GetSessions())
	return err
}

// userNamed returns the term for the user whose name the filters have, or "".
func (p *pages) userNamed(r *ui.Request, f *ui.Filters) (string, error) {
	if f.Get("user") == "" {
		return "", nil
	}
	byName := ui.Filters{Form: ui.Form{Fields: []*ui.Field{{Name: "username", Value: f.Get("user")}}}}
	list, err := p.Users.ListUsers(r.Context(), &identityv1.ListUsersRequest{Filter: byName.Terms("username"), PageSize: 1})
	if err != nil {
		return "", f.Explain(err)
	}
	for _, u := range list.GetUsers() {
		return `user = "` + u.GetName() + `"`, nil
	}
	f.Wrong("user", "there is no user of this name")
	return "", nil
}

// sessionRows finds out what users call the versions and applications of sessions. Where a
// service is away, the names are those of resources.
func (p *pages) sessionRows(r *ui.Request, list []*gatewayv1.Session) ([]sessionRow, error) {
	var versions, apis, applications []string
	for _, s := range list {
		api, _, _ := strings.Cut(s.GetVersion(), "/versions/")
		versions, apis = append(versions, s.GetVersion()), append(apis, api)
		if s.GetApplication() != "" {
			applications = append(applications, s.GetApplication())
		}
	}
	names, err := p.displayNames(r, once(versions), once(apis), once(applications))
	if err != nil {
		return nil, err
	}
	var rows []sessionRow
	for _, s := range list {
		row := sessionRow{
			Session: s, VersionName: s.GetVersion(), ApplicationName: s.GetApplication(), Close: sessionPath(s.GetName()) + "/close",
			Deny: ui.NewDenyRule(newDenyPath, s.GetClientAddress(), ""), Renewed: ui.Renewals(s),
			OfVersion: ui.Filtered(sessionsPath, "version", s.GetVersion()), OfApplication: ui.Filtered(sessionsPath, "application", s.GetApplication()),
		}
		row.Gateway, _ = sessionParts(s.GetName())
		if name := names[s.GetVersion()]; name != "" {
			row.VersionName = name
		}
		if name := names[s.GetApplication()]; name != "" {
			row.ApplicationName = name
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// displayNames returns what users call versions and applications, by their names. What is
// not known is missing.
func (p *pages) displayNames(r *ui.Request, versions, apis, applications []string) (map[string]string, error) {
	names := map[string]string{}
	if len(versions) > 0 {
		got, err := p.Catalog.BatchGetVersions(r.Context(), &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: versions, AllowMissing: true})
		var of *catalogv1.BatchGetApisResponse
		if err == nil {
			of, err = p.Catalog.BatchGetApis(r.Context(), &catalogv1.BatchGetApisRequest{Names: apis, AllowMissing: true})
		}
		if err != nil && !ui.Away(err) {
			return nil, err
		}
		for _, api := range of.GetApis() {
			names[api.GetName()] = api.GetDisplayName()
		}
		for _, v := range got.GetVersions() {
			api, _, _ := strings.Cut(v.GetName(), "/versions/")
			if names[api] != "" {
				names[v.GetName()] = names[api] + " " + v.GetVersion()
			}
		}
	}
	if len(applications) > 0 {
		got, err := p.Applications.BatchGetApplications(r.Context(), &subscriptionv1.BatchGetApplicationsRequest{Names: applications, AllowMissing: true})
		if err != nil && !ui.Away(err) {
			return nil, err
		}
		for _, a := range got.GetApplications() {
			names[a.GetName()] = a.GetDisplayName()
		}
	}
	return names, nil
}

// once leaves each text once.
func once(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// sessionParts returns the ids of a session's gateway and of the session.
func sessionParts(name string) (gateway, session string) {
	gateway, session, _ = strings.Cut(strings.TrimPrefix(name, "gateways/"), "/sessions/")
	return gateway, session
}

// sessionPath is the address of a live session's pages.
func sessionPath(name string) string {
	gateway, session := sessionParts(name)
	return sessionsPath + "/" + url.PathEscape(gateway) + "/" + url.PathEscape(session)
}

// closeSession closes a live session, after a page that says which.
func (p *pages) closeSession() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage(sessionsPath+"/{gateway}/{session}/close", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		name := "gateways/" + r.PathValue("gateway") + "/sessions/" + r.PathValue("session")
		if r.Submitted() {
			_, err := p.Sessions.CloseSession(r.Context(), &gatewayv1.CloseSessionRequest{Name: name})
			switch {
			case err == nil:
				return ui.Done(sessionsPath, "The session %s is closed.", r.PathValue("session")), nil
			case fault.Is(err, codes.NotFound):
				return ui.Redirect{To: sessionsPath, Notice: ui.Notice{Text: "That session had ended before."}}, nil
			}
			return nil, ui.Absent(err)
		}
		s, err := p.Sessions.GetSession(r.Context(), &gatewayv1.GetSessionRequest{Name: name})
		if err != nil {
			return nil, ui.Absent(err)
		}
		rows, err := p.sessionRows(r, []*gatewayv1.Session{s})
		if err != nil {
			return nil, err
		}
		text := "The client at " + s.GetClientAddress() + " is connected to " + rows[0].VersionName
		if rows[0].ApplicationName != "" {
			text += " with the application " + rows[0].ApplicationName
		}
		return t.Page(ui.Head{
			Title: "Close this session?", Here: "Close", Crumbs: []ui.Link{{Text: "Live sessions", To: sessionsPath}},
		}, confirmView{Confirm: ui.Confirm{
			Text:     []string{text + ".", "The client gets the close code 4010, the backend 1001. The client may connect again."},
			Sessions: 1, Button: "Close the session", To: sessionPath(s.GetName()) + "/close", Back: sessionsPath,
		}}), nil
	})
}

// closeSome closes the live sessions of all gateways of which all that is entered is true.
func (p *pages) closeSome() ui.Route {
	const path = "/admin/close-sessions"
	t := ui.Parse[closingView](files, "templates/closing.html")
	return ui.FormPage(path, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.ClosingForm(r, ui.Field{Name: "version", Label: "Version", Code: true, Max: 255, Placeholder: "apis/…/versions/…", Hint: "Empty for all.", Paths: []string{"version"}})
		if r.Submitted() {
			done, err := p.Sessions.CloseSessions(r.Context(), &gatewayv1.CloseSessionsRequest{
				Parent: "gateways/-", Version: form.Get("version"), ClientAddress: form.Get("address"), Filter: form.Get("filter"),
			})
			if err == nil {
				return ui.Closed(sessionsPath, "Such sessions are closed.", done), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{
			Title: "Close sessions", Here: "Close", Crumbs: []ui.Link{{Text: "Live sessions", To: sessionsPath}}, Status: form.Status(),
		}, closingView{Form: form, To: path, Back: sessionsPath}), nil
	})
}

// closingView is the form that closes some sessions.
type closingView struct {
	Form     *ui.Form
	To, Back string
}
