// Package admin has the pages of administrators: the gateways and services, users, live
// sessions, session records and the audit log.
package admin

import (
	"embed"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

//go:embed templates
var files embed.FS

// pages makes the pages; each is a method.
type pages struct{ *ui.Services }

// Routes returns the pages.
func Routes(s *ui.Services) []ui.Route {
	p := &pages{s}
	return []ui.Route{
		p.overview(),
		p.users(), p.newUser(), p.user(), p.editUser(), p.setPassword(),
		p.approve(), p.restore(), p.unlock(), p.suspend(), p.deleteUser(), p.endSignIn(),
		p.sessions(), p.closeSession(), p.records(), p.record(), p.changes(), p.change(),
	}
}

// roles are those of the portal's users.
func roles() []ui.Role { return []ui.Role{ui.Admin} }

// head is that of a page at the first level; tab is the one that is shown.
func head(tab, title, sub string) ui.Head {
	h := ui.Head{Title: title, Sub: sub, TabsOf: "Admin"}
	for _, t := range []ui.Tab{
		{Text: "System", To: "/admin"}, {Text: "Users", To: usersPath}, {Text: "Sessions", To: sessionsPath},
		{Text: "Records", To: recordsPath}, {Text: "Changes", To: changesPath},
	} {
		t.Current = t.Text == tab
		h.Tabs = append(h.Tabs, t)
	}
	return h
}

// absent says of a name that cannot be one that nothing has it: names here come from the
// address of a page.
func absent(err error) error {
	if fault.Is(err, codes.InvalidArgument) {
		return fault.NotFound("what this address names was not found")
	}
	return err
}

// away reports whether a service or gateway did not answer.
func away(err error) bool {
	return fault.Is(err, codes.Unavailable) || fault.Is(err, codes.DeadlineExceeded)
}

// countSessions counts the live sessions that a filter leaves, or returns -1 where a
// gateway does not answer.
func (p *pages) countSessions(r *ui.Request, filter string) (int64, error) {
	resp, err := p.Sessions.CountSessions(r.Context(), &gatewayv1.CountSessionsRequest{
		Parent: "gateways/-", GroupBy: "gateway", Filter: filter, ReturnPartialSuccess: true,
	})
	switch {
	case away(err), err == nil && len(resp.GetUnreachable()) > 0:
		return -1, nil
	case err != nil:
		return 0, err
	}
	return resp.GetTotal(), nil
}

// confirmView asks before something ends.
type confirmView struct{ Confirm ui.Confirm }
