package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// ticketed are the schemes by which a version takes access tokens and API keys at their
// usual places, and tickets.
func ticketed() []*catalogv1.SecurityScheme {
	keys := apiKeys()
	keys.GetApiKey().Places = []*catalogv1.CredentialPlace{
		{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "apikey"}}},
		{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
	}
	return []*catalogv1.SecurityScheme{tokens(), keys}
}

// buy buys a ticket for a product with a header; the error has the code of a refusal.
func (s *Stack) buy(t *testing.T, x *product, headers ...string) (ticket, ref string, err error) {
	t.Helper()
	to := strings.Replace(s.WSS, "wss", "https", 1) + "/-/tickets?" + url.Values{"path": {x.path}, "lifetime": {"120"}}.Encode()
	req, err := http.NewRequestWithContext(within(t), http.MethodPost, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.http(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Ticket, Ref, Code string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return "", "", errors.New(answer.Code)
	}
	return answer.Ticket, answer.Ref, nil
}

// TestTickets buys tickets with a token and with an API key, on both engines. A session
// rests on what bought its ticket; where a key is good from is asked of who buys, and never
// of who spends.
func TestTickets(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Ticketed", newBackend(t))
		p.secure(t, x, ticketed()...)
		token := p.accessToken(t, x)
		key := p.apiKey(t, x, func(k *subscriptionv1.APIKey) { k.PermittedReferers = []string{"https://shop.example.com/*"} })
		var conns []*websocket.Conn
		for _, with := range [][]string{{"Authorization", "Bearer " + token}, {"apikey", key.GetKey(), "Referer", "https://shop.example.com/basket"}} {
			var ticket, ref string
			eventually(t, func() (err error) { // the gateway hears of the place
				ticket, ref, err = s.buy(t, x, with...)
				return err
			})
			if status, _, body := s.own(t, http.MethodGet, "/-/sessions?path="+x.path+"&ticket="+ticket, ""); status != http.StatusUnauthorized {
				t.Errorf("a list of sessions with a ticket = %d %s, want 401, and the ticket not spent", status, body)
			}
			conn, status := s.open(t, s.WS+x.path+"?ticket="+ticket)
			if conn == nil {
				t.Fatalf("a ticket bought with %s = %d", with[0], status)
			}
			echo(t, conn, websocket.MessageText, "hello")
			if _, status := s.open(t, s.WS+x.path+"?ticket="+ticket); status != http.StatusUnauthorized {
				t.Errorf("a ticket that is spent = %d, want 401", status)
			}
			eventually(t, func() error {
				list, err := p.sessions.ListSessions(p.ctx(t), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: `version = "` + x.version.GetName() + `"`})
				for _, live := range list.GetSessions() {
					if strings.HasSuffix(live.GetName(), "/"+ref) {
						return err
					}
				}
				return fmt.Errorf("no session has the ref %s: %v, %w", ref, list, err)
			})
			conns = append(conns, conn)
		}
		if _, _, err := s.buy(t, x, "apikey", key.GetKey()); err == nil || err.Error() != "REFERER_REFUSED" {
			t.Errorf("a key buys from no page: %v, want REFERER_REFUSED", err)
		}

		// What makes gateways read the grants again ends neither.
		_, err := p.apps.UpdateApplication(p.ctx(t), &subscriptionv1.UpdateApplicationRequest{
			Application: &subscriptionv1.Application{Name: x.app.GetName(), Plan: p.plan(t, "Silver")}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			list, err := p.sessions.ListSessions(p.ctx(t), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: `application = "` + x.app.GetName() + `"`})
			if err != nil || len(list.GetSessions()) != len(conns) {
				return fmt.Errorf("the sessions are %v, %w", list, err)
			}
			for _, live := range list.GetSessions() {
				if live.GetApplicationPlan() != p.plan(t, "Silver") {
					return fmt.Errorf("%s has not the new plan yet", live.GetName())
				}
			}
			return nil
		})
		for _, conn := range conns {
			echo(t, conn, websocket.MessageText, "still there")
		}
		if _, err := p.keys.DeleteAPIKey(p.ctx(t), &subscriptionv1.DeleteAPIKeyRequest{Name: key.GetName()}); err != nil {
			t.Fatal(err)
		}
		endsWith(t, "the session of the key's ticket", conns[1], 4001)
		echo(t, conns[0], websocket.MessageText, "hello")
	})
}
