package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// local is what every fleet on this machine needs beside the samples.
func local(more ...string) map[string]string {
	env := map[string]string{
		"TIDEGATE_GATEWAY_DIAL_LOOPBACK": "true",
		"TIDEGATE_GATEWAY_REPORT_EVERY":  "200ms",
		"TIDEGATE_GATEWAY_DRAIN":         "1s",
	}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

// world is a published echo API on a fleet with a subscribed application.
type world struct {
	*fleet
	conn             *grpc.ClientConn // the portal's gRPC
	version          string
	app, sub         string
	clientID, secret string // of the application's OAuth client
}

// unlimited is a plan that bounds nothing.
const unlimited = "plans/unlimited"

// newWorld publishes a backend that echoes, under a plan that bounds nothing.
func newWorld(f *fleet) *world {
	f.t.Helper()
	w := &world{fleet: f, conn: f.dial("portal:9090", "")}
	ctx := w.signedIn()
	w.publish(ctx, echoBackend(f.t, func(string) {}), &catalogv1.Version{Plans: []string{unlimited}})
	w.subscribe(ctx, "Echo client", unlimited)
	return w
}

// publish publishes a version of a backend, and waits until gateways serve it.
func (w *world) publish(ctx context.Context, backend string, v *catalogv1.Version) {
	w.t.Helper()
	catalog := catalogv1.NewCatalogServiceClient(w.conn)
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}})
	must(w.t, err)
	v.Version = "1.0.0"
	v.Endpoints = &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}}}
	made, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: v})
	must(w.t, err)
	w.version = made.GetName()
	var header metadata.MD
	_, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: w.version}, grpc.Header(&header))
	must(w.t, err)
	w.applied(ctx, header)
}

// applied waits until the gateway has the change that a write's header names.
func (w *world) applied(ctx context.Context, header metadata.MD) {
	w.t.Helper()
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	answer, err := changev1.NewChangeServiceClient(w.conn).WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
	must(w.t, err)
	if !answer.GetApplied() {
		w.t.Fatalf("WaitChange(%q) = %v, want applied", change, answer)
	}
}

// subscribe makes an application and subscribes it under a plan.
func (w *world) subscribe(ctx context.Context, application, plan string) {
	w.t.Helper()
	apps := subscriptionv1.NewApplicationServiceClient(w.conn)
	app, err := apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: application},
	})
	must(w.t, err)
	client, err := apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	must(w.t, err)
	secret, err := apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	must(w.t, err)
	w.app, w.clientID, w.secret = app.GetName(), client.GetClientId(), secret.GetSecret()
	sub, err := subscriptionv1.NewSubscriptionServiceClient(w.conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{Subscription: &subscriptionv1.Subscription{
		Application: app.GetName(), Version: w.version, Plan: plan,
	}})
	must(w.t, err)
	w.sub = sub.GetName()
}

// signedIn returns a context with the administrator's token.
func (w *world) signedIn() context.Context {
	w.t.Helper()
	ctx := w.deadline()
	in, err := identityv1.NewSignInServiceClient(w.conn).SignIn(ctx,
		&identityv1.SignInRequest{Username: "admin", Password: adminPassword}, grpc.WaitForReady(true))
	must(w.t, err)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+in.GetAccessToken())
}

// token gets a token of the application at the portal's token endpoint.
func (w *world) token() string {
	w.t.Helper()
	return w.tokenAt("portal")
}

// tokenAt gets a token at one of several portals.
func (w *world) tokenAt(portal string) string {
	w.t.Helper()
	form := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://"+w.port(portal+":9443")+"/oauth2/token", form)
	must(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(w.clientID, w.secret)
	res, err := w.http.Do(req)
	must(w.t, err)
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		w.t.Fatalf("the token endpoint answered %s (%v), want a token", res.Status, err)
	}
	return answer.AccessToken
}

// connect opens a session with a token, over TLS where wss is set. A gateway
// that cannot ask what a token is good for yet, after a start, is tried again.
func (w *world) connect(token string, wss bool) (conn *websocket.Conn, err error) {
	w.t.Helper()
	return w.connectTo("gateway", token, wss)
}

// connectTo opens a session at one of several gateways.
func (w *world) connectTo(gateway, token string, wss bool) (conn *websocket.Conn, err error) {
	w.t.Helper()
	w.eventually("the gateway can ask", func() error {
		var status int
		if conn, status, err = w.tryConnect(gateway, token, wss); status == http.StatusServiceUnavailable {
			return err
		}
		return nil
	})
	return conn, err
}

func (w *world) tryConnect(gateway, token string, wss bool) (_ *websocket.Conn, status int, _ error) {
	address := "ws://" + w.port(gateway+":9099")
	if wss {
		address = "wss://" + w.port(gateway+":8099")
	}
	//nolint:bodyclose // the library documents that the body of this response need not be closed
	conn, res, err := websocket.Dial(w.t.Context(), address+"/echo/1.0.0", &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err == nil {
		w.t.Cleanup(func() { _ = conn.CloseNow() })
	}
	if res != nil {
		status = res.StatusCode
	}
	return conn, status, err
}

// usage sums what is reported for the subscription: messages in and out. It fails where
// minutes, hours and days do not say the same, as they may while reports come in.
func (w *world) usage(ctx context.Context) (in, out uint64, err error) {
	for i, step := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
		answer, err := usagev1.NewUsageServiceClient(w.conn).ListUsage(ctx, &usagev1.ListUsageRequest{
			Filter: fmt.Sprintf("subscription = %q", w.sub), Step: durationpb.New(step),
		})
		if err != nil {
			return 0, 0, err
		}
		var stepIn, stepOut uint64
		for _, u := range answer.GetUsage() {
			stepIn += u.GetInbound().GetMessages()
			stepOut += u.GetOutbound().GetMessages()
		}
		if i > 0 && (stepIn != in || stepOut != out) {
			return 0, 0, fmt.Errorf("spans of %v have %d messages in and %d out, longer ones %d and %d", step, stepIn, stepOut, in, out)
		}
		in, out = stepIn, stepOut
	}
	return in, out, nil
}

// wantUsage waits until exactly n messages are reported each way.
func (w *world) wantUsage(n uint64) {
	w.t.Helper()
	ctx := w.signedIn()
	w.eventually(fmt.Sprintf("%d messages are reported each way", n), func() error {
		in, out, err := w.usage(ctx)
		if err == nil && (in != n || out != n) {
			err = fmt.Errorf("%d in, %d out", in, out)
		}
		return err
	})
}

// echoBackend serves WebSocket echoes and returns its ws URL. took is told of each message
// before it goes back, by many goroutines at once.
func echoBackend(t *testing.T, took func(message string)) string {
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow() //nolint:errcheck // the session is over
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			took(string(message))
			if conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
