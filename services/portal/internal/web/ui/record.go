package ui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// Record is the record of an ended session or of a refused handshake, as pages show it.
type Record struct {
	*usagev1.SessionRecord
	// Ref is that which the client was shown.
	Ref string
	// Why says why it ended or was refused, and Word is the word for that in close
	// reasons, answers and filters. By is who did it.
	Why, Word, By string
	// API is what users call the API and its version, or the path that led to none.
	API string
	// Status is the close code that the client got, or the status of the answer; 0 for
	// none.
	Status int64
	// Lasted is how long the session lived, empty for a refused handshake.
	Lasted string
}

// NewRecord returns a record as lists show it.
func NewRecord(s *usagev1.SessionRecord) Record {
	r := Record{
		SessionRecord: s, Ref: ID(s.GetName()), Why: EndWords(s.GetEndReason()), Word: strings.TrimPrefix(s.GetEndReason().String(), "END_REASON_"),
		By: Word(s.GetEndedBy(), "PARTY_"), API: strings.TrimSpace(s.GetApiDisplayName() + " " + s.GetVersionString()), Status: int64(s.GetCloseCodeToClient()),
	}
	if s.GetApiDisplayName() == "" {
		r.API = s.GetPath()
	}
	if s.GetCode() != "" {
		r.Word = s.GetCode()
	}
	if s.GetStatus() != 0 {
		r.Status = int64(s.GetStatus())
	}
	if s.GetStartTime() != nil {
		r.Lasted = Age(s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime()))
	}
	return r
}

// Word is the name of an enum's value in words, without its prefix.
func Word(value interface{ String() string }, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(value.String(), prefix), "_", " "))
}

// EndReasons are what a filter by the reason can be, all first.
func EndReasons() []Option {
	all := []Option{{Value: "", Text: "All"}}
	values := usagev1.EndReason(0).Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			word := strings.TrimPrefix(string(v.Name()), "END_REASON_")
			all = append(all, Option{Value: word, Text: word})
		}
	}
	return all
}

// RecordKinds are what a filter by refused can be.
func RecordKinds() []Option {
	return []Option{{Value: "", Text: "All"}, {Value: "false", Text: "Sessions"}, {Value: "true", Text: "Refused handshakes"}}
}

// RefOf returns the ref of what was pasted: a ref, the name of a record, or a close reason.
func RefOf(text string) string {
	if _, after, ok := strings.Cut(text, "ref="); ok {
		text, _, _ = strings.Cut(after, " ")
	}
	return strings.TrimPrefix(text, "sessionRecords/")
}

// RecordPage is all of one record: what the component "record" takes.
type RecordPage struct {
	Record
	// Facts are what is set besides.
	Facts []Fact
	// OfVersion and OfApplication lead to more of the same, or are empty.
	OfVersion, OfApplication string
	// Deny leads to the form of a deny rule for its client, or is empty.
	Deny string
	// DeniedBy leads to the deny rule that caused it, or is empty.
	DeniedBy string
	// Decided says which limit decided, where one did.
	Decided string
	Limits  []LimitRow
}

// Fact is a value with its name.
type Fact struct{ Name, Value string }

// LimitRow is what a limit did.
type LimitRow struct {
	*usagev1.LimitUsage
	// Plan is what users call the plan, Place what it was given to.
	Plan, Place string
}

// RecordPage returns all of a record. It makes one call, where a plan has a part in it.
func (s *Services) RecordPage(r *Request, of *usagev1.SessionRecord) (RecordPage, error) {
	names := []string{of.GetPlan(), of.GetDecidingLimit().GetPlan()}
	for _, l := range of.GetLimits() {
		names = append(names, l.GetPlan())
	}
	plans, err := s.PlanNames(r, names...)
	if err != nil {
		return RecordPage{}, err
	}
	page := RecordPage{Record: NewRecord(of), Facts: facts(of, plans), Limits: LimitRows(of.GetLimits(), plans)}
	if l := of.GetDecidingLimit(); l != nil {
		page.Decided = strings.TrimSuffix(strings.Join([]string{l.GetLimit() + " of the plan " + plans[l.GetPlan()] + " of the " + Word(l.GetPlace(), "PLAN_PLACE_"), l.GetDetail()}, ": "), ": ")
	}
	return page, nil
}

// LimitRows are what limits did, with what users call the plans.
func LimitRows(limits []*usagev1.LimitUsage, plans map[string]string) []LimitRow {
	var rows []LimitRow
	for _, l := range limits {
		rows = append(rows, LimitRow{LimitUsage: l, Plan: plans[l.GetPlan()], Place: Word(l.GetPlace(), "PLAN_PLACE_")})
	}
	return rows
}

// PlanNames returns what users call plans, by their names, in one call. A plan that is not
// there any more, or cannot be asked about now, is called by its name.
func (s *Services) PlanNames(r *Request, names ...string) (map[string]string, error) {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	called := map[string]string{}
	if len(names) == 0 {
		return called, nil
	}
	for _, name := range names {
		called[name] = name
	}
	got, err := s.Catalog.BatchGetPlans(r.Context(), &catalogv1.BatchGetPlansRequest{Names: names, AllowMissing: true})
	if err != nil && !Away(err) {
		return nil, err
	}
	for _, plan := range got.GetPlans() {
		called[plan.GetName()] = plan.GetDisplayName()
	}
	return called, nil
}

// Renewals says how often the credential of a live session, or of one that has a record, was
// renewed, and when last; empty for never.
func Renewals(of interface {
	GetRenewals() int32
	GetRenewTime() *timestamppb.Timestamp
}) string {
	switch n := of.GetRenewals(); n {
	case 0:
		return ""
	case 1:
		return "once, at " + Date(of.GetRenewTime())
	default:
		return fmt.Sprintf("%d times, last at %s", n, Date(of.GetRenewTime()))
	}
}

// facts are what is set in a record besides what it is of.
func facts(r *usagev1.SessionRecord, plans map[string]string) []Fact {
	number := func(n uint32) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(uint64(n), 10)
	}
	by := Word(r.GetEndedBy(), "PARTY_")
	if by == "unspecified" {
		by = ""
	}
	all := []Fact{
		{"Detail", r.GetDetail()}, {"Ended by", by},
		{"HTTP status", number(r.GetStatus())}, {"Host", r.GetHost()}, {"Path", r.GetPath()}, {"User-Agent", r.GetUserAgent()},
		{"Close code from the client", number(r.GetCloseCodeFromClient())}, {"Close code to the client", number(r.GetCloseCodeToClient())},
		{"Close code from the backend", number(r.GetCloseCodeFromBackend())}, {"Close code to the backend", number(r.GetCloseCodeToBackend())},
		{"Client", r.GetClientAddress()}, {"Owner of the application", r.GetUsername()}, {"Plan", plans[r.GetPlan()]},
		{"Session", r.GetSession()}, {"Subscription", r.GetSubscription()}, {"API key", r.GetApiKey()}, {"Grant", r.GetGrant()}, {"Credential renewed", Renewals(r)},
	}
	if r.GetTruncated() {
		all = append(all, Fact{"Truncated", "in the middle of a frame"})
	}
	if n := r.GetLeftOut(); n > 0 {
		all = append(all, Fact{"Later records left out", strconv.FormatInt(n, 10)})
	}
	return slices.DeleteFunc(all, func(f Fact) bool { return f.Value == "" })
}
