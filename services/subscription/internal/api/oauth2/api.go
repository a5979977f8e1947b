// Package oauth2 serves tidegate.oauth2.v1: it issues, revokes and introspects the
// access tokens of applications.
package oauth2

import (
	"google.golang.org/grpc"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// API serves OAuth2Service and SigningKeyService.
type API struct {
	oauth2v1.UnsafeOAuth2ServiceServer
	oauth2v1.UnsafeSigningKeyServiceServer

	store    *store.Store
	issuer   *token.Issuer
	keys     Keys
	security *securitylog.Log
}

// Keys are the signing keys of each purpose.
type Keys struct{ AccessTokens, BackendIdentity *token.Keys }

// of returns the keys of a purpose; one that is not set is access tokens.
func (k Keys) of(p oauth2v1.SigningKey_Purpose) *token.Keys {
	if p == oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY {
		return k.BackendIdentity
	}
	return k.AccessTokens
}

var (
	_ oauth2v1.OAuth2ServiceServer     = (*API)(nil)
	_ oauth2v1.SigningKeyServiceServer = (*API)(nil)
)

// New returns the API.
func New(st *store.Store, issuer *token.Issuer, keys Keys, security *securitylog.Log) *API {
	return &API{store: st, issuer: issuer, keys: keys, security: security}
}

// Register adds the services to a server.
func (a *API) Register(srv grpc.ServiceRegistrar) {
	oauth2v1.RegisterOAuth2ServiceServer(srv, a)
	oauth2v1.RegisterSigningKeyServiceServer(srv, a)
}

// Rules says who may call which method: those of OAuth2Service everybody, because OAuth
// clients authenticate with a secret in the request.
func Rules() identity.Rules {
	admin := identity.Rule{Roles: []string{identity.RoleAdmin}}
	return identity.Rules{
		oauth2v1.SigningKeyService_GetSigningKey_FullMethodName:    admin,
		oauth2v1.SigningKeyService_ListSigningKeys_FullMethodName:  admin,
		oauth2v1.SigningKeyService_RotateSigningKey_FullMethodName: admin,

		oauth2v1.OAuth2Service_IssueToken_FullMethodName:       {Open: true},
		oauth2v1.OAuth2Service_RevokeToken_FullMethodName:      {Open: true},
		oauth2v1.OAuth2Service_IntrospectToken_FullMethodName:  {Open: true},
		oauth2v1.OAuth2Service_GetJsonWebKeySet_FullMethodName: {Open: true},
	}
}
