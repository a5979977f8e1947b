package ending

import "strconv"

// Reason is why a session ended. Its numbers are those of the enum
// tidegate.usage.v1.EndReason; they are never changed and never used again.
type Reason uint8

// The end reasons. 11 is kept for text that is not UTF-8, which ends a session as
// Protocol as long as payload is not looked into.
const (
	Unspecified   Reason = 0
	PeerClose     Reason = 1
	ClientGone    Reason = 2
	BackendGone   Reason = 3
	CloseTimeout  Reason = 4
	Idle          Reason = 5
	MaxAge        Reason = 6
	TooBig        Reason = 7
	Slow          Reason = 8
	Flood         Reason = 9
	Protocol      Reason = 10
	Expired       Reason = 12
	Revoked       Reason = 13
	Blocked       Reason = 14
	OperatorClose Reason = 15
	Drain         Reason = 16
	// BackendRefused is that of a handshake which the backend refused.
	BackendRefused Reason = 17
	// Refused is that of a handshake which the gateway refused.
	Refused Reason = 18
	// Throttled is that of a limit of a plan.
	Throttled Reason = 19
	// Replaced is that of a session whose seat a newer connection got.
	Replaced Reason = 20
	// Answered is that of a plain request, which is no session.
	Answered Reason = 21
)

// entry is all that there is to know about a reason.
type entry struct {
	word    string // first in the reason of a close that the gateway originates, in records, and as metric label
	by      Party  // who ends sessions for this reason
	client  uint16 // the close code that the client gets; 0: none, or a peer's own
	backend uint16 // the close code that the backend gets; 0: likewise
	doc     string // in docs/gateway.md
}

// reasons is the table: word, party, what the client gets, what the backend gets,
// documentation. docs/gateway.md has the same rows: a test compares them.
var reasons = [...]entry{
	Unspecified: {"UNSPECIFIED", Nobody, 0, 0, ""},
	PeerClose: {"PEER_CLOSE", Nobody, 0, 0,
		"A peer closed. The close goes on to the other peer with its code and reason; the other direction flows on until its own close, for 5 s at most."},
	ClientGone: {"CLIENT_GONE", Client, 0, 1001,
		"The client's connection ended without a close."},
	BackendGone: {"BACKEND_GONE", Backend, 1013, 0,
		"The backend's connection ended without a close."},
	CloseTimeout: {"CLOSE_TIMEOUT", Gateway, 0, 0,
		"A peer closed, and for 5 s the other did not answer. Whoever closed gets its own code back; the record says `PEER_CLOSE`."},
	Idle: {"IDLE", Gateway, 1001, 1001,
		"A peer did not answer a ping within 10 s, and no other frame of its had come for 40 s. Pings are sent every 30 s. Or no message passed for the version's idle time-out."},
	MaxAge: {"MAX_AGE", Gateway, 1012, 1001,
		"The session reached its maximum age. The close has a retry hint."},
	TooBig: {"TOO_BIG", Gateway, 1009, 1001,
		"A message is over the smallest of what plans, version and gateway (1 MiB) allow. This is decided on the frame header, before the payload is read."},
	Slow: {"SLOW", Gateway, 1013, 1013,
		"A peer took no byte for 10 s, in which the other was not read. The slow connection is cut."},
	Flood: {"FLOOD", Gateway, 1008, 1001,
		"A peer sent over 100 control or empty frames in a second."},
	Protocol: {"PROTOCOL", Gateway, 1002, 1001,
		"A peer violated RFC 6455. The code is 1007 for a close reason that is not UTF-8."},
	Expired: {"EXPIRED", Gateway, 4001, 1001,
		"The token expired. The close comes within 1 s."},
	Revoked: {"REVOKED", Gateway, 4001, 1001,
		"The credential was revoked, alone or with all of its OAuth client, secret, application or subscription, its OAuth client or API key was deleted, or the sign-in ended that it does not outlive. The close comes within 1 s."},
	Blocked: {"BLOCKED", Gateway, 4006, 1001,
		"The subscription, application or user was deleted, the subscription blocked, the user suspended, or the version demoted or deleted, or it needs a subscription now, or who tries it out does not own it any more, or a deny rule matches; the record names it. The close comes within 1 s."},
	OperatorClose: {"OPERATOR_CLOSE", Operator, 4010, 1001,
		"An operator closed the session."},
	Drain: {"DRAIN", Gateway, 1012, 1001,
		"The gateway stops. Closes are spread over the drain time and have a retry hint."},
	BackendRefused: {"BACKEND_REFUSED", Backend, 0, 0,
		"The backend refused the handshake: there was no 101 and no session, but there is a record of it."},
	Refused: {"REFUSED", Gateway, 0, 0,
		"The gateway refused the handshake: there was no session, but there is a record of it, with the code of the answer."},
	Throttled: {"THROTTLED", Gateway, 4003, 1001,
		"A limit of a plan ended the session, or a peer was paused for too long, or had over 1 000 messages dropped in a second. The record names the limit; the close has a retry hint."},
	Replaced: {"REPLACED", Gateway, 4003, 1001,
		"A newer connection got the session's place under a limit on connections."},
	Answered: {"ANSWERED", Backend, 0, 0,
		"It was no session but a plain request, and was answered: the record has the status. Of most requests there is no record."},
}

// row returns what the table has on r. An unknown number has an empty row.
func (r Reason) row() entry {
	if int(r) >= len(reasons) {
		return entry{}
	}
	return reasons[r]
}

// String returns the reason's word. An unknown number is REASON_ and the number.
func (r Reason) String() string {
	if word := r.row().word; word != "" {
		return word
	}
	return "REASON_" + strconv.Itoa(int(r))
}

// Label returns the reason as the value of a metric's label: its word, or "other"
// for an unknown number, so that there is a bound to how many there are.
func (r Reason) Label() string {
	if word := r.row().word; word != "" {
		return word
	}
	return "other"
}
