// Package rest serves the REST interface under /v1. grpc-gateway turns requests into
// calls. This package checks the requests first, so that every mistake is reported
// with its field, and gives every error the same shape. Rules about values and
// rights belong to the services.
package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/gen"
	catalogrest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/catalog/v1"
	changerest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/change/v1"
	gatewayrest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/gateway/v1"
	identityrest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/identity/v1"
	oauth2rest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/oauth2/v1"
	subscriptionrest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/subscription/v1"
	usagerest "github.com/tidegatehq/tidegate/gen/go/rest/tidegate/usage/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Services has the connections to the services, and what the portal serves itself.
type Services struct {
	Catalog, Subscription grpc.ClientConnInterface
	Changes               changev1.ChangeServiceServer
	Sessions              gatewayv1.SessionServiceServer
	Endpoints             gatewayv1.EndpointServiceServer
	Revocations           subscriptionv1.RevocationServiceServer
}

// Handler serves /v1.
type Handler struct {
	mux    *runtime.ServeMux
	routes routes
}

// New returns a handler that calls these services.
func New(ctx context.Context, s Services) (*Handler, error) {
	h := &Handler{}
	var err error
	h.routes, err = newRoutes(
		catalogv1.File_tidegate_catalog_v1_catalog_service_proto,
		catalogv1.File_tidegate_catalog_v1_deny_rule_service_proto,
		identityv1.File_tidegate_identity_v1_sign_in_service_proto,
		identityv1.File_tidegate_identity_v1_user_service_proto,
		identityv1.File_tidegate_identity_v1_security_event_service_proto,
		oauth2v1.File_tidegate_oauth2_v1_signing_key_service_proto,
		subscriptionv1.File_tidegate_subscription_v1_application_service_proto,
		subscriptionv1.File_tidegate_subscription_v1_api_key_service_proto,
		subscriptionv1.File_tidegate_subscription_v1_subscription_service_proto,
		subscriptionv1.File_tidegate_subscription_v1_token_service_proto,
		subscriptionv1.File_tidegate_subscription_v1_revocation_service_proto,
		usagev1.File_tidegate_usage_v1_usage_service_proto,
		usagev1.File_tidegate_usage_v1_quota_service_proto,
		gatewayv1.File_tidegate_gateway_v1_session_service_proto, gatewayv1.File_tidegate_gateway_v1_endpoint_service_proto,
		changev1.File_tidegate_change_v1_change_service_proto,
	)
	if err != nil {
		return nil, fmt.Errorf("read the REST routes: %w", err)
	}
	h.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithMetadata(trace),
		runtime.WithForwardResponseOption(func(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
			relay(ctx, w)
			return nil
		}),
		runtime.WithErrorHandler(handleError),
		runtime.WithRoutingErrorHandler(h.handleRoutingError),
		runtime.WithMiddlewares(h.check),
	)
	err = errors.Join(
		catalogrest.RegisterCatalogServiceHandlerClient(ctx, h.mux, catalogv1.NewCatalogServiceClient(s.Catalog)),
		catalogrest.RegisterDenyRuleServiceHandlerClient(ctx, h.mux, catalogv1.NewDenyRuleServiceClient(s.Catalog)),
		identityrest.RegisterSignInServiceHandlerClient(ctx, h.mux, identityv1.NewSignInServiceClient(s.Subscription)),
		identityrest.RegisterUserServiceHandlerClient(ctx, h.mux, identityv1.NewUserServiceClient(s.Subscription)),
		identityrest.RegisterSecurityEventServiceHandlerClient(ctx, h.mux, identityv1.NewSecurityEventServiceClient(s.Subscription)),
		oauth2rest.RegisterSigningKeyServiceHandlerClient(ctx, h.mux, oauth2v1.NewSigningKeyServiceClient(s.Subscription)),
		subscriptionrest.RegisterApplicationServiceHandlerClient(ctx, h.mux, subscriptionv1.NewApplicationServiceClient(s.Subscription)),
		subscriptionrest.RegisterAPIKeyServiceHandlerClient(ctx, h.mux, subscriptionv1.NewAPIKeyServiceClient(s.Subscription)),
		subscriptionrest.RegisterSubscriptionServiceHandlerClient(ctx, h.mux, subscriptionv1.NewSubscriptionServiceClient(s.Subscription)),
		subscriptionrest.RegisterTokenServiceHandlerClient(ctx, h.mux, subscriptionv1.NewTokenServiceClient(s.Subscription)),
		usagerest.RegisterUsageServiceHandlerClient(ctx, h.mux, usagev1.NewUsageServiceClient(s.Subscription)),
		usagerest.RegisterQuotaServiceHandlerClient(ctx, h.mux, usagev1.NewQuotaServiceClient(s.Subscription)),
		gatewayrest.RegisterSessionServiceHandlerServer(ctx, h.mux, s.Sessions),
		gatewayrest.RegisterEndpointServiceHandlerServer(ctx, h.mux, s.Endpoints),
		subscriptionrest.RegisterRevocationServiceHandlerServer(ctx, h.mux, s.Revocations),
		changerest.RegisterChangeServiceHandlerServer(ctx, h.mux, s.Changes),
	)
	if err != nil {
		return nil, fmt.Errorf("register the REST routes: %w", err)
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := checkAuthorization(r.Header); err != nil {
		writeError(w, r, err)
		return
	}
	h.mux.ServeHTTP(w, stripped(r))
}

// stripped returns the request with only the headers that are used here, and without
// the addresses, which would become metadata.
func stripped(r *http.Request) *http.Request {
	kept := http.Header{}
	for _, name := range append(upstream.TraceHeaders(), "Authorization", "Content-Type", "Content-Encoding") {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if values := r.Header.Values(name); len(values) > 0 {
			kept[name] = values
		}
	}
	s := r.WithContext(r.Context())
	s.Header, s.Host, s.RemoteAddr = kept, "", ""
	if s.Method == http.MethodHead {
		s.Method = http.MethodGet
	}
	return s
}

// checkAuthorization refuses an Authorization that cannot be passed on unchanged.
func checkAuthorization(h http.Header) error {
	values := h.Values("Authorization")
	if len(values) > 1 {
		return fault.Unauthenticated("the request carries more than one authorization")
	}
	if slices.ContainsFunc(values, func(v string) bool {
		return strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' })
	}) {
		return fault.Unauthenticated("the authorization must be Bearer, a space and a token")
	}
	return nil
}

// noHeader passes on no header. The mux passes on Authorization by itself.
func noHeader(string) (string, bool) { return "", false }

// trace returns the metadata that propagates a trace.
func trace(ctx context.Context, r *http.Request) metadata.MD {
	md, _ := metadata.FromOutgoingContext(upstream.WithTrace(ctx, r.Header))
	return md
}

// relay copies the name of the change from a service's answer.
func relay(ctx context.Context, w http.ResponseWriter) {
	if md, ok := runtime.ServerMetadataFromContext(ctx); ok {
		for _, v := range md.HeaderMD.Get(gen.ChangeHeader) {
			w.Header().Set(gen.ChangeHeader, v)
		}
	}
}

// marshaler writes all fields except unset messages, and refuses unknown fields.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}
}

// NewDecoder returns a decoder whose errors may be shown to callers. The checks of
// this package find nearly all mistakes before; for the rest there is one message.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	d := m.JSONPb.NewDecoder(r)
	return runtime.DecoderFunc(func(v any) error {
		err := d.Decode(v)
		if err == nil || errors.Is(err, io.EOF) {
			return err
		}
		return errors.New("the body does not fit this method")
	})
}
