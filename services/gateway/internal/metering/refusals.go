package metering

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// kind is what refusals are bounded by.
type kind struct {
	hour int64 // Unix seconds of its start
	api  string
	code problem.Code
}

// kinds counts, by kind, how many refusals of an hour were kept. Only this hour's and the
// one's before are known: handshakes that began earlier are over.
type kinds struct {
	max int // of a kind; 0: any number

	mu     sync.Mutex
	newest int64
	kept   map[kind]int
}

func newKinds(bound int) *kinds { return &kinds{max: bound, kept: map[kind]int{}} }

// take reports whether one more of a kind is kept.
func (k *kinds) take(of kind) bool {
	if k.max == 0 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if of.hour > k.newest {
		k.newest = of.hour
		for old := range k.kept {
			if old.hour < of.hour-hourSeconds {
				delete(k.kept, old)
			}
		}
	}
	if k.kept[of] >= k.max {
		return false
	}
	k.kept[of]++
	return true
}

const (
	minuteSeconds = 60
	hourSeconds   = 3600
)

// Refused keeps the record of a refusal, or counts it. It implements refusal.Sink. It
// never blocks, and while there are more than are kept it allocates nothing.
func (t *Meter) Refused(f *refusal.Refusal) {
	t.countRefused(f)
	of := kind{hour: hourOf(f.Ref, f.At), code: f.Problem.Code}
	if f.Route != nil {
		of.api = f.Route.API
	}
	if !t.kinds.take(of) {
		t.leftOut.add(leftOutKey(f))
		return
	}
	kept := *f
	kept.Host, kept.Path, kept.UserAgent = t.shown(f.Host), t.shown(f.Path), t.shown(f.UserAgent)
	kept.Problem = &problem.Problem{Status: f.Problem.Status, Code: f.Problem.Code, Detail: t.shown(f.Problem.Full())}
	kept.Err = nil
	if f.Limit != nil {
		kept.Limit = new(*f.Limit)
		kept.Limit.Words = line(f.Limit.Words)
	}
	if displaced, was := t.refusals.add(kept); was {
		t.leftOut.add(leftOutKey(&displaced))
	}
}

// countRefused counts a refusal in the usage of its version, if it led to one.
func (t *Meter) countRefused(f *refusal.Refusal) {
	if f.Route == nil || f.Route.Version == "" || f.Problem.Status < 400 || f.Problem.Status > 599 {
		return
	}
	info := session.Info{Route: f.Route, Grant: f.Grant, Plans: f.Plans}
	k := keyOf(&info, t.cfg.Minute(0))
	if k.application == "" {
		k.application = f.Application
	}
	t.count(k, func(to *row) {
		to.addRefused(f.Problem.Status, 1)
		if l := f.Limit; l.Refused() {
			to.addLimit(keyOfRefusing(l), limitCount{refused: 1})
		}
	})
}

func keyOfRefusing(l *refusal.Limit) limitKey { return limitKey{l.Place, l.Plan, l.Name} }

// shown returns the beginning of a text, which a client may have sent, as users may see
// it. It is a copy: a part of a head would keep the whole head in memory.
func (t *Meter) shown(text string) string {
	if t.cfg.Hide != nil {
		text = t.cfg.Hide(text)
	}
	return line(text)
}

// maxText is the longest text of a record, in characters.
const maxText = 255

// hourOf returns the hour that a ref was made in, in Unix seconds. At is when its record
// was made, for a ref that does not say it.
func hourOf(name string, at time.Time) int64 {
	if hour, ok := ref.Hour(name); ok {
		return hour.Unix()
	}
	return at.Unix() - at.Unix()%hourSeconds
}

// convertRefusal returns the record of a refusal as it is reported.
func (t *Meter) convertRefusal(f *refusal.Refusal) *usagev1.SessionRecord {
	p := f.Problem
	from := session.Info{ClientAddr: f.From}
	out := &usagev1.SessionRecord{
		Name:          resourcename.SessionRecord{Ref: f.Ref}.String(),
		Session:       resourcename.Session{Gateway: t.cfg.Gateway, Ref: f.Ref}.String(),
		ClientAddress: from.ClientAddress(),
		EndTime:       stamp(f.At),
		EndedBy:       usagev1.SessionRecord_Party(p.Code.By()), // the numbers are the same
		EndReason:     usagev1.EndReason(p.Code.Reason()),
		Detail:        p.Detail,
		Status:        uint32(p.Status),
		Code:          p.Code.String(),
		Host:          f.Host,
		Path:          f.Path,
		UserAgent:     f.UserAgent,

		CloseCodeToClient: uint32(f.CloseCode),
	}
	k := leftOutKey(f)
	out.Api, out.Version, out.Application = k.api, k.version, k.application
	if f.Grant != nil {
		out.Subscription, out.Grant, out.ApiKey = f.Grant.Subscription, f.Grant.Name, f.Grant.APIKey
	}
	if f.Plans != nil {
		out.Plan = f.Plans.Plan
	}
	if l := f.Limit; l != nil {
		out.DecidingLimit = &usagev1.DecidingLimit{Place: placeOf(l.Place), Plan: l.Plan, Limit: l.Name, Detail: l.Words}
		if l.Refused() {
			out.Limits = []*usagev1.LimitUsage{convertLimit(keyOfRefusing(l), limitCount{refused: 1})}
		}
	}
	return out
}

// left is what records that are not kept are counted by. A refusal has an API only where
// it has no version.
type left struct {
	hour                      int64
	api, version, application string
	reason                    ending.Reason
	code                      problem.Code
}

func leftOutKey(f *refusal.Refusal) left {
	k := left{hour: hourOf(f.Ref, f.At), application: f.Application, reason: f.Problem.Code.Reason(), code: f.Problem.Code}
	switch r := f.Route; {
	case r == nil:
	case r.Version != "":
		k.version = r.Version
	default:
		k.api = r.API
	}
	return k
}

// leftOut counts the records that were not kept. When there would be too many counts,
// those of an hour, reason and code are added up without saying whose they are; the hours
// that a gateway can wait for the control plane bound those.
type leftOut struct {
	max int

	mu    sync.Mutex
	byKey map[left]uint64
}

func newLeftOut(bound int) *leftOut { return &leftOut{max: bound, byKey: map[left]uint64{}} }

func (l *leftOut) add(k left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.byKey[k]; !known && len(l.byKey) >= l.max {
		k = left{hour: k.hour, reason: k.reason, code: k.code}
	}
	l.byKey[k]++
}

func (l *leftOut) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byKey)
}

// take removes and returns up to n counts.
func (l *leftOut) take(n int) []*backplanev1.LeftOut {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*backplanev1.LeftOut, 0, min(n, len(l.byKey)))
	for k, count := range l.byKey {
		if len(out) == n {
			break
		}
		delete(l.byKey, k)
		out = append(out, &backplanev1.LeftOut{
			Hour: &timestamppb.Timestamp{Seconds: k.hour}, Api: k.api, Version: k.version, Application: k.application,
			EndReason: usagev1.EndReason(k.reason), Code: k.code.String(), Count: count,
		})
	}
	return out
}
