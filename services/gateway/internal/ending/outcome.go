package ending

import (
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Terms are what a session runs on: when it ends by itself, and who is told of its end.
type Terms struct {
	Ref      string        // in each close that the gateway originates
	Expires  time.Time     // ends the session as EXPIRED; needs a monotonic reading; zero: never
	MaxAge   time.Duration // ends the session as MAX_AGE, up to a tenth sooner; 0: never
	Retry    time.Duration // the hint of that end
	Idle     time.Duration // without a message, ends the session as IDLE; 0: as long as the transport allows
	Ended    *Ending       // set: the session has ended already, and only its closes are sent
	Observer Observer

	Limits Limits
	Frames ErrorFrames
	// Endings are what the version says that its clients get; nil: by default.
	Endings ClientEndings
}

// ClientEndings say what clients get when their sessions end for some reasons. They are not
// changed.
type ClientEndings map[Reason]ClientEnding

// ClientEnding is what a client gets at an end.
type ClientEnding struct {
	Code uint16 // 0: that by default
	Text string // of a message before the close, a template; "": none
}

// Apply returns an ending with the close code that the version says, if the client gets a
// close of ours.
func (c ClientEndings) Apply(e Ending) Ending {
	if own := c[e.Reason]; own.Code != 0 && e.ClientCode != 0 {
		e.ClientCode = own.Code
	}
	return e
}

// Text returns the text message that goes before the close of an ending, "" for none.
func (c ClientEndings) Text(e Ending, ref string) string {
	own := c[e.Reason]
	if own.Text == "" || e.ClientCode == 0 {
		return ""
	}
	return strings.NewReplacer(
		"{word}", e.Reason.String(), "{code}", strconv.Itoa(int(e.ClientCode)), "{ref}", ref, "{retry_ms}", strconv.FormatInt(e.Retry.Milliseconds(), 10),
	).Replace(own.Text)
}

// Limits are what plans let a session do. They change while it lives.
type Limits struct {
	Chain      *limits.Chain // that each message must pass; nil: all pass
	MaxMessage int64         // the greatest message in bytes; 0: that of the transport
	MaxAge     time.Duration // from the start on; 0: that of the terms
}

// ErrorFrames say what the client is told when a message is dropped.
type ErrorFrames struct {
	Template ErrorTemplate
	Text     string // with TextFrames
}

// ErrorTemplate is what error frames are.
type ErrorTemplate uint8

// The templates, as catalog.v1.ErrorFrames has them.
const (
	NoFrames ErrorTemplate = iota
	JSONFrames
	WSO2Frames
	TextFrames
)

// Observer is told of the end of a session, once, by a goroutine that serves all
// sessions or by its own. It must not block.
type Observer interface {
	Ended(Outcome)
}

// Outcome is how a session ended.
type Outcome struct {
	Ending         Ending // who ended it first, and why
	Client         LegEnd
	Backend        LegEnd
	Started, Ended time.Time
	Minute         int64 // of the end: Unix seconds of its start, by the clock of quotas
	Totals         Totals
	Uncollected    []Usage      // the part of Totals and Limits that was not collected while the session lived
	Limits         []LimitCount // what limits did to the session
}

// EndedBy says which limit ended the session, where who ended it did not know.
func (o *Outcome) EndedBy(l *limits.Limit) {
	did := []LimitCount{{Limit: l, Closed: 1}}
	o.Ending.Limit = l
	o.Ending.Detail = strings.TrimPrefix(o.Ending.Detail+", by "+l.Place.Limit(), ", ")
	o.Limits = AddLimits(o.Limits, did)
	o.Uncollected = append(o.Uncollected, Usage{Minute: o.Minute, Limits: did})
}

// LegEnd is how a session's leg ended. The codes are those of close frames: 0 is no
// frame, 1005 one without a code.
type LegEnd struct {
	Sent, Received uint16
	CutMidFrame    bool      // closed inside a frame that it was being sent
	Last           time.Time // when the last data frame came from it; zero: never
}
