package publisher

import (
	"html/template"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// apisView is the list of one's own APIs.
type apisView struct {
	Rows []apiRow
	More string
	// MayCreate says whether the viewer may create APIs.
	MayCreate bool
	Empty     ui.Empty
	// Query is what was searched for.
	Query string
}

// apiRow is an API in the list.
type apiRow struct {
	API  *catalogv1.Api
	Path string
	// States are those of its versions that are known.
	States []versionState
	// Sessions are those of these versions that live now, -1 where that is not known.
	Sessions int64
	// Messages are those of the last 24 hours; Day draws them.
	Messages int64
	Day      template.HTML
}

// versionState is a version and its state.
type versionState struct {
	Version, Path string
	Badge         ui.Badge
}

// mostVersions is how many versions the list looks at for their states and traffic.
const mostVersions = 1000

// mine restricts a list to what belongs to the caller.
const mine = `owner = "users/me"`

// apis lists one's own APIs.
func (p *pages) apis() ui.Route {
	t := ui.Parse[apisView](files, "templates/apis.html")
	return ui.Page("/publisher", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		query := r.FormValue("q")
		list, err := p.Catalog.ListApis(r.Context(), &catalogv1.ListApisRequest{Filter: mine, Query: query, OrderBy: "display_name", PageToken: r.FormValue("page")})
		if err != nil {
			return nil, err
		}
		v := apisView{More: r.Next(list.GetNextPageToken()), MayCreate: r.Viewer.May(ui.Creator), Empty: noAPIs(r.Viewer.May(ui.Creator)), Query: query}
		if query != "" {
			v.Empty = ui.Empty{Title: "No API has “" + query + "” in it", Text: "Names and contexts of your own APIs were searched.", Action: &ui.Link{Text: "Show all APIs", To: "/publisher"}}
		}
		for _, api := range list.GetApis() {
			v.Rows = append(v.Rows, apiRow{API: api, Path: apiPath(api.GetName())})
		}
		if err := p.fillIn(r, v.Rows); err != nil {
			return nil, err
		}
		return t.Page(ui.Head{
			Title: "APIs", Sub: "WebSocket backends that you put behind the gateway. A version that is published is found in the developer portal.",
		}, v), nil
	})
}

// fillIn adds to APIs what is known of their versions, in three calls for all of them.
func (p *pages) fillIn(r *ui.Request, rows []apiRow) error {
	if len(rows) == 0 {
		return nil
	}
	byName, apis := map[string]*apiRow{}, []string(nil)
	for i := range rows {
		byName[rows[i].API.GetName()] = &rows[i]
		apis = append(apis, rows[i].API.GetName())
	}
	list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{Parent: "apis/-", Apis: apis, PageSize: mostVersions})
	if err != nil {
		return err
	}
	var names []string
	for _, one := range list.GetVersions() {
		api, _, _ := strings.Cut(one.GetName(), "/versions/")
		row := byName[api]
		row.States = append(row.States, versionState{one.GetVersion(), versionPath(one.GetName()), stateBadge(one)})
		names = append(names, one.GetName())
	}
	counts, err := p.LiveSessions(r, "version", names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		api, _, _ := strings.Cut(name, "/versions/")
		if n := counts(name); n < 0 {
			byName[api].Sessions = -1
		} else {
			byName[api].Sessions += n
		}
	}
	days, err := p.daysOf(r, names)
	for api, day := range days {
		if row := byName[api]; row != nil {
			for _, n := range day {
				row.Messages += n
			}
			row.Day = ui.Spark(day)
		}
	}
	return err
}

// namesOf are the names of versions.
func namesOf(versions []*catalogv1.Version) []string {
	var names []string
	for _, v := range versions {
		names = append(names, v.GetName())
	}
	return names
}

// noAPIs is what the list says when there is nothing in it.
func noAPIs(mayCreate bool) ui.Empty {
	if !mayCreate {
		return ui.Empty{Title: "No API yet", Text: "You publish what others have created. To create APIs yourself you need the role creator, which an administrator gives."}
	}
	return ui.Empty{
		Title: "No API yet", Text: "Put a WebSocket backend behind the gateway: give it a name, an address and the plans it is offered under.",
		Action: &ui.Link{Text: "Create API", To: "/publisher/apis/new"}, Primary: true,
	}
}
