// Package api puts together what the subscription service serves: one package below
// it for each package of the protos. Package store keeps the rows, package token
// handles the secrets.
package api

import (
	"log/slog"
	"maps"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/access"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/applications"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/grants"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/oauth2"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/quota"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/usage"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/users"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// Parts are what the APIs work with.
type Parts struct {
	Store   *store.Store
	Changes *change.Log
	Issuer  *token.Issuer
	Keys    *token.Keys
	// IdentityKeys sign what backends are told about clients.
	IdentityKeys *token.Keys
	Passwords    *token.Passwords
	// PasswordRules says which passwords users may have.
	PasswordRules *password.Rules
	Catalog       *catalogwatch.Watch
	// RefreshTokens makes refresh tokens, and SignIns is how long sign-ins last.
	RefreshTokens *token.RefreshTokens
	SignIns       store.Lasting
	// Lockout says when failed sign-ins lock out.
	Lockout store.Lockout
	// SignUps says who may sign up.
	SignUps identityv1.SignUpPolicy_Policy
	Now     func() time.Time
	Log     *slog.Logger
	// Security is told who signed in, who did not, and who changed what others may do.
	Security *securitylog.Log
}

// Register adds the services to a server's two listeners: for users and for
// services.
func Register(p Parts, forUsers, forServices grpc.ServiceRegistrar) {
	reports := usage.New(p.Store, p.Catalog, p.Log)
	quotas := quota.New(p.Store, p.Catalog, p.Now)
	usersAPI := users.New(users.Parts{
		Store: p.Store, Issuer: p.Issuer, Passwords: p.Passwords, Rules: p.PasswordRules, Refresh: p.RefreshTokens,
		SignIns: p.SignIns, Lockout: p.Lockout, SignUps: p.SignUps, Security: p.Security,
	})
	apps := applications.New(p.Store, p.Catalog, p.Issuer, apikey.Declared(), p.Now, p.Security)
	for _, api := range []interface{ Register(grpc.ServiceRegistrar) }{
		usersAPI,
		oauth2.New(p.Store, p.Issuer, oauth2.Keys{AccessTokens: p.Keys, BackendIdentity: p.IdentityKeys}, p.Security),
		apps,
		reports,
		quotas,
	} {
		api.Register(forUsers)
		api.Register(forServices)
	}
	reports.RegisterInternal(forServices)
	quotas.RegisterInternal(forServices)
	usersAPI.RegisterInternal(forServices)
	apps.RegisterInternal(forServices)
	signs := grants.Signs{Tokens: p.Issuer, Identities: token.NewBackendIdentities(p.Issuer.URL(), p.IdentityKeys, p.Now)}
	grants.New(p.Store, p.Changes, signs, apikey.Declared(), p.Now).RegisterInternal(forServices)
	access.New(p.Changes).RegisterInternal(forServices)
	change.Register(p.Changes, forUsers, forServices)
}

// Resource returns the resource that a row of the store is, for the audit log; nil for any
// other value.
func Resource(row any) proto.Message {
	switch row := row.(type) {
	case store.User:
		return users.Resource(row)
	case store.SigningKey:
		return oauth2.Resource(row)
	case store.QuotaUse:
		return quota.Resource(row)
	default:
		return applications.Resource(row)
	}
}

// Rules says who may call which method. Handlers check what a user may do to a
// given resource.
func Rules() identity.Rules {
	rules := change.Rules()
	for _, more := range []identity.Rules{
		users.Rules(), oauth2.Rules(), applications.Rules(), usage.Rules(), quota.Rules(), grants.Rules(), access.Rules(),
	} {
		maps.Copy(rules, more)
	}
	return rules
}
