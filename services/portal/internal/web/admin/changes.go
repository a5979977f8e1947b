package admin

import (
	"strconv"
	"strings"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// changesPath is the address of the audit log.
const changesPath = "/admin/changes"

// fewFields is how many fields of a change the list shows; its own page has all.
const fewFields = 5

// changesView is the audit log.
type changesView struct {
	Filters *ui.Filters
	Rows    []changeRow
	More    string
	Empty   ui.Empty
}

// changeRow is a change in the list.
type changeRow struct {
	*changev1.Change
	// Path is that of its page, OfResource lists the changes of the same resource.
	Path, OfResource string
	// Fields are the first of what it changed, Left how many more there are.
	Fields []*changev1.FieldChange
	Left   int
}

// newChangeRow returns a change as pages show it, with at most so many fields.
func newChangeRow(c *changev1.Change, fields int) changeRow {
	_, after, _ := strings.Cut(c.GetName(), "services/")
	row := changeRow{Change: c, Path: changesPath + "/" + strings.Replace(after, "/changes/", "/", 1), OfResource: ui.Filtered(changesPath, "resource", c.GetResource()), Fields: c.GetFieldChanges()}
	if len(row.Fields) > fields {
		row.Fields, row.Left = row.Fields[:fields], len(row.Fields)-fields
	}
	return row
}

// Service is the one that has the change.
func (c changeRow) Service() string {
	_, after, _ := strings.Cut(c.GetName(), "services/")
	service, _, _ := strings.Cut(after, "/")
	return service
}

// changes lists who changed what.
func (p *pages) changes() ui.Route {
	t := ui.Parse[changesView](files, "templates/changes.html")
	return ui.Page(changesPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := changesView{Filters: changeFilters(r)}
		v.Empty = ui.Empty{Title: "No change found", Text: "No change has all of this.", Action: &ui.Link{Text: "Show all changes", To: changesPath}}
		if err := p.listChanges(r, &v); err != nil {
			return nil, err
		}
		h := head("Changes", "Changes", "The audit log: who changed what, newest first. Times are in UTC.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// changeFilters restrict the audit log.
func changeFilters(r *ui.Request) *ui.Filters {
	return ui.NewFilters(r,
		ui.Field{Name: "actor_display_name", Label: "Who", Placeholder: "username or service"},
		ui.Field{Name: "action", Label: "Action", Code: true, Placeholder: "PublishVersion"},
		ui.Field{Name: "resource_display_name", Label: "What", Placeholder: "Ferry/1.0.0"},
		ui.Field{Name: "resource", Label: "Resource", Code: true, Placeholder: "apis/…"},
		ui.Field{Name: "service", Label: "Service", Kind: "select", Options: []ui.Option{{Value: "", Text: "All"}, {Value: "catalog", Text: "catalog"}, {Value: "subscription", Text: "subscription"}}},
		ui.Field{Name: "start_time", Label: "From (UTC)", Kind: "datetime-local", Paths: []string{"start_time"}},
		ui.Field{Name: "end_time", Label: "Until (UTC)", Kind: "datetime-local", Paths: []string{"end_time"}},
	)
}

// listChanges reads the changes that the filters leave. What is wrong with the filters is
// said there.
func (p *pages) listChanges(r *ui.Request, v *changesView) error {
	req := &changev1.ListChangesRequest{
		Parent: "services/-", Filter: v.Filters.Terms("actor_display_name", "action", "resource_display_name", "resource"),
		StartTime: v.Filters.Time("start_time"), EndTime: v.Filters.Time("end_time"), PageToken: r.FormValue("page"),
	}
	if s := v.Filters.Get("service"); s != "" {
		req.Parent = "services/" + s
	}
	if !v.Filters.Good() {
		return nil
	}
	list, err := p.Changes.ListChanges(r.Context(), req)
	if err != nil {
		return v.Filters.Explain(err)
	}
	v.More = r.Next(list.GetNextPageToken())
	for _, c := range list.GetChanges() {
		v.Rows = append(v.Rows, newChangeRow(c, fewFields))
	}
	return nil
}

// change shows a change with all that it changed.
func (p *pages) change() ui.Route {
	t := ui.Parse[changeRow](files, "templates/change.html")
	return ui.Page(changesPath+"/{service}/{number}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		c, err := p.Changes.GetChange(r.Context(), &changev1.GetChangeRequest{Name: "services/" + r.PathValue("service") + "/changes/" + r.PathValue("number")})
		if err != nil {
			return nil, ui.Absent(err)
		}
		row := newChangeRow(c, len(c.GetFieldChanges()))
		return t.Page(ui.Head{
			Title: c.GetAction(), Sub: c.GetResourceDisplayName(), Here: row.Service() + " " + strconv.FormatUint(c.GetChangeNumber(), 10),
			Crumbs: []ui.Link{{Text: "Changes", To: changesPath}},
		}, row), nil
	})
}
