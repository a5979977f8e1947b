// Package limits decides what passes under a plan: rates, quotas and seats. It knows
// no socket and no clock: times are nanoseconds of one monotonic clock that the caller
// reads. It has no goroutines: who waits is woken by the caller.
//
//	Demand ─► Chain ─► Limit ─► Bucket   a rate, in one atomic word
//	what a      │        │ └──► Quota    a slice of this window, and one of the next
//	read        │        └────► line     legs that wait, in equal parts
//	brought     └─► Decision: Go, Split, Wait, Refuse
//
//	Sit ─► Seats   connections at once, at each place
//
// A Chain has the limits of the three places of a plan, from narrow to wide:
// subscription, application, version. Ask looks at all of them before it takes from any:
//
//   - If all have room, all are charged, and it is Go. If another was quicker at one,
//     what was taken is given back, and it looks again.
//   - If several messages do not fit together, it is Split: the decision has the most
//     messages and bytes that there is room for. The caller asks for as many as these
//     are, then for the next message alone.
//   - If one message does not fit, all limits that refuse it are looked at together.
//     The strongest reaction decides: CLOSE, then DROP, then PAUSE. Where all pause,
//     or a quota's slice is not enough and the next was asked for, it is Wait.
//   - Limits on observe are asked last, after Go only. They take what there is.
//
// A message is decided once, with its first frame; Charge charges its other frames.
//
// A leg that waits is in one line, of the limit that is free last:
//
//	Ask: Wait ─► line ─► Next: its turn ─► Ask ... ─► End
//	              ▲                         │ Wait
//	              └─────────────────────────┘
//
// The line is served by deficit round robin, and who comes new waits behind it. When
// its turn is not over and there is no room, a leg waits in front, else at the end. Of two
// lines that a leg goes back and forth between, the slower limit's waits for the faster.
//
// What holds:
//
//   - What is not Go is charged nowhere, and who waits holds no token.
//   - Any window of a rate admits at most limit × window + max(burst, greatest message).
//     From full, exactly burst pass. Frames that are charged after the first one come on
//     top, and are paid back: the rest of one message of each leg.
//   - While a take is given back, another may find too little room, never too much.
//   - A quota passes no more than its slices, but for the frames that are charged and
//     what LackAllows lets pass, which it then owes. A window never reopens.
//   - A change of a rate or of terms loses nothing that was taken.
//   - No call waits or allocates for a decision, but for the line of a limit when somebody
//     waits there for the first time. Memory is bounded by limits and legs.
package limits
