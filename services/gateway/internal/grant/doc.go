// Package grant keeps what credentials are good for: grants, as the subscription
// service judged them, kept up to date by its events. The Cache asks for each
// credential once however many handshakes wait for the answer, drops what an event
// touches, ends the sessions that an event ends, and refreshes the grants of live
// sessions where an event says only that something changed, or where events may
// have been missed. Where a credential stands in a handshake is the business of
// package credential, and what the client is answered of package handshake.
//
// While the subscription service is away, a cached grant is honoured until it is
// no longer kept, and everything else is ErrUnavailable. Nothing is kept on disk.
//
// # Why no session outlives a revocation
//
// Answers and events reach the gateway on two connections, in any order. So an
// answer can arrive after an event that it does not know of:
//
//	gateway                                  subscription service
//
//	Verify ────────────────────────────────► the newest change is 7
//	                                         the token is good
//	                                         change 8: the token is revoked
//	event 8, applied ◄──────────────────────
//	a grant, as of 7 ◄──────────────────────
//	replay 8: the answer is void, ask again
//
// Every answer says which change was the newest before anything was read for it:
// its as-of. The cache keeps the events that it has applied lately, its history.
// Before it accepts an answer, it replays the events after the as-of; if one of
// them touches anything that the answer rests on, the answer is void and the
// question is asked again.
//
// A grant that has been accepted is handed to a handshake, which needs a while to
// make a session of it. An event that is applied in between finds no session to
// end, so the session is confirmed once it is registered: what was applied since
// the grant was handed out is replayed again, this time for the session.
//
//	handshake    Verify ─ grant, position p ──► register ──► Confirm(p) ──► dial, 101
//	events            ① ▲          ② ▲                   ③ ▲
//
//	① before Verify returns: the answer is void, or the entry is evicted
//	② after that: in the history after p, so Confirm replays it
//	③ after the session is registered: found by name, and ended
//
// A live session can be given the grant of another credential (Renew). That and the
// application of an event exclude each other, so it comes before each event or after it: an
// event that ends the old grant has ended the session before, or finds it no more, and one
// that ends the new one is in the history, or finds the session.
//
// This rests on six invariants:
//
//   - The as-of of an answer is read before anything else is, so the answer takes
//     all changes up to it into account. It may know of later ones too.
//   - What the cache keeps is valid as of the last event applied: to accept an
//     answer (replay, then store) and to apply an event (note it in the history,
//     then evict) are one step each, under one lock.
//   - An event is in the history before sessions are looked for, and a session is
//     registered before it is confirmed. So each event is seen by one or the other.
//   - A name that is gone never comes back. So it does no harm to replay an event
//     that the answer knew of: it touches nothing that the answer rests on, or
//     leads to one more question.
//     What was suspended or blocked can come back, though: then an event that is late ends
//     a session that began after it, and its client connects again.
//   - What a grant rests on, a later one for the same session rests on too, unless it was
//     lost. So a grant without a subscription rests on the pair of application and
//     version, and so does one with a subscription, which it may become.
//   - Where the history does not tell, because the events in question are no longer
//     kept or the watch began anew, nothing is assumed: answers are void, entries
//     are dropped, and the grants of all live sessions are refreshed.
//
// Positions in the history count the events applied here. They never go back,
// which change numbers may do when the control plane is restored from a backup. For the
// same reason an event that revokes what was issued until now says its moment, and a grant
// that of its credential (package moment): their times tell which was first, also where a
// restore is between the two.
package grant
