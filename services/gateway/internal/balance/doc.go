// Package balance decides which of a stage's endpoints is taken next, and knows of each
// how many connections it has and whether it works. It knows no socket and reads no clock:
// whoever tries an endpoint says when, and what came of it.
//
// An endpoint is in one of three states:
//
//	           failures in a row                 the suspension is over
//	HEALTHY ───────────────────────► SUSPENDED ──────────────────────────► ON_TRIAL
//	   ▲                                ▲                                    │  │
//	   │                                └──────────── it fails: for longer ──┘  │
//	   └──────────────────────────────────────────────── it works ──────────────┘
//
// One handshake at a time tries an endpoint that is on trial, or a health check where there
// are such. All others pass it over, as they pass over suspended ones: those are taken only
// where nothing else is left, for an endpoint that may work is better than none.
//
// Of the healthy ones the one with the fewest connections is taken, and of several such the
// next in turn. A connection counts from the moment at which its endpoint is taken, so
// handshakes at the same time do not all take the same.
package balance
