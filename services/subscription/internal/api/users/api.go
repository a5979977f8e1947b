// Package users serves tidegate.identity.v1: the users of the installation and
// their sign-ins.
package users

import (
	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// API serves UserService, SignInService, SecurityEventService, UserDirectoryService and PageSignInService.
type API struct {
	identityv1.UnsafeUserServiceServer
	identityv1.UnsafeSignInServiceServer
	identityv1.UnsafeSecurityEventServiceServer
	backplanev1.UnsafeUserDirectoryServiceServer
	backplanev1.UnsafePageSignInServiceServer

	store     *store.Store
	issuer    *token.Issuer
	passwords *token.Passwords
	rules     *password.Rules
	refresh   *token.RefreshTokens
	last      store.Lasting
	lockout   store.Lockout
	signUps   identityv1.SignUpPolicy_Policy
	security  *securitylog.Log
}

// Parts are what the API works with.
type Parts struct {
	Store     *store.Store
	Issuer    *token.Issuer
	Passwords *token.Passwords
	// Rules says which passwords users may have.
	Rules *password.Rules
	// Refresh makes refresh tokens, and SignIns is how long sign-ins last.
	Refresh *token.RefreshTokens
	SignIns store.Lasting
	// Lockout says when failed sign-ins lock out.
	Lockout store.Lockout
	// SignUps says who may sign up; not set is nobody.
	SignUps  identityv1.SignUpPolicy_Policy
	Security *securitylog.Log
}

var (
	_ identityv1.UserServiceServer           = (*API)(nil)
	_ identityv1.SignInServiceServer         = (*API)(nil)
	_ identityv1.SecurityEventServiceServer  = (*API)(nil)
	_ backplanev1.UserDirectoryServiceServer = (*API)(nil)
	_ backplanev1.PageSignInServiceServer    = (*API)(nil)
)

// New returns the API.
func New(p Parts) *API {
	return &API{
		store: p.Store, issuer: p.Issuer, passwords: p.Passwords, rules: p.Rules, refresh: p.Refresh, last: p.SignIns, lockout: p.Lockout,
		signUps: max(p.SignUps, identityv1.SignUpPolicy_POLICY_OFF), security: p.Security,
	}
}

// Register adds the services to a server.
func (a *API) Register(srv grpc.ServiceRegistrar) {
	identityv1.RegisterUserServiceServer(srv, a)
	identityv1.RegisterSignInServiceServer(srv, a)
	identityv1.RegisterSecurityEventServiceServer(srv, a)
}

// RegisterInternal adds what only services call.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterUserDirectoryServiceServer(srv, a)
	backplanev1.RegisterPageSignInServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	admin := identity.Rule{Roles: []string{identity.RoleAdmin}}
	return identity.Rules{
		identityv1.SignInService_SignIn_FullMethodName:        {Open: true},
		identityv1.SignInService_RefreshSignIn_FullMethodName: {Open: true},
		identityv1.SignInService_SignOut_FullMethodName:       {Open: true},
		identityv1.SignInService_GetSignIn_FullMethodName:     {},
		identityv1.SignInService_ListSignIns_FullMethodName:   {},
		identityv1.SignInService_DeleteSignIn_FullMethodName:  {},
		identityv1.UserService_ChangePassword_FullMethodName:  {},
		identityv1.UserService_CreateUser_FullMethodName:      admin,
		identityv1.UserService_SignUp_FullMethodName:          {Open: true},
		identityv1.UserService_GetSignUpPolicy_FullMethodName: {Open: true},
		identityv1.UserService_ApproveUser_FullMethodName:     {OwnerRole: identity.RoleAdmin},
		identityv1.UserService_GetUser_FullMethodName:         {},
		identityv1.UserService_ListUsers_FullMethodName:       admin,
		identityv1.UserService_UpdateUser_FullMethodName:      {OwnerRole: identity.RoleAdmin},
		identityv1.UserService_DeleteUser_FullMethodName:      {OwnerRole: identity.RoleAdmin},
		identityv1.UserService_SuspendUser_FullMethodName:     {OwnerRole: identity.RoleAdmin},
		identityv1.UserService_RestoreUser_FullMethodName:     {OwnerRole: identity.RoleAdmin},
		identityv1.UserService_UnlockUser_FullMethodName:      {OwnerRole: identity.RoleAdmin},

		identityv1.SecurityEventService_ListSecurityEvents_FullMethodName: admin,

		backplanev1.UserDirectoryService_FindUser_FullMethodName:       {Services: []string{identity.Catalog}},
		backplanev1.PageSignInService_RefreshPageSignIn_FullMethodName: {Services: []string{identity.Portal}},
	}
}
