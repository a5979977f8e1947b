// Package admin has the pages of administrators: the gateways and services, users, plans,
// applications, quotas, live sessions, deny rules, session records, the audit log and the security log.
package admin

import (
	"embed"

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
		p.plans(), p.newPlan(), p.plan(), p.editPlan(), p.deletePlan(), p.newLimit(), p.editLimit(), p.removeLimit(),
		p.applications(), p.applicationPlan(), p.quotas(), p.quota(),
		p.denyRules(), p.newDenyRule(), p.denyRule(), p.deleteDenyRule(),
		p.sessions(), p.closeSession(), p.closeSome(), p.records(), p.record(), p.changes(), p.change(), p.security(),
	}
}

// roles are those of the portal's users.
func roles() []ui.Role { return []ui.Role{ui.Admin} }

// head is that of a page at the first level; tab is the one that is shown.
func head(tab, title, sub string) ui.Head {
	h := ui.Head{Title: title, Sub: sub, TabsOf: "Admin"}
	for _, t := range []ui.Tab{
		{Text: "System", To: "/admin"}, {Text: "Users", To: usersPath}, {Text: "Plans", To: plansPath}, {Text: "Applications", To: applicationsPath}, {Text: "Quotas", To: quotasPath}, {Text: "Sessions", To: sessionsPath}, {Text: "Deny rules", To: denyPath},
		{Text: "Records", To: recordsPath}, {Text: "Changes", To: changesPath}, {Text: "Security", To: securityPath},
	} {
		t.Current = t.Text == tab
		h.Tabs = append(h.Tabs, t)
	}
	return h
}

// confirmView asks before something ends.
type confirmView struct{ Confirm ui.Confirm }
