package quota

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Resource returns the resource that a row of this package's resources is, nil for any
// other value.
func Resource(row any) proto.Message {
	if use, ok := row.(store.QuotaUse); ok {
		return useProto(use)
	}
	return nil
}

func useProto(q store.QuotaUse) *usagev1.QuotaUse {
	most := q.Amount + q.Added
	use := &usagev1.QuotaUse{
		Name: store.QuotaUseName(q.ID), Place: catalogv1.PlanPlace(q.Key.Place), Version: q.Key.Version, Plan: q.Plan, Limit: q.Limit,
		Unit: catalogv1.Unit(q.Key.Unit), Window: catalogv1.Quota_Window(q.Key.Window),
		StartTime: timestamppb.New(q.Start), ResetTime: timestamppb.New(q.End),
		Amount: most, Added: q.Added, Used: q.Used, Left: max(0, most-q.Used), Overdraft: q.Overdraft, Observe: q.Key.Observe,
		ApiDisplayName: q.Labels.API, VersionString: q.Labels.Version, ApplicationDisplayName: q.Labels.Application, Username: q.Labels.Owner,
	}
	if q.Key.Application != "" {
		use.Application = store.ApplicationName(q.Key.Application)
	}
	return use
}

func eventProto(e store.QuotaEvent) *usagev1.QuotaEvent {
	return &usagev1.QuotaEvent{QuotaUse: useProto(e.QuotaUse), Percent: int32(e.Percent), Time: timestamppb.New(e.At)}
}

// word is how a filter says a number of the API.
type word struct {
	text   string
	number int64
}

// units are what quotas count.
func units() []word {
	return words("UNIT_", catalogv1.Unit_name, int32(catalogv1.Unit_UNIT_MESSAGES), int32(catalogv1.Unit_UNIT_BYTES), int32(catalogv1.Unit_UNIT_SESSIONS))
}

// windows are what quotas are for.
func windows() []word {
	return words("WINDOW_", catalogv1.Quota_Window_name, int32(catalogv1.Quota_WINDOW_MINUTE), int32(catalogv1.Quota_WINDOW_HOUR),
		int32(catalogv1.Quota_WINDOW_DAY), int32(catalogv1.Quota_WINDOW_WEEK), int32(catalogv1.Quota_WINDOW_MONTH))
}

func words(prefix string, names map[int32]string, numbers ...int32) (all []word) {
	for _, n := range numbers {
		all = append(all, word{text: strings.TrimPrefix(names[n], prefix), number: int64(n)})
	}
	return all
}
