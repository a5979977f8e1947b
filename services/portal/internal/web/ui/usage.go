package ui

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TimeSpan is a time that usage is shown for, in steps.
type TimeSpan struct {
	// Name is that in addresses, Text what users read.
	Name, Text string
	// Length is a whole number of Steps.
	Length, Step time.Duration
	// Label is the form of times below a chart.
	Label string
}

// TimeSpans are those that users choose from.
func TimeSpans() []TimeSpan {
	return []TimeSpan{
		{"1h", "1 hour", time.Hour, time.Minute, "15:04"},
		{"24h", "24 hours", 24 * time.Hour, 30 * time.Minute, "15:04"},
		{"7d", "7 days", 7 * 24 * time.Hour, 6 * time.Hour, "2 Jan"},
		{"30d", "30 days", 30 * 24 * time.Hour, 24 * time.Hour, "2 Jan"},
	}
}

// Span returns the time that a request's entry "span" names, else 24 hours; and tabs that
// lead to each, on the page's own address.
func (r *Request) Span() (TimeSpan, []Tab) {
	shown := TimeSpans()[1]
	for _, s := range TimeSpans() {
		if r.FormValue("span") == s.Name {
			shown = s
		}
	}
	var tabs []Tab
	for _, s := range TimeSpans() {
		tabs = append(tabs, Tab{Text: s.Text, To: r.URL.Path + "?span=" + s.Name, Current: s == shown})
	}
	return shown, tabs
}

// Start is when the time begins that ends with the step that goes on now.
func (s TimeSpan) Start(now time.Time) time.Time {
	return now.Add(-s.Length).Truncate(s.Step).Add(s.Step)
}

// Request asks for the usage of the time from its start, in steps.
func (s TimeSpan) Request(filter string, start time.Time) *usagev1.ListUsageRequest {
	return &usagev1.ListUsageRequest{Filter: filter, StartTime: timestamppb.New(start), Step: durationpb.New(s.Step), PageSize: 1000}
}

// Chart draws messages over the time: those of clients first, then those of backends.
func (s TimeSpan) Chart(usage []*usagev1.Usage, start time.Time) (c Chart, sent, received int64) {
	n := int(s.Length / s.Step)
	c = Chart{ID: "messages", Title: "Messages in the last " + s.Text, First: make([]int64, n), Second: make([]int64, n)}
	for i := range n {
		c.Labels = append(c.Labels, start.Add(time.Duration(i)*s.Step).UTC().Format(s.Label))
	}
	for _, u := range usage {
		if i := int(u.GetStartTime().AsTime().Sub(start) / s.Step); i >= 0 && i < n {
			c.First[i], c.Second[i] = int64(u.GetInbound().GetMessages()), int64(u.GetOutbound().GetMessages())
			sent, received = sent+c.First[i], received+c.Second[i]
		}
	}
	c.Desc = fmt.Sprintf("%s from clients and %s from backends, in steps of %s.", Plural(sent, "message"), Plural(received, "message"), Span(s.Step))
	return c, sent, received
}

// UsageRow is usage as tables show it.
type UsageRow struct {
	Sessions, Sent, Received, Bytes, Refused int64
}

// NewUsageRow adds up what the row of usage has.
func NewUsageRow(u *usagev1.Usage) UsageRow {
	row := UsageRow{
		Sessions: int64(u.GetSessions()), Sent: int64(u.GetInbound().GetMessages()), Received: int64(u.GetOutbound().GetMessages()),
		Bytes: int64(u.GetInbound().GetPayloadBytes() + u.GetOutbound().GetPayloadBytes()),
	}
	for _, refused := range u.GetRefusedHandshakes() {
		row.Refused += int64(refused.GetCount())
	}
	return row
}

// File is usage in steps of the time, as CSV. A step without usage has no row. of says in
// the file's name whose usage it is.
func (s TimeSpan) File(of string, usage []*usagev1.Usage) (Answer, error) {
	var out strings.Builder
	w := csv.NewWriter(&out)
	rows := [][]string{{"start_time", "sessions", "messages_from_clients", "messages_from_backends", "payload_bytes", "refused_handshakes"}}
	for _, u := range usage {
		row, cells := NewUsageRow(u), []string{u.GetStartTime().AsTime().UTC().Format(time.RFC3339)}
		for _, n := range []int64{row.Sessions, row.Sent, row.Received, row.Bytes, row.Refused} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		rows = append(rows, cells)
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return File{Name: "usage-" + of + "-" + s.Name + ".csv", Type: "text/csv; charset=utf-8", Body: []byte(out.String())}, nil
}
