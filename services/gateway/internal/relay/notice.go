package relay

import (
	"math"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// wso2Text is what WSO2 API Manager tells of a dropped message.
const wso2Text = "Error code: 4003 reason: Websocket frame throttled out"

// between is the least time between two error frames that say how many were dropped.
const between = time.Second

// notice is the error frames that are due to the client. They go between two messages.
type notice struct {
	due     int   // error frames, or with JSON the messages that the next one is about
	waits   bool  // for the client's leg to take it
	next    int64 // with JSON: not before
	retryAt int64 // when the limit that dropped last is free
}

// note returns the error frames, which are made for the first that is due.
func (q *limited) note() *notice {
	if q.notice == nil {
		q.notice = &notice{}
	}
	return q.notice
}

// isDue tells whether some are due, and isWaiting whether they wait for the client's leg.
func (n *notice) isDue() bool     { return n != nil && n.due > 0 }
func (n *notice) isWaiting() bool { return n != nil && n.waits }

// add makes an error frame due, for one dropped message. While one waits, there is no
// second one.
func (n *notice) add(template ending.ErrorTemplate, retryAt int64) {
	switch template {
	case ending.NoFrames:
		return
	case ending.JSONFrames:
	default:
		if n.waits {
			return
		}
	}
	n.due, n.retryAt = n.due+1, retryAt
}

// sendNotices sends the error frames that are due, if the client can take them now.
func (r *Relay) sendNotices(now int64) {
	n, l := r.limited.notice, &r.client
	if !n.isDue() {
		return
	}
	asJSON := r.start.frames.Template == ending.JSONFrames
	switch {
	case l.out.state != writing:
		n.due, n.waits = 0, false
		return
	case asJSON && now < n.next:
		r.schedule(n.next)
		return
	case r.limited.midMessage || !l.takesControl():
		if n.waits = true; !asJSON {
			n.due = 1
		}
		return
	}
	due := n.due
	n.due, n.waits = 0, false
	if asJSON {
		n.next = now + int64(between)
		r.sendNotice(r.appendJSON(nil, due, now))
		return
	}
	text := r.start.frames.Text
	if r.start.frames.Template == ending.WSO2Frames {
		text = wso2Text
	}
	c := r.engine.chunks.Get().(*chunk)
	b := c.mem[:0]
	for ; due > 0 && l.takesControl(); due-- {
		if b = frame.AppendText(b, text); due == 1 || len(b)+len(text) > len(c.mem)-headroom {
			r.sendNotice(b)
			b = b[:0]
		}
	}
	r.engine.chunks.Put(c)
}

// tell sends the error frames that are due, if there are any and the client can take them
// now. Behind a close nothing can be told.
func (r *Relay) tell() {
	if q := r.limited; q != nil && q.notice.isDue() {
		r.sendNotices(r.engine.now())
	}
}

// sendNotice sends frames to the client. A leg that does not take all of it is slow, as
// if it did not take data.
func (r *Relay) sendNotice(frames []byte) {
	if err := r.client.conn.Send(frames); err != nil {
		r.writeFailed(&r.client)
	} else if r.client.conn.Pending() {
		r.stall(&r.client, false)
	}
}

// appendJSON appends the error frame that says how many messages were dropped.
func (r *Relay) appendJSON(b []byte, dropped int, now int64) []byte {
	text := strconv.AppendInt([]byte(`{"error":{"code":4003,"reason":"throttled","dropped":`), int64(dropped), 10)
	if at := r.limited.notice.retryAt; at != math.MaxInt64 {
		text = append(text, `,"retryAfterMs":`...)
		text = strconv.AppendInt(text, (max(at-now, 0)+1e6-1)/1e6, 10)
	}
	text = append(text, `,"ref":"`...)
	text = append(text, r.ref...)
	return frame.AppendText(b, string(append(text, `"}}`...)))
}
