package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// callers is how many show one ticket at once.
const callers = 100

// TestTicketOfAFleet has 100 callers show one ticket at once, to three gateways that ask two
// replicas of the subscription service: one of them is in, whichever gateway has sold it. Its
// record has the ref that the buyer was told.
func TestTicketOfAFleet(t *testing.T) {
	f := startFleet(t, "postgres", local("TIDEGATE_GATEWAY_MAX_HANDSHAKE_RATE", "1000"))
	f.twins = true
	for _, process := range []string{"subscription2", "catalog2", "gateway2"} {
		f.start(process)
	}
	f.twins = false
	f.start("gateway3") // it asks the first replica
	for _, process := range []string{"subscription2", "catalog2", "gateway2", "gateway3"} {
		f.ready(process)
	}
	w := &world{fleet: f, conn: f.dial("portal:9090", "")}
	ctx := w.signedIn()
	var served atomic.Int32
	w.publish(ctx, echoBackend(t, func(string) { served.Add(1) }), &catalogv1.Version{Plans: []string{unlimited}, Security: []*catalogv1.SecurityScheme{
		{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
			{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
		}}}},
	}})
	w.subscribe(ctx, "Pages", unlimited)
	token := w.token()
	gateways := []string{"gateway", "gateway2", "gateway3"}
	for _, seller := range gateways {
		served.Store(0)
		ticket, ref := w.buy(seller, token)
		var in, refused atomic.Int32
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				conn, answer, err := websocket.Dial(t.Context(), "ws://"+w.port(gateways[i%len(gateways)]+":9099")+"/echo/1.0.0?ticket="+url.QueryEscape(ticket), nil) //nolint:bodyclose // Dial has read the body
				switch {
				case err == nil:
					in.Add(1)
					if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
						t.Error(err)
					}
					if _, _, err := conn.Read(t.Context()); err != nil {
						t.Error(err)
					}
					_ = conn.Close(websocket.StatusNormalClosure, "")
				case answer != nil && answer.StatusCode == http.StatusUnauthorized:
					refused.Add(1)
				default:
					t.Errorf("a caller: %v", err)
				}
			})
		}
		all.Wait()
		if in.Load() != 1 || refused.Load() != callers-1 || served.Load() != 1 {
			t.Errorf("a ticket of %s: %d are in, %d refused, and the backend has served %d", seller, in.Load(), refused.Load(), served.Load())
		}
		w.eventually("the session is recorded with the ref of the ticket", func() error {
			record, err := usagev1.NewUsageServiceClient(w.conn).GetSessionRecord(ctx, &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref})
			if err == nil && record.GetInbound().GetMessages() != 1 {
				t.Errorf("the record %s = %v, want that of the session", ref, record)
			}
			return err
		})
	}
	w.renewTicketsSession(ctx, token)
}

// renewTicketsSession renews a session that a ticket of one gateway opens at another, which its ref
// does not say: at a third one, and at the portal.
func (w *world) renewTicketsSession(ctx context.Context, token string) {
	ticket, ref := w.buy("gateway", token)
	conn, _, err := websocket.Dial(w.t.Context(), "ws://"+w.port("gateway2:9099")+"/echo/1.0.0?ticket="+url.QueryEscape(ticket), nil) //nolint:bodyclose // Dial has read the body
	must(w.t, err)
	defer func() { _ = conn.CloseNow() }()
	next := w.token()
	if status, body := w.own("gateway3", http.MethodPost, "/-/sessions/"+ref+"/credential", next); status != http.StatusOK {
		w.t.Errorf("renewal of a ticket's session at another gateway = %d %s", status, body)
	}
	sessions := gatewayv1.NewSessionServiceClient(w.conn)
	renewed, err := sessions.RenewSession(ctx, &gatewayv1.RenewSessionRequest{Name: "gateways/-/sessions/" + ref, Credential: token})
	if err != nil || renewed.GetName() != "gateways/gateway2/sessions/"+ref || renewed.GetExpireTime() == nil {
		w.t.Errorf("RenewSession = %v, %v, want it renewed at gateway2", renewed, err)
	}
	_, err = sessions.RenewSession(ctx, &gatewayv1.RenewSessionRequest{Name: "gateways/-/sessions/" + ref, Credential: "garbage"})
	if status.Code(err) != codes.NotFound {
		w.t.Errorf("RenewSession with garbage = %v, want NOT_FOUND", err)
	}
	live, err := sessions.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: "gateways/-/sessions/" + ref})
	if err != nil || live.GetRenewals() != 2 {
		w.t.Errorf("the session = %v, %v, want it renewed twice", live, err)
	}
}

// buy buys a ticket for the version at a gateway.
func (w *world) buy(gateway, token string) (ticket, ref string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://"+w.port(gateway+":8099")+"/-/tickets?path=/echo/1.0.0&lifetime=120", nil)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	var answer struct{ Ticket, Ref, Code, Detail string }
	w.eventually("the gateway sells tickets", func() error { // it may not be able to ask yet
		res, err := w.http.Do(req)
		must(w.t, err)
		defer res.Body.Close()
		must(w.t, json.NewDecoder(res.Body).Decode(&answer))
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s %s", res.Status, answer.Code, answer.Detail)
		}
		return nil
	})
	return answer.Ticket, answer.Ref
}
