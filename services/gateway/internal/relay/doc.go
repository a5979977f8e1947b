// Package relay moves WebSocket frames between the two legs of a session: the
// client's connection and the backend's. It owns the bytes after both handshakes:
// it checks frame headers, passes data frames on as they came, answers and sends
// control frames of its own, and closes both connections. It knows nothing of
// routes, grants or registries; package session does. Frames are parsed by package
// frame, connections are read and written by package netpoll, and package ending
// has the words for how a session ends.
//
// The data path is datapath.go, from top to bottom: read, walk, admit, forward. No
// leg has a goroutine: the poller calls Ready, and whatever becomes due by time
// alone is done by the Engine's wheel. All of a session is guarded by its mutex.
//
// # States
//
// A leg is a reader (what comes from its peer) and a writer (what goes to it). Both
// states only move to the right.
//
//	reader   reading ──┬─ close or violation ─► discarding ─┬─ cut, or lingered ─► draining ─┬─► readClosed
//	                   ├────────────────────────────────────┴────────────────────────────────│──┐
//	                   │                              held data went out, or never can ───────┘  │
//	                   └─ end of the stream ────────────────────────────────────────────────────┘
//
//	writer   writing ─┬─ close due ─► closeQueued ─ between frames ─► closeSent ─ answered ─► halfClosed ─► writeClosed
//	                  ├─ peer's close passed on ─────────────────────┘                          ▲              ▲
//	                  └─ write failed, or cut (from any of these) ─► broken ─ session ended ────┴──────────────┘
//
// The reader of one leg feeds the writer of the other:
//
//	reader.state     socket      frames
//	reading          is read     go to the other leg's writer
//	discarding       is read     are thrown away: nothing valid follows a close or a violation
//	draining         is left     only what is held still goes out
//	readClosed       is left     are over
//
//	writer.state     data        pings, pongs   the leg's close
//	writing          goes out    go out         is not due
//	closeQueued      up to the end of the frame that was begun; then the close goes out
//	closeSent        never again; the peer's own close, or the end of its stream, is awaited
//	broken           never again; what was not sent is lost
//	halfClosed       the peer was told that nothing more comes
//	writeClosed      the socket is closed
//
// # Invariants
//
//   - A frame of the gateway's own goes between frames, never into one, and is never
//     sent in part: what the socket does not take of it is kept by netpoll.
//   - Nothing begins behind a close, queued or sent.
//   - A writer that is stalled is writing or closeQueued. While it is, the other leg
//     is not read and the clocks of pings stand still.
//   - A reader holds at most one chunk, and while it does it is not read. What it
//     holds is of one read: memory does not grow with messages.
//   - A socket is closed when its reader is readClosed and its writer is halfClosed
//     or broken. The session is over when both sockets are closed; then, and only
//     then, its owner is told, once.
//   - Only the first ending of a session counts (Relay.ended). Closes of the gateway's
//     own say the first ending that made one due (Relay.closing).
package relay
