package devportal

import (
	"fmt"
	"net/url"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// portalTabs are the pages of the portal: one, where the viewer has no applications.
func portalTabs(r *ui.Request, current string) []ui.Tab {
	if !r.Viewer.May(developers()...) {
		return nil
	}
	return tabs(current, ui.Tab{Text: "APIs", To: "/devportal"}, ui.Tab{Text: "Applications", To: "/devportal/applications"})
}

// tabs marks the current one.
func tabs(current string, all ...ui.Tab) []ui.Tab {
	for i := range all {
		all[i].Current = all[i].Text == current
	}
	return all
}

// applicationPath is the address of an application's pages, applications/{application}.
func applicationPath(name string) string { return "/devportal/" + name }

// applicationsView is the list of one's own applications.
type applicationsView struct {
	Rows  []applicationRow
	More  string
	Query string
	Empty ui.Empty
}

// applicationRow is an application in the list.
type applicationRow struct {
	*subscriptionv1.Application
	Path string
}

// applications lists one's own applications.
func (p *pages) applications() ui.Route {
	t := ui.Parse[applicationsView](files, "templates/applications.html")
	return ui.Page("/devportal/applications", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		v := applicationsView{Query: r.FormValue("query")}
		list, err := p.Applications.ListApplications(r.Context(), &subscriptionv1.ListApplicationsRequest{
			Filter: `owner = "users/me"`, Query: v.Query, OrderBy: "display_name", PageToken: r.FormValue("page"),
		})
		if err != nil {
			return nil, err
		}
		for _, a := range list.GetApplications() {
			v.Rows = append(v.Rows, applicationRow{a, applicationPath(a.GetName())})
		}
		v.More, v.Empty = r.Next(list.GetNextPageToken()), noApplications(v.Query)
		return t.Page(ui.Head{
			Title: "Applications", Sub: "Your programs that use APIs. Each has subscriptions, and OAuth clients that get access tokens.",
			Tabs: portalTabs(r, "Applications"), TabsOf: "Developer portal",
		}, v), nil
	})
}

// noApplications is what the list says when there is nothing in it.
func noApplications(query string) ui.Empty {
	if query != "" {
		return ui.Empty{
			Title: "Nothing found", Text: fmt.Sprintf("None of your applications has %q in its name.", query),
			Action: &ui.Link{Text: "Show all applications", To: "/devportal/applications"},
		}
	}
	return ui.Empty{
		Title: "No application yet", Text: "The key generation wizard of an API makes one with all that it needs. You can also begin with the application.",
		Action: &ui.Link{Text: "Choose an API", To: "/devportal"}, Primary: true,
	}
}

// applicationFormView is the form of a new or changed application.
type applicationFormView struct {
	Form *ui.Form
	// To is where the form is sent, Back where Cancel leads.
	To, Back, Button string
	// Delete leads to the page that asks before the application is deleted, or is empty.
	Delete string
}

// applicationFields are those that an application has.
func applicationFields(a *subscriptionv1.Application, more ui.Field) []ui.Field {
	return []ui.Field{
		{Name: "name", Label: "Name", Required: true, Max: 100, Value: a.GetDisplayName(), Paths: []string{"application.display_name"}},
		{Name: "description", Label: "Description", Kind: "textarea", Max: 4096, Value: a.GetDescription(), Paths: []string{"application.description"}},
		more,
	}
}

// newApplication creates an application.
func (p *pages) newApplication() ui.Route {
	t := ui.Parse[applicationFormView](files, "templates/application-form.html")
	return ui.FormPage("/devportal/applications/new", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.NewForm(r, applicationFields(nil, ui.Field{Name: "request_id", Kind: "hidden", Value: uuid.NewString()})...)
		if r.Submitted() && form.Complete() {
			a, err := p.Applications.CreateApplication(r.Context(), &subscriptionv1.CreateApplicationRequest{
				Application: &subscriptionv1.Application{DisplayName: form.Get("name"), Description: form.Get("description")},
				RequestId:   part(form, "application", form.Get("name"), form.Get("description")),
			})
			if err == nil {
				return ui.Done(applicationPath(a.GetName()), "%s is created. Subscribe it to an API next.", a.GetDisplayName()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{
			Title: "Create an application", Here: "Create application", Crumbs: applicationCrumbs(), Status: form.Status(),
		}, applicationFormView{Form: form, To: "/devportal/applications/new", Back: "/devportal/applications", Button: "Create"}), nil
	})
}

// applicationCrumbs lead to the list of applications.
func applicationCrumbs(more ...ui.Link) []ui.Link {
	return append([]ui.Link{{Text: "Applications", To: "/devportal/applications"}}, more...)
}

// application is what its pages begin with.
type application struct {
	*subscriptionv1.Application
	// Base is the address of its pages.
	Base string
}

// application reads the application that a request's path names.
func (p *pages) application(r *ui.Request) (*application, error) {
	a, err := p.Applications.GetApplication(r.Context(), &subscriptionv1.GetApplicationRequest{Name: "applications/" + r.PathValue("application")})
	if err != nil {
		return nil, ui.Absent(err)
	}
	return &application{a, applicationPath(a.GetName())}, nil
}

// head is that of the application's pages; tab is the one that is shown.
func (a *application) head(tab string) ui.Head {
	return ui.Head{
		Title: a.GetDisplayName(), Sub: a.GetDescription(), Crumbs: applicationCrumbs(), TabsOf: "Application",
		Tabs: tabs(tab, ui.Tab{Text: "Subscriptions", To: a.Base}, ui.Tab{Text: "Keys", To: a.Base + "/keys"}, ui.Tab{Text: "API keys", To: a.Base + "/api-keys"},
			ui.Tab{Text: "Usage", To: a.Base + "/usage"}, ui.Tab{Text: "Sessions", To: a.Base + "/sessions"},
			ui.Tab{Text: "Records", To: a.Base + "/records"}, ui.Tab{Text: "Settings", To: a.Base + "/settings"}),
	}
}

// below is the head of a page below one of those.
func (a *application) below(title, here string) ui.Head {
	return ui.Head{Title: title, Here: here, Crumbs: applicationCrumbs(ui.Link{Text: a.GetDisplayName(), To: a.Base})}
}

// settings changes an application.
func (p *pages) settings() ui.Route {
	t := ui.Parse[applicationFormView](files, "templates/application-form.html")
	return ui.FormPage("/devportal/applications/{application}/settings", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, applicationFields(a.Application, ui.Field{Name: "etag", Kind: "hidden", Value: a.GetEtag()})...)
		if r.Submitted() && form.Complete() {
			_, err := p.Applications.UpdateApplication(r.Context(), &subscriptionv1.UpdateApplicationRequest{
				Application: &subscriptionv1.Application{Name: a.GetName(), DisplayName: form.Get("name"), Description: form.Get("description"), Etag: form.Get("etag")},
				UpdateMask:  &fieldmaskpb.FieldMask{Paths: []string{"display_name", "description"}},
			})
			if err == nil {
				return ui.Done(a.Base+"/settings", "The settings are saved."), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(a.GetEtag(), url.Values{"name": {a.GetDisplayName()}, "description": {a.GetDescription()}})
			}
		}
		h := a.head("Settings")
		h.Status = form.Status()
		return t.Page(h, applicationFormView{Form: form, To: a.Base + "/settings", Back: a.Base, Button: "Save", Delete: a.Base + "/delete"}), nil
	})
}

// confirmView asks before something ends.
type confirmView struct{ Confirm ui.Confirm }

// deleteApplication deletes an application, after a page that says what ends.
func (p *pages) deleteApplication() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/delete", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			if _, err := p.Applications.DeleteApplication(r.Context(), &subscriptionv1.DeleteApplicationRequest{Name: a.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done("/devportal/applications", "%s is deleted.", a.GetDisplayName()), nil
		}
		sessions, err := p.AllLiveSessions(r, `application = "`+a.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		return t.Page(a.below("Delete "+a.GetDisplayName()+"?", "Delete"), confirmView{ui.Confirm{
			Text:     []string{"Its OAuth clients, secrets and subscriptions are deleted with it. Sessions end within a second with code 4006."},
			Sessions: sessions, Button: "Delete it", Keep: "Keep it", To: a.Base + "/delete", Back: a.Base + "/settings",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: a.GetEtag()}},
		}}), nil
	})
}
