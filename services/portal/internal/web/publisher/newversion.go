package publisher

import (
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// newVersionView is the form of a new version.
type newVersionView struct {
	Form *ui.Form
	// To is the form's address, Back leads away.
	To, Back string
}

// newVersion creates a version of an API from one that there is.
func (p *pages) newVersion() ui.Route {
	t := ui.Parse[newVersionView](files, "templates/newversion.html")
	return ui.FormPage("/publisher/apis/{api}/versions/new", []ui.Role{ui.Creator}, t, func(r *ui.Request) (ui.Answer, error) {
		name := "apis/" + r.PathValue("api")
		api, err := p.Catalog.GetApi(r.Context(), &catalogv1.GetApiRequest{Name: name})
		if err != nil {
			return nil, ui.Absent(err)
		}
		list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{Parent: name, PageSize: mostVersions})
		if err != nil {
			return nil, err
		}
		form := newVersionForm(r, list.GetVersions())
		if r.Submitted() && form.Complete() {
			v, err := p.Catalog.CreateVersion(r.Context(), &catalogv1.CreateVersionRequest{
				Parent: name, SourceVersion: form.Get("source"), RequestId: form.Get("request_id"),
				Version: &catalogv1.Version{Version: form.Get("version"), Endpoints: newEndpoints(form.Get("endpoint"))},
			})
			if err == nil {
				return ui.Done(versionPath(v.GetName()), "%s %s is created. Publish it when clients may connect.", api.GetDisplayName(), v.GetVersion()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{
			Title: "New version of " + api.GetDisplayName(), Sub: "It takes over the settings of another one. Clients of that one go on as they are.",
			Crumbs: crumbs(ui.Link{Text: api.GetDisplayName(), To: apiPath(name)}), Here: "New version", Status: form.Status(),
		}, newVersionView{Form: form, To: apiPath(name) + "/versions/new", Back: apiPath(name)}), nil
	})
}

// newVersionForm has the versions that a new one can be made from.
func newVersionForm(r *ui.Request, versions []*catalogv1.Version) *ui.Form {
	sources := []ui.Option{{Value: "", Text: "None"}}
	for _, v := range versions {
		sources = append(sources, ui.Option{Value: v.GetName(), Text: v.GetVersion()})
	}
	from := r.URL.Query().Get("from")
	if from == "" {
		from = sources[len(sources)-1].Value
	}
	return ui.NewForm(r,
		ui.Field{Name: "version", Label: "Version", Required: true, Max: 30, Code: true, Placeholder: "2.0.0", Focus: !r.Submitted(), Paths: []string{"version.version"}},
		ui.Field{Name: "source", Label: "From", Kind: "select", Options: sources, Value: from, Hint: "The version whose settings it takes over.", Paths: []string{"source_version"}},
		ui.Field{Name: "endpoint", Label: "Endpoint", Code: true, Max: 2048, Placeholder: "wss://backend.example.com/stream",
			Hint: "Empty for those of the other version.", Paths: []string{"version.endpoints"}},
		ui.RequestID(),
	)
}

// newEndpoints are the endpoints with an address for production, or nil for those that are
// taken over.
func newEndpoints(address string) *catalogv1.Endpoints {
	if address == "" {
		return nil
	}
	return &catalogv1.Endpoints{Production: endpoints(address)}
}
