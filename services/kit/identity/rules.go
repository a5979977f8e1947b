package identity

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Rule says who may call a method. Its zero value admits any user.
type Rule struct {
	// Open admits everybody. A token is ignored, even a bad one.
	Open bool
	// Services may call without a user. With Services and without Roles, users may
	// not call.
	Services []string
	// Roles admit a user who has any of them. Without Roles and without Services,
	// any user may call.
	Roles []string
	// OwnerRole is the role that the owner of the object needs. It is asked for
	// by Caller.MayChange, once the handler has found that the caller may see
	// the object: what somebody may not see is NOT_FOUND, whatever their roles.
	OwnerRole string
}

// Rules has the rule of each method by its full name, /package.Service/Method.
// A method without a rule is refused.
type Rules map[string]Rule

// Guard admits calls by rules.
type Guard struct {
	// Verifier checks users' tokens; nil refuses all of them.
	Verifier *Verifier
	Rules    Rules
	// Service returns the calling service; it is nil on the users' face, where no
	// service calls.
	Service func(context.Context) string
	// Refused is told of calls that the rules or their handlers refused: those with a
	// bad token, and those that their caller may not make. ctx has the caller, and
	// req is nil for a stream. It may be nil.
	Refused func(ctx context.Context, req any, err error)
}

// Unary is the interceptor of calls.
func (g Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		g.report(ctx, req, err)
		return nil, err
	}
	resp, err := next(ctx, req)
	if fault.Is(err, codes.PermissionDenied) {
		g.report(ctx, req, err)
	}
	return resp, err
}

// Stream does for streams what Unary does for calls.
func (g Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		g.report(ctx, nil, err)
		return err
	}
	err = next(srv, &stream{ServerStream: ss, ctx: ctx})
	if fault.Is(err, codes.PermissionDenied) {
		g.report(ctx, nil, err)
	}
	return err
}

// report tells Refused of a refusal, unless it says only that a token is missing, or
// that a service is away.
func (g Guard) report(ctx context.Context, req any, err error) {
	bad := fault.Is(err, codes.Unauthenticated) && len(metadata.ValueFromIncomingContext(ctx, "authorization")) > 0
	if g.Refused != nil && (bad || fault.Is(err, codes.PermissionDenied)) {
		g.Refused(ctx, req, err)
	}
}

// stream is a stream whose context has the caller.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context that has the caller.
func (s *stream) Context() context.Context { return s.ctx }

// admit returns the context of a call, which has the caller, and the fault of a call
// that the rules refuse.
func (g Guard) admit(ctx context.Context, method string) (context.Context, error) {
	rule, ok := g.Rules[method]
	if !ok {
		return ctx, fault.Unimplemented("unknown method %s", method)
	}
	var c Caller
	if g.Service != nil {
		c.Service = g.Service(ctx)
	}
	if rule.Open {
		return with(ctx, c), nil
	}
	token, err := bearer(ctx)
	if err != nil {
		return with(ctx, c), err
	}
	if token != "" {
		if c.User, err = g.Verifier.Verify(ctx, token); err != nil {
			return with(ctx, c), err
		}
	}
	c.ownerRole = rule.OwnerRole
	return with(ctx, c), rule.check(c)
}

// check returns why the rule refuses a caller, or nil.
func (r Rule) check(c Caller) error {
	if c.Is(r.Services...) {
		return nil
	}
	if len(r.Services) > 0 && len(r.Roles) == 0 {
		return fault.Denied("only services call this method")
	}
	if c.User.Name == "" {
		return NoToken()
	}
	if len(r.Roles) == 0 || slices.ContainsFunc(r.Roles, c.User.Has) {
		return nil
	}
	return fault.Denied("this needs the role %s", strings.Join(r.Roles, " or "))
}

// NoToken is the fault of a call that a user must make, and that has no token.
func NoToken() error {
	return fault.WithReason(fault.Unauthenticated("sign in first: the call carries no token"), fault.ReasonTokenMissing)
}

// bearer returns the token that came with a call, or "".
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", fault.Unauthenticated("the call carries more than one authorization")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", fault.Unauthenticated("the authorization must be Bearer, a space and a token")
	}
	return token, nil
}
