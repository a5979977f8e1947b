// Package relay moves WebSocket frames between the two legs of a session: the
// client's connection and the backend's. It owns the bytes after both handshakes:
// it checks frame headers, passes data frames on as they came, answers and sends
// control frames of its own, and closes both connections. It knows nothing of
// routes, grants or registries; package session does. Frames are parsed by package
// frame, connections are read and written by package netpoll, and package ending
// has the words for how a session ends.
//
// The data path is datapath.go, from top to bottom: read, walk, forward. Where limits
// hold, admission.go walks, asks package limits what may pass, and does what the limit
// that decides says; the size of one message is checked by frame.Walker.
//
// No leg has a goroutine: the poller calls Ready, whatever becomes due by time alone is
// done by the Engine's wheel, and legs that wait for a limit are given their turns by its
// pacer. All of a session is guarded by its mutex.
//
// # States
//
// A leg is a reader (what comes from its peer) and a writer (what goes to it), each
// with one state, which only moves along the arrows.
//
//	reading ─── close, violation, refused ───► discarding
//	   │  │                                      │     │
//	   │  └─ abort, linger time over ┐   ┌───────┘     │
//	   │                             ▼   ▼             │ end of the stream
//	   │                            draining           │
//	   │ end of the stream              │ what is held went out, or never can
//	   └───────────────────────────► readClosed ◄──────┘
//
//	writing ──── close due ───► closeQueued ── between two frames ──► closeSent
//	  │  │                                                               ▲  │
//	  │  └──────────────────── peer's close passed on ───────────────────┘  │
//	  │                                                    answered, or late│
//	  │ write failed, or abort (so do the next two)                         ▼
//	  └───► broken ───────────────── session ended ──────────────────► halfClosed
//	           └──── reader is readClosed ────► writeClosed ◄───────────────┘
//
// The reader of one leg feeds the writer of the other:
//
//	reading      frames go to the other leg's writer
//	discarding   frames are thrown away: after a close or a violation nothing counts
//	draining     the socket is read no more; what is held may still go out
//	readClosed   nothing more comes
//
//	writing      data, pings and pongs go out
//	closeQueued  the frame that was begun is ended, then the close goes out
//	closeSent    nothing goes out; the peer's own close, or its end, is awaited
//	broken       nothing goes out; what was not sent is lost
//	halfClosed   the peer was told that nothing more comes
//	writeClosed  the socket is closed
//
// # Invariants
//
//   - A frame of the gateway's own goes between frames, never into one, and is never
//     sent in part: what the socket does not take of it is kept by netpoll.
//   - Nothing begins behind a close, queued or sent.
//   - A writer that is stalled is writing or closeQueued. While it is, the other leg
//     is not read and the clocks of pings stand still.
//   - A leg that is paused waits in the line of one limit. It is reading or draining and
//     holds a chunk that begins with a message; it is not read, and its clocks of pings
//     stand still. Nothing is paused once a close of the gateway's own is due.
//   - An error frame goes to the client between two messages, never into one.
//   - A reader holds at most one chunk, and while it does it is not read. What it
//     holds is of one read: memory does not grow with messages.
//   - A socket is closed when its reader is readClosed and its writer is halfClosed
//     or broken. The session is over when both sockets are closed; then, and only
//     then, its observer is told, once.
//   - Only the first ending of a session counts (Relay.ended). Closes of the gateway's
//     own say the first ending that made one due (Relay.closing).
package relay
