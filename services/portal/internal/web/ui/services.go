package ui

import (
	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// Services are the clients that pages call. The context of a Request carries the user's
// token and address; the services decide what the user may do.
type Services struct {
	Catalog       catalogv1.CatalogServiceClient
	DenyRules     catalogv1.DenyRuleServiceClient
	SignIns       identityv1.SignInServiceClient
	PageSignIns   backplanev1.PageSignInServiceClient
	Users         identityv1.UserServiceClient
	Security      identityv1.SecurityEventServiceClient
	Applications  subscriptionv1.ApplicationServiceClient
	APIKeys       subscriptionv1.APIKeyServiceClient
	Subscriptions subscriptionv1.SubscriptionServiceClient
	Tokens        subscriptionv1.TokenServiceClient
	Revocations   subscriptionv1.RevocationServiceClient
	OAuth2        oauth2v1.OAuth2ServiceClient
	SigningKeys   oauth2v1.SigningKeyServiceClient
	Usage         usagev1.UsageServiceClient
	Quotas        usagev1.QuotaServiceClient
	Sessions      gatewayv1.SessionServiceClient
	Endpoints     gatewayv1.EndpointServiceClient
	Changes       changev1.ChangeServiceClient
}

// NewServices returns the clients over the connections to the services, and to what the
// portal serves itself.
func NewServices(catalog, subscription, local grpc.ClientConnInterface) *Services {
	return &Services{
		Catalog:       catalogv1.NewCatalogServiceClient(catalog),
		DenyRules:     catalogv1.NewDenyRuleServiceClient(catalog),
		SignIns:       identityv1.NewSignInServiceClient(subscription),
		PageSignIns:   backplanev1.NewPageSignInServiceClient(subscription),
		Users:         identityv1.NewUserServiceClient(subscription),
		Security:      identityv1.NewSecurityEventServiceClient(subscription),
		Applications:  subscriptionv1.NewApplicationServiceClient(subscription),
		APIKeys:       subscriptionv1.NewAPIKeyServiceClient(subscription),
		Subscriptions: subscriptionv1.NewSubscriptionServiceClient(subscription),
		Tokens:        subscriptionv1.NewTokenServiceClient(subscription),
		Revocations:   subscriptionv1.NewRevocationServiceClient(local),
		OAuth2:        oauth2v1.NewOAuth2ServiceClient(subscription),
		SigningKeys:   oauth2v1.NewSigningKeyServiceClient(subscription),
		Usage:         usagev1.NewUsageServiceClient(subscription),
		Quotas:        usagev1.NewQuotaServiceClient(subscription),
		Sessions:      gatewayv1.NewSessionServiceClient(local),
		Endpoints:     gatewayv1.NewEndpointServiceClient(local),
		Changes:       changev1.NewChangeServiceClient(local),
	}
}
