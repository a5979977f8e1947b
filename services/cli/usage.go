package cli

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// usageCmd shows usage.
type usageCmd struct {
	App string `placeholder:"APP" help:"Show only that of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Show only that of this version, such as EchoWebSocket/1.0.0."`

	timeFlags `embed:""`
}

// Run lists the usage. It is by the hour, so the hour that --since falls in is shown
// whole.
func (c *usageCmd) Run(ctx context.Context, s *shell) error {
	start, end, err := c.times()
	if err != nil {
		return err
	}
	if start != nil {
		start = timestamppb.New(start.AsTime().Truncate(time.Hour))
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.pastFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	list := &usagev1.ListUsageResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.usage.ListUsage(ctx, &usagev1.ListUsageRequest{
			Filter: only, StartTime: start, EndTime: end, PageSize: pageSize, PageToken: token,
		})
		list.Usage = append(list.Usage, page.GetUsage()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	for _, u := range list.GetUsage() {
		label.learn(u)
		rows = append(rows, []string{
			when(u.GetStartTime()), label.version(ctx, u.GetVersion()), label.application(ctx, u.GetApplication()),
			strconv.FormatUint(u.GetSessions(), 10), amount(u.GetInbound()), amount(u.GetOutbound()),
		})
	}
	return s.printTable([]string{"HOUR", "VERSION", "APPLICATION", "SESSIONS", "IN", "OUT"}, rows)
}
