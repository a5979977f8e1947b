package identity

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
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

// UnaryInterceptor admits calls by rules. service returns the calling service; it is nil on
// the users' face, where no service calls.
func UnaryInterceptor(v *Verifier, rules Rules, service func(context.Context) string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := admit(ctx, v, rules, service, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// StreamInterceptor does for streams what UnaryInterceptor does for calls.
func StreamInterceptor(v *Verifier, rules Rules, service func(context.Context) string) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, err := admit(ss.Context(), v, rules, service, info.FullMethod)
		if err != nil {
			return err
		}
		return next(srv, &stream{ServerStream: ss, ctx: ctx})
	}
}

// stream is a stream whose context has the caller.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context that has the caller.
func (s *stream) Context() context.Context { return s.ctx }

// admit returns the context of a call that the rules admit, or a fault.
func admit(ctx context.Context, v *Verifier, rules Rules, service func(context.Context) string, method string) (context.Context, error) {
	rule, ok := rules[method]
	if !ok {
		return nil, fault.Unimplemented("unknown method %s", method)
	}
	var c Caller
	if service != nil {
		c.Service = service(ctx)
	}
	if rule.Open {
		return with(ctx, c), nil
	}
	token, err := bearer(ctx)
	if err != nil {
		return nil, err
	}
	if token != "" {
		if c.User, err = v.Verify(ctx, token); err != nil {
			return nil, err
		}
	}
	if err := rule.check(c); err != nil {
		return nil, err
	}
	c.ownerRole = rule.OwnerRole
	return with(ctx, c), nil
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
		return fault.Unauthenticated("sign in first: the call carries no token")
	}
	if len(r.Roles) == 0 || slices.ContainsFunc(r.Roles, c.User.Has) {
		return nil
	}
	return fault.Denied("this needs the role %s", strings.Join(r.Roles, " or "))
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
