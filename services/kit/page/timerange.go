package page

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// TimeRange is a half-open range of times, in microseconds since 1970: Start belongs to
// it, End does not. nil restricts nothing.
type TimeRange struct{ Start, End *int64 }

// RangeRequest is what the requests of lists with a time range have in common.
type RangeRequest interface {
	GetStartTime() *timestamppb.Timestamp
	GetEndTime() *timestamppb.Timestamp
}

// NewTimeRange reads the time range of a request, which is open where a time is not set.
// Its error is a fault.
func NewTimeRange(req RangeRequest) (TimeRange, error) {
	var r TimeRange
	for _, bound := range []struct {
		field string
		t     *timestamppb.Timestamp
		to    **int64
	}{{"start_time", req.GetStartTime(), &r.Start}, {"end_time", req.GetEndTime(), &r.End}} {
		if bound.t == nil {
			continue
		}
		if bound.t.CheckValid() != nil {
			return TimeRange{}, fault.Invalid(bound.field, "must be a time of the years 1 to 9999")
		}
		// Rows have microseconds, so a bound between two of them is the later one.
		*bound.to = new(bound.t.AsTime().Add(time.Microsecond - 1).UnixMicro())
	}
	if r.Start != nil && r.End != nil && *r.Start >= *r.End {
		return TimeRange{}, fault.Invalid("end_time", "must be after start_time")
	}
	return r, nil
}
