package publisher

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// createView is the form of a new API.
type createView struct {
	Form *ui.Form
	// MayPublish says whether the viewer may publish what is created.
	MayPublish bool
}

// newAPI creates an API with its first version, and publishes it for those who may and
// ask for it.
func (p *pages) newAPI() ui.Route {
	t := ui.Parse[createView](files, "templates/create.html")
	return ui.FormPage("/publisher/apis/new", []ui.Role{ui.Creator}, t, func(r *ui.Request) (ui.Answer, error) {
		plans, err := p.planOptions(r.Context())
		if err != nil {
			return nil, err
		}
		form := createForm(r, plans)
		mayPublish := r.Viewer.May(ui.Publisher)
		if r.Submitted() && form.Complete() {
			publish := mayPublish && r.PostForm.Get("do") == "publish"
			var header metadata.MD
			made, err := p.create(r.Context(), form, publish, &header)
			switch {
			case err == nil && publish:
				return p.served(r, made.GetName(), form.Get("name"), header), nil
			case err == nil:
				return ui.Done(versionPath(made.GetName()), "%s is created. Publish it when clients may connect.", form.Get("name")), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{
			Title: "Design a New WebSocket API", Sub: "All but the version can be changed later; the context while nothing is published.",
			Crumbs: crumbs(), Here: "Create API", Status: form.Status(),
		}, createView{Form: form, MayPublish: mayPublish}), nil
	})
}

// createForm is the form of a new API.
func createForm(r *ui.Request, plans []ui.Option) *ui.Form {
	return ui.NewForm(r,
		ui.Field{Name: "name", Label: "Name", Required: true, Max: 100, Focus: !r.Submitted(), Paths: []string{"api.display_name"}},
		ui.Field{Name: "context", Label: "Context", Required: true, Code: true, Placeholder: "/team/echo", Hint: "The first part of the address at the gateway.", Paths: []string{"api.context"}},
		ui.Field{Name: "version", Label: "Version", Required: true, Max: 30, Code: true, Value: "1.0.0", Paths: []string{"version.version"}},
		ui.Field{Name: "endpoint", Label: "Endpoint", Required: true, Code: true, Placeholder: "wss://backend.example.com/stream",
			Hint: "The backend: ws:// or wss://. Its address is checked when it is dialled.", Paths: []string{"version.endpoints"}},
		ui.Field{Name: "plans", Label: "Business plans", Kind: "choices", Options: plans, Hint: "what subscribers can choose from", Paths: []string{"version.plans"}},
		ui.RequestID(),
	)
}

// planOptions are the plans that a version can offer.
func (p *pages) planOptions(ctx context.Context) ([]ui.Option, error) {
	list, err := p.Catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: 1000})
	if err != nil {
		return nil, err
	}
	var all []ui.Option
	for _, plan := range list.GetPlans() {
		all = append(all, ui.Option{Value: plan.GetName(), Text: plan.GetDisplayName(), Hint: ui.Brief(plan.GetDescription())})
	}
	return all, nil
}

// create creates the API and its version, and publishes it, or does nothing: an API whose
// version is refused is deleted again, so that the form can be mended and sent once more.
// A form that is sent twice makes one API. header gets that of the publication.
func (p *pages) create(ctx context.Context, form *ui.Form, publish bool, header *metadata.MD) (*catalogv1.Version, error) {
	id, err := uuid.Parse(form.Get("request_id"))
	if err != nil {
		id = uuid.New() // somebody has changed the form
	}
	api, err := p.Catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{
		Api: &catalogv1.Api{DisplayName: form.Get("name"), Context: form.Get("context")}, RequestId: id.String(),
	})
	if err != nil {
		return nil, err
	}
	v, err := p.Catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
		Parent: api.GetName(),
		Version: &catalogv1.Version{
			Version: form.Get("version"), Plans: form.All("plans"),
			Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: form.Get("endpoint")}}}},
		},
		RequestId: uuid.NewSHA1(id, []byte("version")).String(),
	})
	if err == nil && publish {
		v, err = p.Catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, grpc.Header(header))
	}
	if err == nil {
		return v, nil
	}
	form.Set("request_id", uuid.NewString()) // what it stood for is gone
	// Whoever has sent the form may have gone away meanwhile.
	if _, undo := p.Catalog.DeleteApi(context.WithoutCancel(ctx), &catalogv1.DeleteApiRequest{Name: api.GetName(), Force: true}); undo != nil {
		return nil, fault.Unavailable("the API was created, but not all of it, and is in the list of APIs: %s", status.Convert(err).Message())
	}
	return nil, err
}
