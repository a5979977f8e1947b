package sessions

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// patience is how long a gateway has to answer.
const patience = 2 * time.Second

// question is a call to a gateway.
type question[R any] func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (R, error)

// ask calls one gateway. If the gateway watches the catalog it is there, so ask waits
// for a lost connection to come back. A gateway that does not answer in time is
// UNAVAILABLE; DEADLINE_EXCEEDED is the deadline of the caller.
func (ask question[R]) ask(ctx context.Context, within time.Duration, g gateways.Gateway) (R, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := ask(limited, g, grpc.WaitForReady(g.Connected))
	if status.Code(err) == codes.DeadlineExceeded && sooner(limited, ctx) {
		err = errUnreachable("%s does not answer, try again", g.Name)
	}
	return r, err
}

// errUnreachable says which gateways do not answer.
func errUnreachable(format string, a ...any) error {
	return fault.WithReason(fault.Unavailable(format, a...), fault.ReasonServiceUnreachable)
}

// sooner reports whether a context ends before the one that it was made from.
func sooner(ctx, parent context.Context) bool {
	end, _ := ctx.Deadline()
	limit, limited := parent.Deadline()
	return !limited || end.Before(limit)
}

// askOne asks the gateway of a name.
func askOne[R any](ctx context.Context, s *Server, name resourcename.Gateway, ask question[R]) (R, error) {
	var none R
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return none, err
	}
	for _, g := range all {
		if g.Name == name {
			r, err := ask.ask(ctx, patience, g)
			return r, fault.Forward(err)
		}
	}
	return none, fault.NotFound("%s", name)
}

// answer is a gateway's answer.
type answer[R any] struct {
	from  resourcename.Gateway
	value R
	err   error
}

// askAll calls all gateways at once and returns the answers in the same order.
func askAll[R any](ctx context.Context, all []gateways.Gateway, ask question[R]) []answer[R] {
	return askAllWithin(ctx, patience, all, ask)
}

// askAllWithin does so, and gives each gateway a time to answer.
func askAllWithin[R any](ctx context.Context, within time.Duration, all []gateways.Gateway, ask question[R]) []answer[R] {
	answers := make([]answer[R], len(all))
	var wg sync.WaitGroup
	for i, g := range all {
		wg.Go(func() {
			value, err := ask.ask(ctx, within, g)
			answers[i] = answer[R]{g.Name, value, err}
		})
	}
	wg.Wait()
	return answers
}

// collect returns the values of answers. Gateways without an answer are unreachable
// if partial allows that; otherwise they make the call fail. A refusal by one gateway
// is the answer of the whole call, because all would refuse.
func collect[R any](ctx context.Context, answers []answer[R], partial bool) (values []R, unreachable []string, err error) {
	for _, a := range answers {
		switch status.Code(a.err) {
		case codes.OK:
			values = append(values, a.value)
		case codes.Unavailable:
			unreachable = append(unreachable, a.from.String())
		default:
			return nil, nil, fault.Forward(a.err)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, nil, fault.Forward(status.FromContextError(ctx.Err()).Err())
	case len(unreachable) > 0 && !partial:
		return nil, nil, errUnreachable("%s cannot be reached, try again", strings.Join(unreachable, " and "))
	}
	return values, unreachable, nil
}
