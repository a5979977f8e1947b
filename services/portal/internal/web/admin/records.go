package admin

import (
	"net/url"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// recordsPath is the address of the list of session records.
const recordsPath = "/admin/records"

// recordPath is the address of a record, sessionRecords/{ref}.
func recordPath(name string) string { return recordsPath + "/" + url.PathEscape(ui.ID(name)) }

// recordsView is the list of session records.
type recordsView struct {
	Filters *ui.Filters
	Rows    []recordRow
	More    string
	Empty   ui.Empty
}

// recordRow is a session record in the list.
type recordRow struct {
	ui.Record
	Path string
}

// records lists ended sessions and refused handshakes, or leads to the one of a ref.
func (p *pages) records() ui.Route {
	t := ui.Parse[recordsView](files, "templates/records.html")
	return ui.Page(recordsPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := recordsView{Filters: recordFilters(r)}
		v.Empty = ui.Empty{Title: "No record", Text: "A record is there a few seconds after a session has ended or a handshake was refused."}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No record found", Text: "No record has all of this.", Action: &ui.Link{Text: "Show all records", To: recordsPath}}
		}
		if ref := ui.RefOf(v.Filters.Get("ref")); ref != "" {
			got, err := p.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref})
			switch {
			case err == nil:
				return ui.Redirect{To: recordPath(got.GetName())}, nil
			case fault.Is(err, codes.InvalidArgument):
				v.Filters.Wrong("ref", "that is no ref: it is in the close reason, or in the answer to the handshake")
			case fault.Is(err, codes.NotFound):
				v.Filters.Wrong("ref", status.Convert(err).Message())
			default:
				return nil, err
			}
		} else if err := p.listRecords(r, &v); err != nil {
			return nil, err
		}
		h := head("Records", "Session records", "How sessions ended, and why handshakes were refused, newest first. Times are in UTC.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// recordFilters restrict the list of records.
func recordFilters(r *ui.Request) *ui.Filters {
	return ui.NewFilters(r,
		ui.Field{Name: "ref", Label: "Ref", Code: true, Placeholder: "finds one record"},
		ui.Field{Name: "refused", Label: "Kind", Kind: "select", Options: ui.RecordKinds()},
		ui.Field{Name: "end_reason", Label: "End reason", Kind: "select", Options: ui.EndReasons()},
		ui.Field{Name: "code", Label: "Code of the refusal", Code: true, Placeholder: "NOT_SUBSCRIBED"},
		ui.Field{Name: "version", Label: "Version", Code: true, Placeholder: "apis/…/versions/…"},
		ui.Field{Name: "application", Label: "Application", Code: true, Placeholder: "applications/…"},
		ui.Field{Name: "start_time", Label: "From (UTC)", Kind: "datetime-local", Paths: []string{"start_time"}},
		ui.Field{Name: "end_time", Label: "Until (UTC)", Kind: "datetime-local", Paths: []string{"end_time"}},
	)
}

// listRecords reads the records that the filters leave. What is wrong with the filters is
// said there.
func (p *pages) listRecords(r *ui.Request, v *recordsView) error {
	req := &usagev1.ListSessionRecordsRequest{
		Filter:    v.Filters.Terms("version", "application", "end_reason", "code", "refused"),
		StartTime: v.Filters.Time("start_time"), EndTime: v.Filters.Time("end_time"), PageToken: r.FormValue("page"),
	}
	if !v.Filters.Good() {
		return nil
	}
	list, err := p.Usage.ListSessionRecords(r.Context(), req)
	switch {
	case fault.Is(err, codes.NotFound):
		return nil // there never was what the filter names
	case err != nil:
		return v.Filters.Explain(err)
	}
	v.More = r.Next(list.GetNextPageToken())
	for _, one := range list.GetSessionRecords() {
		v.Rows = append(v.Rows, recordRow{ui.NewRecord(one), recordPath(one.GetName())})
	}
	return nil
}

// recordView is one record.
type recordView struct{ Record ui.RecordPage }

// record shows a record.
func (p *pages) record() ui.Route {
	t := ui.Parse[recordView](files, "templates/record.html")
	return ui.Page(recordsPath+"/{ref}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		got, err := p.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + r.PathValue("ref")})
		if err != nil {
			return nil, ui.Absent(err)
		}
		page, err := p.RecordPage(r, got)
		if err != nil {
			return nil, err
		}
		page.OfVersion, page.OfApplication = ui.Filtered(recordsPath, "version", got.GetVersion()), ui.Filtered(recordsPath, "application", got.GetApplication())
		page.Deny = ui.NewDenyRule(newDenyPath, got.GetClientAddress(), "")
		rule, err := p.DeniedBy(r, got)
		if err != nil {
			return nil, err
		}
		if rule != nil {
			page.DeniedBy = denyRulePath(rule.GetName())
		}
		return t.Page(ui.Head{
			Title: page.Ref, Sub: page.API, Badges: []ui.Badge{{Kind: "tag", Text: page.Word}},
			Crumbs: []ui.Link{{Text: "Session records", To: recordsPath}},
		}, recordView{page}), nil
	})
}
