package devportal

import (
	"fmt"
	"slices"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// catalogueView is the list of published versions.
type catalogueView struct {
	Rows  []catalogueRow
	More  string
	Query string
	Empty ui.Empty
}

// catalogueRow is a published version in the list.
type catalogueRow struct {
	API     *catalogv1.Api
	Version *catalogv1.Version
	Path    string
	// Address is one of its addresses, with TLS where one is.
	Address string
	// Plans are the names of those it offers.
	Plans []string
}

// catalogue lists what is published.
func (p *pages) catalogue() ui.Route {
	t := ui.Parse[catalogueView](files, "templates/catalogue.html")
	return ui.Page("/devportal", readers(), t, func(r *ui.Request) (ui.Answer, error) {
		v := catalogueView{Query: r.FormValue("query")}
		list, err := p.Catalog.ListVersions(r.Context(), &catalogv1.ListVersionsRequest{
			Parent: "apis/-", Filter: `state = "PUBLISHED"`, Query: v.Query, OrderBy: "api", PageToken: r.FormValue("page"),
		})
		if err != nil {
			return nil, err
		}
		v.More, v.Empty = r.Next(list.GetNextPageToken()), nothing(v.Query)
		if v.Rows, err = p.rows(r, list.GetVersions()); err != nil {
			return nil, err
		}
		return t.Page(ui.Head{
			Title: "APIs", Sub: "What is published. Choose an API to see its plans and to get a key.",
			Tabs: portalTabs(r, "APIs"), TabsOf: "Developer portal",
		}, v), nil
	})
}

// rows adds the names of APIs and plans to versions, in two calls.
func (p *pages) rows(r *ui.Request, versions []*catalogv1.Version) ([]catalogueRow, error) {
	var apiNames, planNames []string
	add := func(to *[]string, name string) {
		if !slices.Contains(*to, name) {
			*to = append(*to, name)
		}
	}
	for _, v := range versions {
		add(&apiNames, apiOf(v.GetName()))
		for _, plan := range v.GetPlans() {
			add(&planNames, plan)
		}
	}
	if len(versions) == 0 {
		return nil, nil
	}
	got, err := p.Catalog.BatchGetApis(r.Context(), &catalogv1.BatchGetApisRequest{Names: apiNames, AllowMissing: true})
	if err != nil {
		return nil, err
	}
	apis := map[string]*catalogv1.Api{}
	for _, api := range got.GetApis() {
		apis[api.GetName()] = api
	}
	// More than a batch takes cannot be shown in one row each; the first are enough.
	titles, err := p.planTitles(r, planNames[:min(len(planNames), mostNames)])
	if err != nil {
		return nil, err
	}
	var rows []catalogueRow
	for _, v := range versions {
		row := catalogueRow{API: apis[apiOf(v.GetName())], Version: v, Path: versionPath(v.GetName()), Address: snippet.Best(v.GetAddresses())}
		if row.API == nil {
			continue // deleted since
		}
		for _, plan := range v.GetPlans() {
			if title := titles[plan]; title != "" {
				row.Plans = append(row.Plans, title)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// mostNames is how many names one batch takes.
const mostNames = 1000

// nothing is what the list says when there is nothing in it.
func nothing(query string) ui.Empty {
	if query != "" {
		return ui.Empty{
			Title: "Nothing found", Text: fmt.Sprintf("No published API has %q in its name, context or description.", query),
			Action: &ui.Link{Text: "Show all APIs", To: "/devportal"},
		}
	}
	return ui.Empty{Title: "No API is published yet", Text: "An API appears here when its publisher publishes a version of it."}
}
