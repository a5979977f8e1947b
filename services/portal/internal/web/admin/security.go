package admin

import (
	"strings"

	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// securityPath is the address of the security log.
const securityPath = "/admin/security"

// securityView is the security log.
type securityView struct {
	Filters *ui.Filters
	Rows    []securityRow
	More    string
	Empty   ui.Empty
}

// securityRow is a security event in the list.
type securityRow struct {
	*identityv1.SecurityEvent
	// Who did it, and What it was done to. What leads nowhere has no address.
	Who, What ui.Link
}

// newSecurityRow returns an event as the page shows it.
func newSecurityRow(e *identityv1.SecurityEvent) securityRow {
	row := securityRow{SecurityEvent: e, Who: ui.Link{Text: e.GetActor()}, What: ui.Link{Text: e.GetSubject()}}
	if name := e.GetActorDisplayName(); name != "" {
		row.Who.Text = name
	}
	if strings.HasPrefix(e.GetActor(), "users/") && !e.GetActorDeleted() {
		row.Who.To = userPath(e.GetActor())
	}
	if e.GetUser() != "" && e.GetUsername() != "" {
		row.What.Text = e.GetUsername()
		if rest := strings.TrimPrefix(e.GetSubject(), e.GetUser()); strings.HasPrefix(rest, "/") {
			row.What.Text += rest // its sign-in
		}
	}
	if e.GetUser() != "" && !e.GetUserDeleted() {
		row.What.To = userPath(e.GetUser())
	}
	return row
}

// security lists security events.
func (p *pages) security() ui.Route {
	t := ui.Parse[securityView](files, "templates/security.html")
	return ui.Page(securityPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := securityView{Filters: securityFilters(r)}
		v.Empty = ui.Empty{Title: "No event", Text: "There is one as soon as somebody signs in."}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No event found", Text: "No event has all of this.", Action: &ui.Link{Text: "Show all events", To: securityPath}}
		}
		if err := p.listSecurity(r, &v); err != nil {
			return nil, err
		}
		h := head("Security", "Security log", "Who got in, who did not, and who changed what others may do, newest first. Times are in UTC.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// securityFilters restrict the security log.
func securityFilters(r *ui.Request) *ui.Filters {
	events := []ui.Option{{Value: "", Text: "All"}}
	for _, kind := range securitylog.Kinds() {
		events = append(events, ui.Option{Value: string(kind), Text: string(kind)})
	}
	return ui.NewFilters(r,
		ui.Field{Name: "event", Label: "Event", Kind: "select", Options: events},
		ui.Field{Name: "user", Label: "User", Placeholder: "username"},
		ui.Field{Name: "client_address", Label: "From address", Code: true, Placeholder: "192.0.2.7"},
		ui.Field{Name: "start_time", Label: "From (UTC)", Kind: "datetime-local", Paths: []string{"start_time"}},
		ui.Field{Name: "end_time", Label: "Until (UTC)", Kind: "datetime-local", Paths: []string{"end_time"}},
	)
}

// listSecurity reads the events that the filters leave. What is wrong with the filters is
// said there.
func (p *pages) listSecurity(r *ui.Request, v *securityView) error {
	req := &identityv1.ListSecurityEventsRequest{
		Filter: v.Filters.Terms("event", "user", "client_address"), StartTime: v.Filters.Time("start_time"), EndTime: v.Filters.Time("end_time"), PageToken: r.FormValue("page"),
	}
	if !v.Filters.Good() {
		return nil
	}
	list, err := p.Security.ListSecurityEvents(r.Context(), req)
	switch {
	case fault.Is(err, codes.NotFound):
		v.Filters.Wrong("user", "there is no user of this name")
		return nil
	case err != nil:
		return v.Filters.Explain(err)
	}
	v.More = r.Next(list.GetNextPageToken())
	for _, e := range list.GetSecurityEvents() {
		v.Rows = append(v.Rows, newSecurityRow(e))
	}
	return nil
}
