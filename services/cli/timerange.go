package cli

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// timeFlags bound a list of what happened.
type timeFlags struct {
	Since string `placeholder:"TIME" help:"Show only what was at this time or later: a time such as 2026-01-31T12:00:00Z (RFC 3339), or how long ago, such as 24h or 7d."`
	Until string `placeholder:"TIME" help:"Show only what was before this time, in the same form."`
}

// times returns the bounds, nil where there is none.
func (f *timeFlags) times() (start, end *timestamppb.Timestamp, err error) {
	now := time.Now()
	if start, err = timeOf("--since", f.Since, now); err != nil {
		return nil, nil, err
	}
	if end, err = timeOf("--until", f.Until, now); err != nil {
		return nil, nil, err
	}
	if start != nil && end != nil && !start.AsTime().Before(end.AsTime()) {
		return nil, nil, usagef("--until: must be after --since")
	}
	return start, end, nil
}

// timeOf reads a time, or a duration before now.
func timeOf(flag, text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	if ago, err := duration(text); err == nil && ago >= 0 {
		return timestamppb.New(now.Add(-ago)), nil
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil {
		return nil, usagef("%s: %q is neither a time such as 2026-01-31T12:00:00Z nor how long ago, such as 24h or 7d", flag, text)
	}
	return timestamppb.New(at), nil
}
