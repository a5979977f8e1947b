package relay

import "github.com/tidegatehq/tidegate/services/gateway/internal/ending"

// admission decides whether what a session's peers send goes on. It is where limits
// and policies enter: docs/architecture.md says how. It is asked with the session's
// mutex held, must not wait, and must keep nothing that it is given.
//
// A session without one, which is every session so far, lets everything pass.
type admission interface {
	// admit is asked once for the data frames that a read brought from a peer, up to a
	// control frame between them, before any of them goes on: how many messages begin
	// in it, their frames and bytes. It returns nil to let it pass, or the ending of
	// the session: then nothing of it goes on.
	admit(from ending.Party, n *ending.Count) *ending.Ending

	// inspect is shown messages that are complete, each in one frame as it came, one
	// after the other. Messages that came in several frames or reads are not whole
	// here: a policy that must see these, too, needs the reader to hold them until
	// they are. It answers as admit does, before which it is asked.
	inspect(from ending.Party, messages []byte) *ending.Ending
}

// admit asks the session's admission about c.out.
func (r *Relay) admit(c *chunk, src *leg) {
	refused := r.admission.admit(src.party(), &c.count)
	if refused == nil {
		return
	}
	c.out, c.count, c.control.Size = nil, ending.Count{}, 0
	c.end = refused
}
