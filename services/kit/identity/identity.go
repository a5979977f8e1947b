// Package identity says who is calling: a service, known by its connection, or a
// user, known by a token. It checks both against a table of rules before the
// handler runs. Issuing tokens is up to the subscription service, and what a user
// may do to a certain object is up to the handler.
package identity

import (
	"context"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

// Roles of users.
const (
	RoleAdmin      = "admin"
	RoleCreator    = "creator"
	RolePublisher  = "publisher"
	RoleSubscriber = "subscriber"
)

// Names of the services.
const (
	Catalog      = "catalog"
	Subscription = "subscription"
	Gateway      = "gateway"
	Portal       = "portal"
)

// AnyService is the service of a caller on a plaintext loopback connection, which
// counts as every service.
const AnyService = "*"

// Caller is who makes a call: a service, a user, or a service on behalf of a user.
type Caller struct {
	// Service is the calling service, AnyService, or empty on the users' face.
	Service string
	// User is the user whose token came with the call, or zero.
	User User

	ownerRole string // that the method's rule asks of an owner; empty: none
}

// Sees reports whether the caller sees what only its owner and administrators
// see.
func (c Caller) Sees(owner string) bool {
	return c.User.Name == owner || c.User.Has(RoleAdmin)
}

// MayChange returns why the caller may not do to what belongs to owner what the
// method does, or nil: it takes the owner with the OwnerRole of the method's
// rule, or an administrator.
func (c Caller) MayChange(owner string) error {
	switch {
	case !c.Sees(owner):
		return fault.Denied("only its owner and administrators may do this")
	case c.ownerRole != "" && !c.User.Has(c.ownerRole):
		return fault.Denied("this needs the role %s", c.ownerRole)
	}
	return nil
}

// Is reports whether the caller is one of the services.
func (c Caller) Is(services ...string) bool {
	if c.Service == "" {
		return false
	}
	return c.Service == AnyService && len(services) > 0 || slices.Contains(services, c.Service)
}

// User is the user that a token was issued to.
type User struct {
	// Name is the resource name, users/{id}.
	Name string
	// Roles are those that the token has.
	Roles []string
}

// Has reports whether the user has a role. An admin has all of them.
func (p User) Has(role string) bool {
	return slices.Contains(p.Roles, role) || slices.Contains(p.Roles, RoleAdmin)
}

type callerKey struct{}

// From returns the caller of the call that ctx belongs to.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// with returns ctx with the caller of a call.
func with(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// ServiceOf returns the service at the other end of an internal connection: the
// first DNS name of its certificate, the caller that an in-memory connection
// names, AnyService for plaintext, or "" for a certificate without a name.
func ServiceOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if a, ok := p.Addr.(memnet.Addr); ok {
		return a.Caller
	}
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return AnyService
	}
	if len(tls.State.VerifiedChains) == 0 {
		return ""
	}
	names := tls.State.VerifiedChains[0][0].DNSNames
	if len(names) == 0 || names[0] == AnyService {
		return ""
	}
	return names[0]
}
