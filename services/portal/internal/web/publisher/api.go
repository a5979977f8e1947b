package publisher

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// apiView is one API with its versions.
type apiView struct {
	API      *catalogv1.Api
	Versions []versionState
	More     string
	// Path is the API's page; MayCreate says whether the viewer may add a version.
	Path      string
	MayCreate bool
}

// getAPI reads the API that a request's path names.
func (p *pages) getAPI(r *ui.Request) (*catalogv1.Api, error) {
	api, err := p.Catalog.GetApi(r.Context(), &catalogv1.GetApiRequest{Name: "apis/" + r.PathValue("api")})
	return api, ui.Absent(err)
}

// apiHead is the head of an API's pages; tab is the one that is shown.
func apiHead(api *catalogv1.Api, tab string) ui.Head {
	h := ui.Head{Title: api.GetDisplayName(), Sub: api.GetDescription(), Crumbs: crumbs(), TabsOf: "API"}
	for _, t := range []ui.Tab{{Text: "Versions", To: apiPath(api.GetName())}, {Text: "Deny rules", To: denyPath(api)}, {Text: "Settings", To: apiPath(api.GetName()) + "/settings"}} {
		t.Current = t.Text == tab
		h.Tabs = append(h.Tabs, t)
	}
	return h
}

// belowAPI is the head of a page below those of an API.
func belowAPI(api *catalogv1.Api, title, here string) ui.Head {
	return ui.Head{Title: title, Here: here, Crumbs: crumbs(ui.Link{Text: api.GetDisplayName(), To: apiPath(api.GetName())})}
}

// owns reports whether an API is the viewer's, or the viewer may do all with it.
func owns(r *ui.Request, api *catalogv1.Api) bool {
	return r.Viewer.May(ui.Admin) || api.GetOwner() == r.Viewer.Name
}

// api shows an API and its versions.
func (p *pages) api() ui.Route {
	t := ui.Parse[apiView](files, "templates/api.html")
	return ui.Page("/publisher/apis/{api}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{Parent: api.GetName(), PageToken: r.FormValue("page")})
		if err != nil {
			return nil, err
		}
		v := apiView{API: api, More: r.Next(list.GetNextPageToken()), Path: apiPath(api.GetName()), MayCreate: r.Viewer.May(ui.Creator) && owns(r, api)}
		for _, one := range list.GetVersions() {
			v.Versions = append(v.Versions, versionState{one.GetVersion(), versionPath(one.GetName()), stateBadge(one)})
		}
		return t.Page(apiHead(api, "Versions"), v), nil
	})
}

// apiSettingsView is the form of an API, and what leads to what cannot be undone.
type apiSettingsView struct {
	settingsView
	Path string
	// MayGive says whether the viewer may give the API to another user.
	MayGive bool
}

// apiSettings shows and changes what there is of an API.
func (p *pages) apiSettings() ui.Route {
	t := ui.Parse[apiSettingsView](files, "templates/apisettings.html")
	return ui.FormPage("/publisher/apis/{api}/settings", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{Parent: api.GetName(), PageSize: mostVersions})
		if err != nil {
			return nil, err
		}
		fields := apiFields(api, list.GetVersions())
		form, path := ui.NewForm(r, fields...), apiPath(api.GetName())
		if r.Submitted() && form.Complete() {
			err := p.saveAPI(r, api, form, form.Changed(fields, "api."))
			if err == nil {
				return ui.Done(path+"/settings", "%s is saved.", form.Get("display_name")), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(api.GetEtag(), ui.Stored(fields))
			}
		}
		h := apiHead(api, "Settings")
		h.Status = form.Status()
		return t.Page(h, apiSettingsView{settingsView{Form: form, Heading: "Settings", To: path + "/settings", MayChange: r.Viewer.May(ui.Creator) && owns(r, api)}, path, owns(r, api)}), nil
	})
}

// apiFields are the entries of an API's settings.
func apiFields(api *catalogv1.Api, versions []*catalogv1.Version) []ui.Field {
	options, below := []ui.Option{{Value: "", Text: "None"}}, ""
	for _, v := range versions {
		options = append(options, ui.Option{Value: v.GetName(), Text: v.GetVersion()})
	}
	if api.GetDefaultVersionPaths() {
		below = "on"
	}
	return []ui.Field{
		{Name: "display_name", Label: "Name", Required: true, Max: 100, Value: api.GetDisplayName(), Paths: []string{"api.display_name"}},
		{Name: "context", Label: "Context", Required: true, Code: true, Value: api.GetContext(), Hint: "The first part of the address at the gateway. It is fixed while a version is published.", Paths: []string{"api.context"}},
		{Name: "description", Label: "Description", Kind: "textarea", Max: 4096, Value: api.GetDescription(), Hint: "What the API is for.", Paths: []string{"api.description"}},
		{Name: "default_version", Label: "Default version", Kind: "select", Options: options, Value: api.GetDefaultVersion(), Hint: "Where the address without a version leads while that version is published.", Paths: []string{"api.default_version"}},
		{Name: "default_version_paths", Label: "It also gets the paths that name no version", Kind: "check", Value: below, Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}},
			Hint: "Such as " + api.GetContext() + "/socket.io/.", Paths: []string{"api.default_version_paths"}},
		{Name: "etag", Kind: "hidden", Value: api.GetEtag()},
	}
}

// saveAPI changes what differs of an API, if something does.
func (p *pages) saveAPI(r *ui.Request, api *catalogv1.Api, form *ui.Form, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	_, err := p.Catalog.UpdateApi(r.Context(), &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{
			Name: api.GetName(), Etag: form.Get("etag"), DisplayName: form.Get("display_name"), Context: form.Get("context"), Description: form.Get("description"),
			DefaultVersion: form.Get("default_version"), DefaultVersionPaths: form.Get("default_version_paths") == "on",
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
	})
	return err
}

// transferView asks to whom an API is given.
type transferView struct {
	Form     *ui.Form
	To, Back string
	// Sessions are those that live now and go on, -1 where that is not known.
	Sessions int64
	// Stays says that the viewer still sees the API afterwards.
	Stays bool
}

// transfer gives an API to another user, after a page that says what passes with it.
func (p *pages) transfer() ui.Route {
	t := ui.Parse[transferView](files, "templates/transfer.html")
	return ui.FormPage("/publisher/apis/{api}/transfer", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		path := apiPath(api.GetName())
		form := ui.NewForm(r,
			ui.Field{Name: "owner", Label: "New owner", Required: true, Max: 100, Focus: !r.Submitted(), Hint: "The username.", Paths: []string{"owner"}},
			ui.Field{Name: "etag", Kind: "hidden", Value: api.GetEtag()},
		)
		stays := r.Viewer.May(ui.Admin)
		if r.Submitted() && form.Complete() {
			_, err := p.Catalog.TransferOwnership(r.Context(), &catalogv1.TransferOwnershipRequest{Name: api.GetName(), Owner: form.Get("owner"), Etag: form.Get("etag")})
			if err == nil {
				to := "/publisher"
				if stays {
					to = path
				}
				return ui.Done(to, "%s belongs to %s now.", api.GetDisplayName(), form.Get("owner")), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Set("etag", api.GetEtag())
			}
		}
		view := transferView{Form: form, To: path + "/transfer", Back: path + "/settings", Stays: stays}
		versions, err := p.allVersions(r, api)
		if err != nil {
			return nil, err
		}
		if view.Sessions, err = p.sessionsOf(r, versions); err != nil {
			return nil, err
		}
		h := belowAPI(api, "Give "+api.GetDisplayName()+" to another user?", "Transfer")
		h.Status = form.Status()
		return t.Page(h, view), nil
	})
}

// allVersions are those of an API, as far as a list of versions goes.
func (p *pages) allVersions(r *ui.Request, api *catalogv1.Api) ([]*catalogv1.Version, error) {
	list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{Parent: api.GetName(), PageSize: mostVersions})
	return list.GetVersions(), err
}

// sessionsOf counts the live sessions of versions, or returns -1 where a gateway does not
// answer.
func (p *pages) sessionsOf(r *ui.Request, versions []*catalogv1.Version) (sum int64, err error) {
	if len(versions) == 0 {
		return 0, nil
	}
	counts, err := p.LiveSessions(r, "version", namesOf(versions)...)
	if err != nil {
		return 0, err
	}
	for _, v := range versions {
		n := counts(v.GetName())
		if n < 0 {
			return -1, nil
		}
		sum += n
	}
	return sum, nil
}

// deleteAPI deletes an API with its versions, after a page that says what goes.
func (p *pages) deleteAPI() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/delete", []ui.Role{ui.Creator}, t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		path := apiPath(api.GetName())
		if r.Submitted() {
			if _, err := p.Catalog.DeleteApi(r.Context(), &catalogv1.DeleteApiRequest{Name: api.GetName(), Etag: r.PostForm.Get("etag"), Force: true}); err != nil {
				return nil, err
			}
			return ui.Done("/publisher", "%s is deleted.", api.GetDisplayName()), nil
		}
		versions, err := p.allVersions(r, api)
		if err != nil {
			return nil, err
		}
		var public []string
		for _, v := range versions {
			if published(v) {
				public = append(public, v.GetVersion())
			}
		}
		if len(public) > 0 {
			return ui.Redirect{To: path + "/settings", Notice: ui.Notice{Kind: "warn", Text: "Not deleted: take back first what is published, " + strings.Join(public, ", ") + "."}}, nil
		}
		sessions, err := p.sessionsOf(r, versions)
		if err != nil {
			return nil, err
		}
		with, err := p.subscriptionsOf(r, `version_owner = "`+api.GetOwner()+`"`, api.GetName()+"/")
		if err != nil {
			return nil, err
		}
		return t.Page(belowAPI(api, "Delete "+api.GetDisplayName()+"?", "Delete"), confirmView{Confirm: ui.Confirm{
			Text: []string{
				fmt.Sprintf("%s and %s are deleted with it. That cannot be undone.", ui.Plural(len(versions), "version"), with),
				"Its name and its context are free for others then. Usage and records stay.",
			},
			Sessions: sessions, Button: "Delete", Keep: "Keep it", To: path + "/delete", Back: path + "/settings",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: api.GetEtag()}},
		}}), nil
	})
}

// mostSubscriptions is how many subscriptions are counted one by one.
const mostSubscriptions = 1000

// subscriptionsOf says how many subscriptions, of those that a filter leaves, are to
// versions whose names begin so.
func (p *pages) subscriptionsOf(r *ui.Request, filter, prefix string) (string, error) {
	list, err := p.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{Filter: filter, PageSize: mostSubscriptions})
	if err := unused(err); err != nil {
		return "", err
	}
	n := 0
	for _, s := range list.GetSubscriptions() {
		if strings.HasPrefix(s.GetVersion(), prefix) {
			n++
		}
	}
	if list.GetNextPageToken() != "" {
		return "at least " + ui.Plural(n, "subscription"), nil
	}
	return ui.Plural(n, "subscription"), nil
}

// deleteVersion deletes a version, after a page that says what goes.
func (p *pages) deleteVersion() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/delete", []ui.Role{ui.Creator}, t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			if _, err := p.Catalog.DeleteVersion(r.Context(), &catalogv1.DeleteVersionRequest{Name: v.Version.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(apiPath(v.API.GetName()), "%s is deleted.", v.name()), nil
		}
		if v.Published() {
			return ui.Redirect{To: v.Base + "/lifecycle", Notice: ui.Notice{Kind: "warn", Text: "Not deleted: take it back first."}}, nil
		}
		sessions, err := p.liveSessions(r, v.Version.GetName())
		if err != nil {
			return nil, err
		}
		with, err := p.subscriptionsOf(r, v.and(""), "")
		if err != nil {
			return nil, err
		}
		text := []string{with + " to it and all its settings are deleted with it. That cannot be undone. Usage and records stay."}
		if v.API.GetDefaultVersion() == v.Version.GetName() {
			text = append(text, "It is the default version: the API has none then.")
		}
		return t.Page(v.below("Delete "+v.name()+"?", "Delete"), confirmView{Confirm: ui.Confirm{
			Text: text, Sessions: sessions, Button: "Delete", Keep: "Keep it", To: v.Base + "/delete", Back: v.Base + "/lifecycle",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: v.Version.GetEtag()}},
		}}), nil
	})
}
