package store

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Limit is a bound of a plan. Its enums are those of the proto, without their prefixes.
type Limit struct {
	Name string `json:"name"`
	// Kind is one of the kinds below.
	Kind string `json:"kind"`
	// Unit is what a rate or a quota counts.
	Unit string `json:"unit,omitempty"`
	// Amount is how much of a rate or quota, how many connections, how many bytes of a
	// message, or the nanoseconds of an age.
	Amount int64 `json:"amount"`

	// Of rates.
	Per           time.Duration `json:"per,omitempty"` // nanoseconds, as is LongestPause
	Burst         int64         `json:"burst,omitempty"`
	Direction     string        `json:"direction,omitempty"`
	PerConnection bool          `json:"per_connection,omitempty"`
	LongestPause  time.Duration `json:"longest_pause,omitempty"`

	// Of quotas.
	Window   string `json:"window,omitempty"`
	OnOutage string `json:"on_outage,omitempty"`

	Reaction string `json:"reaction"`
	Observe  bool   `json:"observe,omitempty"`
}

// Kinds of limits.
const (
	KindRate        = "rate"
	KindQuota       = "quota"
	KindConnections = "connections"
	KindMessageSize = "message_size"
	KindSessionAge  = "session_age"
)

// Prefixes of the enums of limits.
const (
	UnitPrefix      = "UNIT_"
	DirectionPrefix = "DIRECTION_"
	WindowPrefix    = "WINDOW_"
	OutagePrefix    = "OUTAGE_"
	ReactionPrefix  = "REACTION_"
)

// Message returns the limit as the API and routes have it.
func (l Limit) Message() *catalogv1.Limit {
	m := &catalogv1.Limit{
		Name:     l.Name,
		Reaction: catalogv1.Limit_Reaction(catalogv1.Limit_Reaction_value[ReactionPrefix+l.Reaction]),
		Observe:  l.Observe,
	}
	unit := catalogv1.Unit(catalogv1.Unit_value[UnitPrefix+l.Unit])
	switch l.Kind {
	case KindRate:
		r := &catalogv1.Rate{
			Unit: unit, Amount: l.Amount, Per: durationpb.New(l.Per), Burst: l.Burst,
			Direction:     catalogv1.Direction(catalogv1.Direction_value[DirectionPrefix+l.Direction]),
			PerConnection: l.PerConnection,
		}
		if l.LongestPause != 0 {
			r.LongestPause = durationpb.New(l.LongestPause)
		}
		m.Kind = &catalogv1.Limit_Rate{Rate: r}
	case KindQuota:
		m.Kind = &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
			Unit: unit, Amount: l.Amount,
			Window:   catalogv1.Quota_Window(catalogv1.Quota_Window_value[WindowPrefix+l.Window]),
			OnOutage: catalogv1.Quota_Outage(catalogv1.Quota_Outage_value[OutagePrefix+l.OnOutage]),
		}}
	case KindConnections:
		m.Kind = &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: int32(l.Amount)}}
	case KindMessageSize:
		m.Kind = &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: l.Amount}}
	case KindSessionAge:
		m.Kind = &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(time.Duration(l.Amount))}}
	}
	return m
}
