package gen_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"

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

// The way from nothing to a message through the gateway, against a Tidegate that
// "make run" has started: its administrator publishes an API in front of the sample's
// echo backend, and an application subscribes to it, gets a token and connects.
func Example() {
	answer, err := journey(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer)
	// Output: hello
}

func journey(ctx context.Context) (string, error) {
	ctx, conn, err := signedIn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	version, err := publish(ctx, conn, cmp.Or(os.Getenv("BACKEND"), "ws://localhost:9098"))
	if err != nil {
		return "", err
	}
	oauthClient, err := subscribe(ctx, conn, version)
	if err != nil {
		return "", err
	}
	token, err := oauth2v1.NewOAuth2ServiceClient(conn).IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: oauthClient,
	})
	if err != nil {
		return "", err
	}
	return talk(ctx, version.Addresses[0], token.AccessToken, "hello")
}

// signedIn connects to the server and signs in: calls with the context that it returns
// have the user's access token.
func signedIn(ctx context.Context) (context.Context, *grpc.ClientConn, error) {
	password, err := os.ReadFile(cmp.Or(os.Getenv("PASSWORD_FILE"), "tidegate-data/admin-password"))
	if err != nil {
		return nil, nil, err
	}
	trusted, err := trust()
	if err != nil {
		return nil, nil, err
	}
	server := cmp.Or(os.Getenv("TIDEGATE_SERVER"), "localhost:9090")
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(credentials.NewTLS(trusted)))
	if err != nil {
		return nil, nil, err
	}
	me, err := identityv1.NewSignInServiceClient(conn).SignIn(ctx, &identityv1.SignInRequest{
		Username: "admin", Password: strings.TrimSpace(string(password)),
	})
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+me.AccessToken)
	return ctx, conn, nil
}

// trust returns a configuration for servers whose certificates an authority of your
// own has signed.
func trust() (*tls.Config, error) {
	ca, err := os.ReadFile(cmp.Or(os.Getenv("TIDEGATE_CA"), "tidegate-data/ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots}, nil
}

// publish makes an API in front of a backend and waits until gateways serve it.
func publish(ctx context.Context, conn *grpc.ClientConn, backend string) (*catalogv1.Version, error) {
	catalog := catalogv1.NewCatalogServiceClient(conn)
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
	applied, err := changev1.NewChangeServiceClient(conn).WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
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
func talk(ctx context.Context, address, token, message string) (string, error) {
	trusted, err := trust()
	if err != nil {
		return "", err
	}
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: trusted}},
	})
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
