package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// journey is the way from nothing to a message through the gateway, in Go. Its
// parameters are those of a Tidegate that is running; with "make run":
//
//	journey(ctx, "localhost:9090", "ws://localhost:9099", "ws://localhost:9098",
//		"tidegate-data/ca.pem", "tidegate-data/admin-password")
func journey(ctx context.Context, address, gateway, backend, caFile, passwordFile string) (string, error) {
	// Trust the authority, and sign in.
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return "", err
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	creds := credentials.NewTLS(&tls.Config{RootCAs: roots})
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	signIns := identityv1.NewSignInServiceClient(conn)
	me, err := signIns.SignIn(ctx, &identityv1.SignInRequest{Username: "admin", Password: strings.TrimSpace(string(password))})
	if err != nil {
		return "", err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+me.AccessToken)

	version, err := publish(ctx, catalogv1.NewCatalogServiceClient(conn), changev1.NewChangeServiceClient(conn), backend)
	if err != nil {
		return "", err
	}
	credentials, err := subscribe(ctx, conn, version)
	if err != nil {
		return "", err
	}
	token, err := oauth2v1.NewOAuth2ServiceClient(conn).IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: credentials,
	})
	if err != nil {
		return "", err
	}
	return talk(ctx, gateway+"/go/1.0.0", token.AccessToken, "hello")
}

// publish makes an API in front of a backend and waits until gateways serve it.
func publish(ctx context.Context, catalog catalogv1.CatalogServiceClient, changes changev1.ChangeServiceClient, backend string) (*catalogv1.Version, error) {
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{
		Api: &catalogv1.Api{DisplayName: "Echo by Go", Context: "/go"},
	})
	if err != nil {
		return nil, err
	}
	version, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.Name, Version: &catalogv1.Version{
		Version: "1.0.0",
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{
			{Endpoint: &catalogv1.Endpoint_Url{Url: backend}},
		}},
		Plans: []string{"plans/gold", "plans/silver"},
	}})
	if err != nil {
		return nil, err
	}
	var header metadata.MD // the name of the change, to wait for it
	version, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: version.Name}, grpc.Header(&header))
	if err != nil {
		return nil, err
	}
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	applied, err := changes.WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
	if err == nil && !applied.Applied {
		err = fmt.Errorf("not applied by %q yet", applied.PendingWatchers)
	}
	return version, err
}

// subscribe makes an application that may use the version, and what it gets
// tokens with.
func subscribe(ctx context.Context, conn *grpc.ClientConn, version *catalogv1.Version) (*oauth2v1.ClientCredentials, error) {
	apps := subscriptionv1.NewApplicationServiceClient(conn)
	app, err := apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: "Go app"},
	})
	if err != nil {
		return nil, err
	}
	_, err = subscriptionv1.NewSubscriptionServiceClient(conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{Subscription: &subscriptionv1.Subscription{
		Application: app.Name, Version: version.Name, Plan: "plans/gold",
	}})
	if err != nil {
		return nil, err
	}
	client, err := apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent:      app.Name,
		OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if err != nil {
		return nil, err
	}
	secret, err := apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent:            client.Name,
		OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	if err != nil {
		return nil, err
	}
	return &oauth2v1.ClientCredentials{ClientId: client.ClientId, ClientSecret: secret.Secret}, nil
}

// talk sends a message through the gateway and returns the answer. Any
// WebSocket client will do; this is github.com/coder/websocket.
func talk(ctx context.Context, url, token, message string) (string, error) {
	header := http.Header{"Authorization": {"Bearer " + token}}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // Dial reads it
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return "", err
	}
	_, answer, err := conn.Read(ctx)
	if err != nil {
		return "", err
	}
	return string(answer), conn.Close(websocket.StatusNormalClosure, "")
}

func storyGo(t *testing.T, s *Stack) {
	answer, err := journey(within(t), s.GRPC, s.WS, newBackend(t), s.CA, s.PasswordFile)
	if err != nil || answer != "hello" {
		t.Errorf("journey = %q, %v, want hello", answer, err)
	}
}
