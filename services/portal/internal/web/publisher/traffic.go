package publisher

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// traffic is what passed in the last 24 hours, and how that compares with the day before.
type traffic struct {
	Chart ui.Chart
	// Messages are those of the 24 hours, Before those of the 24 before.
	Messages, Before int64
}

// Trend says how the messages of the day compare with those of the day before.
func (t traffic) Trend() string {
	switch {
	case t.Before == 0 && t.Messages == 0:
		return "nothing on either day"
	case t.Before == 0:
		return "nothing on the day before"
	}
	percent := (t.Messages - t.Before) * 100 / t.Before
	switch {
	case percent > 0:
		return fmt.Sprintf("%s %% more than on the day before", ui.Number(percent))
	case percent < 0:
		return fmt.Sprintf("%s %% less than on the day before", ui.Number(-percent))
	}
	return "as many as on the day before"
}

// day is the time that overviews show.
func day() ui.TimeSpan {
	return ui.TimeSpan{Name: "24h", Text: "24 hours", Length: 24 * time.Hour, Step: time.Hour, Label: "15:04"}
}

// traffic returns what passed through a version in the last 24 hours.
func (p *pages) traffic(r *ui.Request, v *version) (traffic, error) {
	span := day()
	start := span.Start(time.Now())
	list, err := p.Usage.ListUsage(r.Context(), span.Request(v.and(""), start.Add(-span.Length)))
	if err := unused(err); err != nil {
		return traffic{}, err
	}
	var t traffic
	var sent, received int64
	t.Chart, sent, received = span.Chart(list.GetUsage(), start)
	_, sentBefore, receivedBefore := span.Chart(list.GetUsage(), start.Add(-span.Length))
	t.Messages, t.Before = sent+received, sentBefore+receivedBefore
	return t, nil
}

// The list of APIs shows the traffic of a day in steps.
const (
	listStep        = 3 * time.Hour
	stepsOfList     = int(24 * time.Hour / listStep)
	mostRowsOfUsage = 1000
)

// daysOf returns the messages of the last 24 hours in steps, by the names of APIs. versions
// are those of these APIs, at most mostVersions.
func (p *pages) daysOf(r *ui.Request, versions []string) (map[string][]int64, error) {
	days := map[string][]int64{}
	if len(versions) == 0 {
		return days, nil
	}
	start := time.Now().Add(-24 * time.Hour).Truncate(listStep).Add(listStep)
	list, err := p.Usage.ListUsage(r.Context(), &usagev1.ListUsageRequest{
		StartTime: timestamppb.New(start), Step: durationpb.New(listStep), GroupBy: []string{"api"}, Versions: versions, PageSize: mostRowsOfUsage,
	})
	if err != nil {
		return nil, unused(err)
	}
	for _, u := range list.GetUsage() {
		if days[u.GetApi()] == nil {
			days[u.GetApi()] = make([]int64, stepsOfList)
		}
		if i := int(u.GetStartTime().AsTime().Sub(start) / listStep); i >= 0 && i < stepsOfList {
			days[u.GetApi()][i] += int64(u.GetInbound().GetMessages() + u.GetOutbound().GetMessages())
		}
	}
	return days, nil
}
