// Package identity says who is calling: a service, known by its connection, or a
// user, known by a token. It checks both against a table of rules before the
// handler runs. Issuing tokens is up to the subscription service, and what a user
// may do to a certain object is up to the handler.
package identity

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
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

// Actor returns how logs name the caller: users/{id} or services/{service}, "" for
// nobody.
func (c Caller) Actor() string {
	switch {
	case c.User.Name != "":
		return c.User.Name
	case c.Service == AnyService:
		return "services/unknown"
	case c.Service != "":
		return resourcename.Service{Service: c.Service}.String()
	}
	return ""
}

// Viewer returns the caller as one on whose behalf rows are read.
func (c Caller) Viewer() Viewer {
	return Viewer{User: c.User.ID(), All: c.User.Has(RoleAdmin), Publishes: c.User.Has(RolePublisher)}
}

// MayChange returns why the caller may not do to what belongs to owner, the id of
// a user, what the method does, or nil: it takes the owner with the OwnerRole of
// the method's rule, or an administrator.
func (c Caller) MayChange(owner string) error { return c.MayActAs(c.ownerRole, owner) }

// MayActAs returns why the caller may not do to what belongs to owner, the id of a
// user, what takes the owner with a role, or an administrator; nil if the caller may.
// An empty role is none.
func (c Caller) MayActAs(role, owner string) error {
	switch {
	case !c.Viewer().Sees(owner):
		return fault.Denied("only its owner and administrators may do this")
	case role != "" && !c.User.Has(role):
		return fault.Denied("this needs the role %s", role)
	}
	return nil
}

// Viewer is one on whose behalf rows are read.
type Viewer struct {
	// User is the id of a user; empty is nobody.
	User string
	// All says that the viewer sees what belongs to anybody.
	All bool
	// Publishes says that the viewer publishes what others have made, and so sees
	// what waits for it.
	Publishes bool
}

// Sees reports whether the viewer sees what only its owner, the id of a user, and
// administrators see.
func (v Viewer) Sees(owner string) bool {
	return v.All || v.User != "" && v.User == owner
}

// Owner is the owner that a list for the viewer is restricted to, nil for all.
func (v Viewer) Owner() *string {
	if v.All {
		return nil
	}
	return &v.User
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
	// Username is the name that the user had when the token was issued.
	Username string
	// Roles are those that the token has.
	Roles []string
	// SignIn is the id of the sign-in that the token belongs to.
	SignIn string
	// AsOf is the moment, by the changes of the subscription service, at which it read the
	// user to issue the token.
	AsOf moment.Moment
}

// ID returns the id in the user's name, "" for nobody.
func (u User) ID() string { return strings.TrimPrefix(u.Name, "users/") }

// Has reports whether the user has a role. An admin has all of them.
func (u User) Has(role string) bool {
	return slices.Contains(u.Roles, role) || slices.Contains(u.Roles, RoleAdmin)
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
