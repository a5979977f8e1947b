package admin

import (
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
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
	*usagev1.SessionRecord
	Path, Reason string
	// API is what users call the API and its version, or the path that led to none.
	API string
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
		if ref := refOf(v.Filters.Get("ref")); ref != "" {
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

// refOf returns the ref of what was pasted: a ref, the name of a record, or a close reason.
func refOf(text string) string {
	if _, after, ok := strings.Cut(text, "ref="); ok {
		text, _, _ = strings.Cut(after, " ")
	}
	return strings.TrimPrefix(text, "sessionRecords/")
}

// recordFilters restrict the list of records.
func recordFilters(r *ui.Request) *ui.Filters {
	reasons := []ui.Option{{Value: "", Text: "All"}}
	values := usagev1.EndReason(0).Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			word := strings.TrimPrefix(string(v.Name()), "END_REASON_")
			reasons = append(reasons, ui.Option{Value: word, Text: word})
		}
	}
	return ui.NewFilters(r,
		ui.Field{Name: "ref", Label: "Ref", Code: true, Placeholder: "finds one record"},
		ui.Field{Name: "refused", Label: "Kind", Kind: "select", Options: []ui.Option{{Value: "", Text: "All"}, {Value: "false", Text: "Sessions"}, {Value: "true", Text: "Refused handshakes"}}},
		ui.Field{Name: "end_reason", Label: "End reason", Kind: "select", Options: reasons},
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
		v.Rows = append(v.Rows, recordRow{SessionRecord: one, Path: recordPath(one.GetName()), Reason: reason(one), API: apiOf(one)})
	}
	return nil
}

// reason says why a session ended, or by its code why a handshake was refused.
func reason(r *usagev1.SessionRecord) string {
	if r.GetCode() != "" {
		return r.GetCode()
	}
	return strings.TrimPrefix(r.GetEndReason().String(), "END_REASON_")
}

// apiOf says what a record is of.
func apiOf(r *usagev1.SessionRecord) string {
	if r.GetApiDisplayName() == "" {
		return r.GetPath()
	}
	return strings.TrimSpace(r.GetApiDisplayName() + " " + r.GetVersionString())
}

// recordView is one record.
type recordView struct {
	*usagev1.SessionRecord
	Reason, API string
	// Facts are what is set besides.
	Facts []fact
	// OfVersion and OfApplication list the records of the same.
	OfVersion, OfApplication string
	// Decided says which limit decided, where one did.
	Decided string
	Limits  []limitRow
}

// fact is a value with its name.
type fact struct{ Name, Value string }

// limitRow is what a limit did to a session.
type limitRow struct {
	*usagev1.LimitUsage
	Plan, Place string
}

// record shows a record.
func (p *pages) record() ui.Route {
	t := ui.Parse[recordView](files, "templates/record.html")
	return ui.Page(recordsPath+"/{ref}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		got, err := p.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + r.PathValue("ref")})
		if err != nil {
			return nil, absent(err)
		}
		plans, err := p.planNames(r, got)
		if err != nil {
			return nil, err
		}
		v := recordView{
			SessionRecord: got, Reason: reason(got), API: apiOf(got), Facts: facts(got, plans),
			OfVersion: ui.Filtered(recordsPath, "version", got.GetVersion()), OfApplication: ui.Filtered(recordsPath, "application", got.GetApplication()),
		}
		if l := got.GetDecidingLimit(); l != nil {
			v.Decided = strings.TrimSuffix(strings.Join([]string{l.GetLimit() + " of the plan " + plans[l.GetPlan()] + " of the " + placeWord(l.GetPlace()), l.GetDetail()}, ": "), ": ")
		}
		for _, l := range got.GetLimits() {
			v.Limits = append(v.Limits, limitRow{LimitUsage: l, Plan: plans[l.GetPlan()], Place: placeWord(l.GetPlace())})
		}
		return t.Page(ui.Head{
			Title: ui.ID(got.GetName()), Sub: apiOf(got), Badges: []ui.Badge{{Kind: "tag", Text: v.Reason}},
			Crumbs: []ui.Link{{Text: "Session records", To: recordsPath}},
		}, v), nil
	})
}

// placeWord says what a plan was given to.
func placeWord(p catalogv1.PlanPlace) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PLAN_PLACE_"))
}

// planNames returns what users call the plans of a record, by their names. A plan that is
// not there any more is called by its name.
func (p *pages) planNames(r *ui.Request, of *usagev1.SessionRecord) (map[string]string, error) {
	all := []string{of.GetPlan(), of.GetDecidingLimit().GetPlan()}
	for _, l := range of.GetLimits() {
		all = append(all, l.GetPlan())
	}
	names := map[string]string{}
	var ask []string
	for _, name := range once(all) {
		if name != "" {
			names[name], ask = name, append(ask, name)
		}
	}
	if len(ask) == 0 {
		return names, nil
	}
	got, err := p.Catalog.BatchGetPlans(r.Context(), &catalogv1.BatchGetPlansRequest{Names: ask, AllowMissing: true})
	if err != nil && !away(err) {
		return nil, err
	}
	for _, plan := range got.GetPlans() {
		names[plan.GetName()] = plan.GetDisplayName()
	}
	return names, nil
}

// facts are what is set in a record besides what it is of.
func facts(r *usagev1.SessionRecord, plans map[string]string) []fact {
	number := func(n uint32) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(uint64(n), 10)
	}
	all := []fact{
		{"Detail", r.GetDetail()}, {"Ended by", strings.ToLower(strings.TrimPrefix(r.GetEndedBy().String(), "PARTY_"))},
		{"HTTP status", number(r.GetStatus())}, {"Host", r.GetHost()}, {"Path", r.GetPath()}, {"User-Agent", r.GetUserAgent()},
		{"Close code from the client", number(r.GetCloseCodeFromClient())}, {"Close code to the client", number(r.GetCloseCodeToClient())},
		{"Close code from the backend", number(r.GetCloseCodeFromBackend())}, {"Close code to the backend", number(r.GetCloseCodeToBackend())},
		{"Client", r.GetClientAddress()}, {"Owner of the application", r.GetUsername()}, {"Plan", plans[r.GetPlan()]},
		{"Session", r.GetSession()}, {"Subscription", r.GetSubscription()},
	}
	if r.GetTruncated() {
		all = append(all, fact{"Truncated", "in the middle of a frame"})
	}
	if n := r.GetLeftOut(); n > 0 {
		all = append(all, fact{"Later records left out", strconv.FormatInt(n, 10)})
	}
	var set []fact
	for _, f := range all {
		if f.Value != "" && f.Value != "unspecified" {
			set = append(set, f)
		}
	}
	return set
}
