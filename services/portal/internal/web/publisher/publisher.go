// Package publisher has the pages of those who offer APIs: creators and publishers.
package publisher

import (
	"embed"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
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
	var secured []ui.Route
	for _, c := range connections() {
		secured = append(secured, c.security().page(p))
	}
	return append(secured,
		p.apis(), p.newAPI(), p.api(), p.apiSettings(), p.transfer(), p.deleteAPI(), p.newVersion(),
		p.denyRules(), p.newDenyRule(), p.denyRule(), p.deleteDenyRule(),
		p.overview(), p.lifecycle(), p.publish(), p.takeBack(), p.deleteVersion(),
		p.endpoint(), beside().page(p), p.addresses(), p.removeAddress(), p.checkEndpoint(), security().page(p), p.offered(), settings().page(p),
		p.subscriptions(), p.blockSubscription(), p.restoreSubscription(), p.moveSubscription(),
		p.liveList(), p.closeSession(), p.closeAll(), p.closeSome(), p.records(), p.record(), p.usage(),
	)
}

// roles are those of the portal's users.
func roles() []ui.Role { return []ui.Role{ui.Creator, ui.Publisher} }

// crumbs lead to the list of APIs.
func crumbs(more ...ui.Link) []ui.Link {
	return append([]ui.Link{{Text: "APIs", To: "/publisher"}}, more...)
}

// version is one version with its API: what all its pages begin with.
type version struct {
	API     *catalogv1.Api
	Version *catalogv1.Version
	// Base is the address of the version's pages.
	Base string
}

// version reads the version that a request's path names.
func (p *pages) version(r *ui.Request) (*version, error) {
	name := "apis/" + r.PathValue("api")
	api, err := p.Catalog.GetApi(r.Context(), &catalogv1.GetApiRequest{Name: name})
	if err != nil {
		return nil, ui.Absent(err)
	}
	v, err := p.Catalog.GetVersion(r.Context(), &catalogv1.GetVersionRequest{Name: name + "/versions/" + r.PathValue("version")})
	if err != nil {
		return nil, ui.Absent(err)
	}
	return &version{API: api, Version: v, Base: versionPath(v.GetName())}, nil
}

// unused takes for nothing that a service does not know a version that the catalog has:
// nobody has used it yet, or what there is of it is not the viewer's to see.
func unused(err error) error {
	if fault.Is(err, codes.NotFound) {
		return nil
	}
	return err
}

// versionPath is the address of a version's overview, apiPath that of an API. Names are
// of the form apis/{api}/versions/{version}.
func versionPath(name string) string { return "/publisher/" + name }
func apiPath(name string) string     { return "/publisher/" + name }

// head is that of the version's pages; tab is the one that is shown.
func (v *version) head(tab string) ui.Head {
	h := ui.Head{
		Title: v.API.GetDisplayName(), Sub: v.Version.GetDescription(), Here: v.Version.GetVersion(), TabsOf: "Version",
		Badges: []ui.Badge{stateBadge(v.Version), {Kind: "tag", Text: v.label()}},
		Crumbs: crumbs(ui.Link{Text: v.API.GetDisplayName(), To: apiPath(v.API.GetName())}),
	}
	for _, t := range []ui.Tab{
		{Text: "Overview", To: v.Base}, {Text: "Endpoint", To: v.Base + "/endpoint"}, {Text: "Security", To: v.Base + "/security"}, {Text: "Plans", To: v.Base + "/plans"}, {Text: "Settings", To: v.Base + "/settings"},
		{Text: "Subscriptions", To: v.Base + "/subscriptions"}, {Text: "Live sessions", To: v.Base + "/sessions"}, {Text: "Records", To: v.Base + "/records"}, {Text: "Usage", To: v.Base + "/usage"},
		{Text: "Lifecycle", To: v.Base + "/lifecycle"},
	} {
		t.Current = t.Text == tab
		h.Tabs = append(h.Tabs, t)
	}
	return h
}

// below is the head of a page below one of the version's tabs: it has a title of its own,
// and no tabs.
func (v *version) below(title, here string) ui.Head {
	h := v.head("")
	h.Title, h.Sub, h.Tabs, h.Badges, h.Here = title, "", nil, nil, here
	h.Crumbs = append(h.Crumbs, ui.Link{Text: v.Version.GetVersion(), To: v.Base})
	return h
}

// name is what users call the version.
func (v *version) name() string { return v.API.GetDisplayName() + " " + v.Version.GetVersion() }

// label names the version, and says whether it is the API's default one.
func (v *version) label() string {
	if v.API.GetDefaultVersion() == v.Version.GetName() {
		return v.Version.GetVersion() + " · default"
	}
	return v.Version.GetVersion()
}

// Published reports whether clients can connect.
func (v *version) Published() bool { return published(v.Version) }

func published(v *catalogv1.Version) bool {
	return v.GetState() == catalogv1.Version_STATE_PUBLISHED
}

// stateBadge says in which state a version is.
func stateBadge(v *catalogv1.Version) ui.Badge {
	if published(v) {
		return ui.Badge{Kind: "ok", Text: "Published"}
	}
	return ui.Badge{Text: "Created"}
}

// liveSessions counts the live sessions of a version, or returns -1 where a gateway does
// not answer.
func (p *pages) liveSessions(r *ui.Request, version string) (int64, error) {
	counts, err := p.LiveSessions(r, "version", version)
	if err != nil {
		return 0, err
	}
	return counts(version), nil
}
