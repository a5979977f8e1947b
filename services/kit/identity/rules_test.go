package identity_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestRules(t *testing.T) {
	k := newKeyring(t, "k1")
	v := newVerifier(k)
	as := func(roles ...string) string {
		return "Bearer " + k.sign(t, "k1", func(x *token) { x.claims.Roles = roles })
	}
	creator, admin, nobody := as(identity.RoleCreator), as(identity.RoleAdmin), as()
	rules := identity.Rules{
		"/open":    {Open: true},
		"/any":     {},
		"/creator": {Roles: []string{identity.RoleCreator}},
		"/two":     {Roles: []string{identity.RolePublisher, identity.RoleCreator}},
		"/gateway": {Services: []string{identity.Gateway}},
		"/both":    {Services: []string{identity.Subscription}, Roles: []string{identity.RolePublisher}},
	}
	for _, tt := range []struct {
		method, service string
		auth            []string
		code            codes.Code
		user            bool
	}{
		{"/open", "", nil, codes.OK, false},
		{"/open", "", []string{"Bearer nonsense"}, codes.OK, false},
		{"/any", "", nil, codes.Unauthenticated, false},
		{"/any", "portal", nil, codes.Unauthenticated, false},
		{"/any", "", []string{nobody}, codes.OK, true},
		{"/any", "portal", []string{nobody}, codes.OK, true},
		{"/any", "", []string{"bearer " + nobody[7:]}, codes.OK, true},
		{"/any", "", []string{"Basic YTpi"}, codes.Unauthenticated, false},
		{"/any", "", []string{"Bearer"}, codes.Unauthenticated, false},
		{"/any", "", []string{"Bearer nonsense"}, codes.Unauthenticated, false},
		{"/any", "", []string{nobody, nobody}, codes.Unauthenticated, false},
		{"/creator", "", nil, codes.Unauthenticated, false},
		{"/creator", "", []string{nobody}, codes.PermissionDenied, false},
		{"/creator", "", []string{creator}, codes.OK, true},
		{"/creator", "", []string{admin}, codes.OK, true},
		{"/creator", "gateway", []string{nobody}, codes.PermissionDenied, false},
		{"/two", "", []string{creator}, codes.OK, true},
		{"/two", "", []string{nobody}, codes.PermissionDenied, false},
		{"/gateway", "", nil, codes.PermissionDenied, false},
		{"/gateway", "", []string{admin}, codes.PermissionDenied, false},
		{"/gateway", "portal", nil, codes.PermissionDenied, false},
		{"/gateway", "gateway", nil, codes.OK, false},
		{"/gateway", identity.AnyService, nil, codes.OK, false},
		{"/both", "subscription", nil, codes.OK, false},
		{"/both", "gateway", nil, codes.Unauthenticated, false},
		{"/both", "", []string{creator}, codes.PermissionDenied, false},
		{"/both", "", []string{admin}, codes.OK, true},
		{"/both", "subscription", []string{creator}, codes.OK, true},
		{"/both", "subscription", []string{"Bearer nonsense"}, codes.Unauthenticated, false},
		{"/missing", "gateway", []string{admin}, codes.Unimplemented, false},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{"authorization": tt.auth})
		var service func(context.Context) string
		if tt.service != "" {
			service = func(context.Context) string { return tt.service }
		}
		var got identity.Caller
		guard := identity.Guard{Verifier: v, Rules: rules, Service: service}
		_, err := guard.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: tt.method}, func(ctx context.Context, _ any) (any, error) {
			got = identity.From(ctx)
			return nil, nil
		})
		check(t, tt.method, tt.service, tt.auth, err, tt.code, got, tt.user)
		got = identity.Caller{}
		err = guard.Stream(nil, &contextStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: tt.method}, func(_ any, s grpc.ServerStream) error {
			got = identity.From(s.Context())
			return nil
		})
		check(t, tt.method, tt.service, tt.auth, err, tt.code, got, tt.user)
	}
}

func check(t *testing.T, method, service string, auth []string, err error, code codes.Code, got identity.Caller, user bool) {
	t.Helper()
	if code != codes.OK {
		if !fault.Is(err, code) {
			t.Errorf("%s by %q with %.20q = %v, want %v", method, service, auth, err, code)
		}
		return
	}
	if err != nil || got.Service != service || (got.User.Name == "users/ada") != user {
		t.Errorf("%s by %q with %.20q = %v, caller %+v", method, service, auth, err, got)
	}
}

// contextStream is a stream that only has a context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *contextStream) Context() context.Context { return s.ctx }

func TestUserHas(t *testing.T) {
	p := identity.User{Roles: []string{identity.RolePublisher}}
	if !p.Has(identity.RolePublisher) || p.Has(identity.RoleCreator) || p.Has(identity.RoleAdmin) {
		t.Errorf("%v has the wrong roles", p)
	}
	if !(identity.User{Roles: []string{identity.RoleAdmin}}).Has(identity.RoleCreator) {
		t.Error("an admin lacks a role")
	}
	if (identity.User{}).Has(identity.RoleAdmin) {
		t.Error("nobody is an admin")
	}
}

func TestCallerIs(t *testing.T) {
	for _, tt := range []struct {
		service string
		of      []string
		want    bool
	}{
		{"gateway", []string{"portal", "gateway"}, true},
		{"gateway", []string{"portal"}, false},
		{"", []string{""}, false},
		{identity.AnyService, []string{"portal"}, true},
		{identity.AnyService, nil, false},
	} {
		if got := (identity.Caller{Service: tt.service}).Is(tt.of...); got != tt.want {
			t.Errorf("%q is one of %q = %v, want %v", tt.service, tt.of, got, tt.want)
		}
	}
}

func TestServiceOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		peer *peer.Peer
		want string
	}{
		{"no peer", nil, ""},
		{"in memory", &peer.Peer{Addr: memnet.Addr{Listener: "x", Caller: "portal"}}, "portal"},
		{"plaintext", &peer.Peer{Addr: tcpAddr{}}, identity.AnyService},
		{"TLS that was not verified", &peer.Peer{Addr: tcpAddr{}, AuthInfo: credentials.TLSInfo{}}, ""},
	} {
		ctx := t.Context()
		if tt.peer != nil {
			ctx = peer.NewContext(ctx, tt.peer)
		}
		if got := identity.ServiceOf(ctx); got != tt.want {
			t.Errorf("%s: ServiceOf = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// tcpAddr is an address that is not in memory.
type tcpAddr struct{}

func (tcpAddr) Network() string { return "tcp" }
func (tcpAddr) String() string  { return "127.0.0.1:1" }

func TestActor(t *testing.T) {
	for _, tt := range []struct {
		caller identity.Caller
		want   string
	}{
		{identity.Caller{}, ""},
		{identity.Caller{Service: "gateway"}, "services/gateway"},
		{identity.Caller{Service: "portal", User: identity.User{Name: "users/a"}}, "users/a"},
		{identity.Caller{Service: identity.AnyService}, "services/unknown"},
	} {
		if got := tt.caller.Actor(); got != tt.want {
			t.Errorf("Actor of %v = %q, want %q", tt.caller, got, tt.want)
		}
	}
}

// Refused is told of bad tokens and of what callers may not do, with the caller; not of
// calls without a token, and not of what handlers refuse for another reason.
func TestRefusedIsTold(t *testing.T) {
	k := newKeyring(t, "k1")
	creator := "Bearer " + k.sign(t, "k1", func(x *token) { x.claims.Roles = []string{identity.RoleCreator} })
	rules := identity.Rules{"/any": {}, "/admin": {Roles: []string{identity.RoleAdmin}}, "/open": {Open: true}}
	for _, tt := range []struct {
		method, auth string
		handler      error
		want         string // the caller that Refused is told of; "no" for none
	}{
		{"/any", "", nil, "no"},
		{"/any", creator, nil, "no"},
		{"/any", "Bearer nonsense", nil, ""},
		{"/admin", creator, nil, "users/ada"},
		{"/any", creator, fault.Denied("not yours"), "users/ada"},
		{"/any", creator, fault.NotFound("it"), "no"},
		{"/open", creator, fault.Unauthenticated("wrong password"), "no"},
		{"/missing", creator, nil, "no"},
	} {
		got := "no"
		guard := identity.Guard{Verifier: newVerifier(k), Rules: rules, Refused: func(ctx context.Context, _ any, err error) {
			got = identity.From(ctx).User.Name
			if err == nil {
				t.Errorf("%s by %.20q: refused without an error", tt.method, tt.auth)
			}
		}}
		ctx := t.Context()
		if tt.auth != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.MD{"authorization": {tt.auth}})
		}
		_, _ = guard.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: tt.method}, func(context.Context, any) (any, error) { return nil, tt.handler })
		if got != tt.want {
			t.Errorf("%s by %.20q told %q, want %q", tt.method, tt.auth, got, tt.want)
		}
		got = "no"
		_ = guard.Stream(nil, &contextStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: tt.method}, func(any, grpc.ServerStream) error { return tt.handler })
		if got != tt.want {
			t.Errorf("stream %s by %.20q told %q, want %q", tt.method, tt.auth, got, tt.want)
		}
	}
}
