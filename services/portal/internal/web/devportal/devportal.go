// Package devportal has the pages of those who use APIs: developers.
package devportal

import (
	"context"
	"embed"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

//go:embed templates
var files embed.FS

// pages makes the pages; each is a method.
type pages struct {
	*ui.Services
	// authority is as in Routes.
	authority string
}

// Routes returns the pages. authority is the file that the programs of users find the
// certificate of the gateways' authority in, empty where programs trust it already.
func Routes(s *ui.Services, authority string) []ui.Route {
	p := &pages{s, authority}
	return []ui.Route{
		p.catalogue(), p.version(), p.wizard(),
		p.applications(), p.newApplication(), p.subscribed(), p.settings(), p.deleteApplication(),
		p.changePlan(), p.unsubscribe(),
		p.keys(), p.newSecret(), p.deleteSecret(), p.deleteClient(),
		p.apiKeys(), p.newAPIKey(), p.editAPIKey(), p.rotateAPIKey(), p.deleteAPIKey(),
		p.usage(), p.liveSessions(), p.closeSession(), p.revokeAll(), p.revokeSubscription(), p.revokeClient(), p.revokeSecret(), p.revokeToken(), p.records(), p.record(),
	}
}

// readers are the roles of those who see what is published, developers of those who have
// applications.
func readers() []ui.Role    { return []ui.Role{ui.Subscriber, ui.Publisher} }
func developers() []ui.Role { return []ui.Role{ui.Subscriber} }

// crumbs lead to the list of APIs.
func crumbs(more ...ui.Link) []ui.Link {
	return append([]ui.Link{{Text: "APIs", To: "/devportal"}}, more...)
}

// versionPath is the address of the page of a version, apis/{api}/versions/{version}.
func versionPath(name string) string { return "/devportal/" + name }

// offer is a version that can be used, with its API and plans: what pages about it begin
// with.
type offer struct {
	API     *catalogv1.Api
	Version *catalogv1.Version
	Plans   []*catalogv1.Plan
	// Base is the address of the version's pages.
	Base string
}

// offer reads the version that a request's path names. One that is not published is
// nothing here, for its owner too.
func (p *pages) offer(r *ui.Request) (*offer, error) {
	name := "apis/" + r.PathValue("api")
	api, err := p.Catalog.GetApi(r.Context(), &catalogv1.GetApiRequest{Name: name})
	if err != nil {
		return nil, ui.Absent(err)
	}
	v, err := p.Catalog.GetVersion(r.Context(), &catalogv1.GetVersionRequest{Name: name + "/versions/" + r.PathValue("version")})
	if err != nil {
		return nil, ui.Absent(err)
	}
	if v.GetState() != catalogv1.Version_STATE_PUBLISHED {
		return nil, fault.NotFound("this version is not published")
	}
	o := &offer{API: api, Version: v, Base: versionPath(v.GetName())}
	o.Plans, err = p.plans(r.Context(), v.GetPlans())
	return o, err
}

// Name is what users call the version.
func (o *offer) Name() string { return o.API.GetDisplayName() + " " + o.Version.GetVersion() }

// Open reports whether clients need no credential.
func (o *offer) Open() bool {
	for _, s := range o.Version.GetSecurity() {
		if s.GetNone() != nil {
			return true
		}
	}
	return false
}

// KeysOnly reports whether clients can show API keys and nothing else.
func (o *offer) KeysOnly() bool {
	return snippet.TakesKeys(o.Version) && !snippet.TakesTokens(o.Version)
}

// TakesKeys reports whether clients can show API keys.
func (o *offer) TakesKeys() bool { return snippet.TakesKeys(o.Version) }

// plans reads the plans of these names, in their order.
func (p *pages) plans(ctx context.Context, names []string) ([]*catalogv1.Plan, error) {
	if len(names) == 0 {
		return nil, nil
	}
	got, err := p.Catalog.BatchGetPlans(ctx, &catalogv1.BatchGetPlansRequest{Names: names, AllowMissing: true})
	return got.GetPlans(), err
}

// apiOf is the API of a version's name.
func apiOf(version string) string {
	api, _, _ := strings.Cut(version, "/versions/")
	return api
}
