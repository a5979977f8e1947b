package publisher

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// recordsView is the list of ended sessions and refused handshakes of a version.
type recordsView struct {
	*version
	Filters *ui.Filters
	Rows    []recordRow
	More    string
	Empty   ui.Empty
}

// recordRow is a record in the list, with the address of its page.
type recordRow struct {
	ui.Record
	Path string
}

// records lists what has ended, or leads to the record of a ref.
func (p *pages) records() ui.Route {
	t := ui.Parse[recordsView](files, "templates/records.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/records", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		view := recordsView{version: v, Filters: recordFilters(r)}
		view.Empty = ui.Empty{Title: "No record yet", Text: "A session that has ended, and a handshake that was refused, is recorded here."}
		if view.Filters.Any() {
			view.Empty = ui.Empty{Title: "Nothing found", Text: "No record has all of this.", Action: &ui.Link{Text: "Show all", To: v.Base + "/records"}}
		}
		if ref := ui.RefOf(view.Filters.Get("ref")); ref != "" {
			got, err := p.recordOf(r, v, ref)
			switch {
			case err == nil:
				return ui.Redirect{To: v.recordPath(got)}, nil
			case !fault.Is(err, codes.NotFound):
				return nil, err
			}
			view.Filters.Wrong("ref", status.Convert(err).Message())
		} else if err := p.listRecords(r, &view); err != nil {
			return nil, err
		}
		h := v.head("Records")
		h.Status = view.Filters.Status()
		return t.Page(h, view), nil
	})
}

// listRecords reads the records that the filters leave.
func (p *pages) listRecords(r *ui.Request, view *recordsView) error {
	list, err := p.Usage.ListSessionRecords(r.Context(), &usagev1.ListSessionRecordsRequest{
		Filter: view.and(view.Filters.Terms("refused", "end_reason")), PageToken: r.FormValue("page"),
	})
	if unused(err) != nil {
		return view.Filters.Explain(err)
	}
	for _, one := range list.GetSessionRecords() {
		view.Rows = append(view.Rows, recordRow{ui.NewRecord(one), view.recordPath(one)})
	}
	view.More = r.Next(list.GetNextPageToken())
	return nil
}

// recordFilters restrict the list of records.
func recordFilters(r *ui.Request) *ui.Filters {
	return ui.NewFilters(r,
		ui.Field{Name: "ref", Label: "Ref", Code: true, Placeholder: "finds one record"},
		ui.Field{Name: "refused", Label: "Show", Kind: "select", Options: ui.RecordKinds()},
		ui.Field{Name: "end_reason", Label: "Reason", Kind: "select", Options: ui.EndReasons(), Paths: []string{"filter"}},
	)
}

// recordPath is the address of a record of the version.
func (v *version) recordPath(s *usagev1.SessionRecord) string {
	return v.Base + "/records/" + ui.ID(s.GetName())
}

// recordOf reads the record with a ref, which is one of the version.
func (p *pages) recordOf(r *ui.Request, v *version, ref string) (*usagev1.SessionRecord, error) {
	got, err := p.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref})
	switch {
	case err != nil:
		return nil, ui.Absent(err)
	case got.GetVersion() != v.Version.GetName():
		return nil, fault.NotFound("the version has no record with this ref")
	}
	return got, nil
}

// recordView is one record.
type recordView struct{ Record ui.RecordPage }

// record shows why a session ended or a handshake was refused.
func (p *pages) record() ui.Route {
	t := ui.Parse[recordView](files, "templates/record.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/records/{ref}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		got, err := p.recordOf(r, v, r.PathValue("ref"))
		if err != nil {
			return nil, err
		}
		page, err := p.RecordPage(r, got)
		if err != nil {
			return nil, err
		}
		page.OfVersion = v.Base + "/records"
		if mayDeny(r, v.API) {
			page.Deny = ui.NewDenyRule(denyPath(v.API)+"/new", got.GetClientAddress(), "")
		}
		rule, err := p.DeniedBy(r, got)
		if err != nil {
			return nil, err
		}
		if rule.GetApi() == v.API.GetName() {
			page.DeniedBy = denyRulePath(v.API, rule)
		}
		h := v.below(page.Ref, page.Ref)
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Records", To: v.Base + "/records"})
		h.Badges = []ui.Badge{{Kind: "tag", Text: page.Word}}
		return t.Page(h, recordView{page}), nil
	})
}
