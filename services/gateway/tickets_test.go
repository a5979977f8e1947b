package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// ticket is what the plane has of one.
type ticket struct {
	order   *backplanev1.IssueTicketRequest
	attempt string // that has spent it
	lose    int    // answers that are lost after it is spent
}

// IssueTicket is the subscription service's.
func (p *plane) IssueTicket(_ context.Context, req *backplanev1.IssueTicketRequest) (*backplanev1.IssueTicketResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens[req.GetCredential()] == nil {
		denial := &backplanev1.Denial{Reason: backplanev1.Denial_REASON_INVALID}
		return &backplanev1.IssueTicketResponse{Verdict: &backplanev1.IssueTicketResponse_Denial{Denial: denial}}, nil
	}
	if req.GetOrigin() == "https://full.example" {
		return nil, status.Error(codes.ResourceExhausted, "too many")
	}
	value := fmt.Sprintf("ticket-%d", len(p.tickets)+1)
	p.tickets[value] = &ticket{order: req}
	return &backplanev1.IssueTicketResponse{Verdict: &backplanev1.IssueTicketResponse_Ticket_{Ticket: &backplanev1.IssueTicketResponse_Ticket{
		Value: value, ExpireTime: timestamppb.New(time.Now().Add(req.GetLifetime().AsDuration())),
	}}}, nil
}

// spend answers for a ticket. The lock is held.
func (p *plane) spend(req *backplanev1.VerifyCredentialRequest, asOf uint64) (*backplanev1.VerifyCredentialResponse, error) {
	resp := &backplanev1.VerifyCredentialResponse{AsOfChangeNumber: asOf, ServerTime: timestamppb.Now()}
	deny := func(reason backplanev1.Denial_Reason) (*backplanev1.VerifyCredentialResponse, error) {
		resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{Reason: reason, Application: "applications/a"}}
		return resp, nil
	}
	t := p.tickets[req.GetCredential()]
	switch {
	case t == nil || t.order.GetVersion() != req.GetVersion():
		return deny(backplanev1.Denial_REASON_INVALID)
	case t.attempt != "" && t.attempt != req.GetAttempt():
		return deny(backplanev1.Denial_REASON_TICKET_SPENT)
	case t.order.GetOrigin() != "" && t.order.GetOrigin() != req.GetOrigin(), t.order.GetClientNetwork() != "" && t.order.GetClientNetwork() != req.GetClientAddress()+"/32":
		return deny(backplanev1.Denial_REASON_TICKET_ELSEWHERE)
	}
	t.attempt = req.GetAttempt()
	if t.lose > 0 {
		t.lose--
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	}
	g := grantOf(t.order.GetCredential(), p.tokens[t.order.GetCredential()], req.GetVersion())
	g.SessionRef = t.order.GetRef()
	resp.Verdict = &backplanev1.VerifyCredentialResponse_Grant{Grant: g}
	return resp, nil
}

// ticketed is a version that takes access tokens in a header, and tickets.
func (w *world) ticketed(version string) *backplanev1.Route {
	r := w.route(version)
	r.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
		{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "Authorization"}}},
		{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
	}}}}}
	return r
}

// askTickets sends a request to /-/tickets; headers are names and values in turn.
func (w *world) askTickets(method string, query url.Values, body string, headers ...string) (status int, header http.Header, text string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http"+strings.TrimPrefix(w.plain, "ws")+"/-/tickets?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Host = req.Header.Get("Host")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

// bought is the answer to who buys a ticket.
type bought struct {
	Ticket, Ref string
	ExpireTime  time.Time
}

// buy buys a ticket with a token.
func (w *world) buy(token string, query url.Values) (b bought) {
	w.t.Helper()
	got, header, text := w.askTickets(http.MethodPost, query, "", "Authorization", "Bearer "+token)
	if err := json.Unmarshal([]byte(text), &b); err != nil || got != http.StatusOK || b.Ticket == "" || len(b.Ref) != 20 {
		w.t.Fatalf("buy a ticket = %d %s, %v", got, text, err)
	}
	if header.Get("Cache-Control") != "no-store" || header.Get("Content-Type") != "application/json" {
		w.t.Errorf("the answer has the headers %v", header)
	}
	return b
}

// with dials a version with a query.
func (w *world) with(version, query string, headers ...string) (*websocket.Conn, int) {
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	c, resp, err := websocket.Dial(w.t.Context(), w.plain+"/x/"+version+"?"+query, &websocket.DialOptions{HTTPHeader: h}) //nolint:bodyclose // Dial has read the body
	if err != nil && resp == nil {
		w.t.Error(err)
		return nil, 0
	}
	return c, resp.StatusCode
}

// TestTickets buys a ticket and spends it: the session has the ref that was told, rests on
// the credential that bought it, and the backend sees nothing of the ticket.
func TestTickets(t *testing.T) {
	w := newWorld(t)
	queries := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		queries <- r.URL.RawQuery
		w.echo(rw, r)
	}))
	t.Cleanup(backend.Close)
	r := w.ticketed("1")
	r.Endpoints.Production = endpoint("ws" + strings.TrimPrefix(backend.URL, "http"))
	w.plane.put(r)
	token := w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	ticket := w.buy(token, url.Values{"path": {"/x/1"}, "lifetime": {"120"}})
	if until := time.Until(ticket.ExpireTime); until > 2*time.Minute || until < time.Minute {
		t.Errorf("the ticket is good for %v, want 2 minutes", until)
	}
	c, got := w.with("1", "a=1&ticket="+ticket.Ticket+"&b=2")
	if got != http.StatusSwitchingProtocols {
		t.Fatalf("dial with a ticket = %d", got)
	}
	defer func() { _ = c.CloseNow() }()
	echoes(t, c, "hello")
	if query := <-queries; query != "a=1&b=2" {
		t.Errorf("the backend gets the query %q", query)
	}
	api, ctx := w.sessions()
	list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
	if err != nil || len(list.GetSessions()) != 1 || list.GetSessions()[0].GetName() != "gateways/gateway-1/sessions/"+ticket.Ref {
		t.Errorf("the sessions are %v, %v, want one with the ref %s", list, err, ticket.Ref)
	}
	if _, got := w.with("1", "ticket="+ticket.Ticket); got != http.StatusUnauthorized {
		t.Errorf("dial with a ticket that is spent = %d, want 401", got)
	}
	w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/good")
	closes(t, c, 4001, "REVOKED")
}

// TestTicketsOfVirtualHosts buys a ticket at a virtual host, for a path there, as a page of the
// version's origins may. It is spent at any address of the version.
func TestTicketsOfVirtualHosts(t *testing.T) {
	w := newWorld(t)
	r := w.ticketed("1")
	r.AllowedOrigins = []string{"https://app.example"}
	r.FurtherAddresses = []*catalogv1.FurtherAddress{{Host: "chat.example.com", Addresses: []string{"ws://chat.example.com"}}}
	w.plane.put(r)
	token := w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	page := []string{"Host", "chat.example.com", "Origin", "https://app.example"}
	ask := append([]string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}, page...)
	if got, header, text := w.askTickets(http.MethodOptions, url.Values{"path": {"/room"}}, "", ask...); got != http.StatusOK || header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("a preflight = %d %v %s", got, header, text)
	}
	for _, at := range [][2]string{{"chat.example.com", "/room"}, {"gw.example.com", "/x/1"}} {
		got, header, text := w.askTickets(http.MethodPost, url.Values{"path": {"/room"}}, "", append([]string{"Authorization", "Bearer " + token}, page...)...)
		var b bought
		if err := json.Unmarshal([]byte(text), &b); err != nil || got != http.StatusOK || header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Fatalf("buy a ticket = %d %v %s, %v", got, header, text, err)
		}
		dial := &websocket.DialOptions{Host: at[0], HTTPHeader: http.Header{"Origin": {"https://app.example"}}}
		c, _, err := websocket.Dial(t.Context(), w.plain+at[1]+"?ticket="+b.Ticket, dial) //nolint:bodyclose // Dial has read the body
		if err != nil {
			t.Errorf("spend it at %v: %v", at, err)
			continue
		}
		echoes(t, c, "hello")
		_ = c.CloseNow()
	}
	if got, _, text := w.askTickets(http.MethodPost, url.Values{"path": {"/x/1"}}, "", append([]string{"Authorization", "Bearer " + token}, page...)...); got != http.StatusOK {
		t.Errorf("the whole host is the version's, so every path is: %d %s", got, text)
	}
	if got, _, text := w.askTickets(http.MethodPost, url.Values{"path": {"/room"}}, "", "Authorization", "Bearer "+token, "Host", "gw.example.com"); got != http.StatusNotFound {
		t.Errorf("a ticket for the path of another host = %d %s, want 404", got, text)
	}
}

// TestTicketIsSpentByOneCaller has 100 callers show one ticket at once.
func TestTicketIsSpentByOneCaller(t *testing.T) {
	w := newWorld(t)
	w.cfg.Grants.MaxLookups = 0 // of which each caller needs one
	w.plane.put(w.ticketed("1"))
	token := w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	ticket := w.buy(token, url.Values{"path": {"/x/1"}})
	var in atomic.Int32
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			c, got := w.with("1", "ticket="+ticket.Ticket)
			switch got {
			case http.StatusSwitchingProtocols:
				in.Add(1)
				_ = c.CloseNow()
			case http.StatusUnauthorized:
			default:
				t.Errorf("a caller gets %d, want 101 or 401", got)
			}
		})
	}
	callers.Wait()
	if n, served := in.Load(), w.served.Load(); n != 1 || served != 1 {
		t.Errorf("%d callers are in, and the backend has seen %d, want 1", n, served)
	}
}

// TestTicketOfALostAnswer: an attempt whose answer was lost asks again, and is in.
func TestTicketOfALostAnswer(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.ticketed("1"))
	token := w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	ticket := w.buy(token, url.Values{"path": {"/x/1"}})
	w.plane.mu.Lock()
	w.plane.tickets[ticket.Ticket].lose = 2
	w.plane.mu.Unlock()
	c, got := w.with("1", "ticket="+ticket.Ticket)
	if got != http.StatusSwitchingProtocols {
		t.Fatalf("dial with a ticket whose answer is lost = %d, want 101", got)
	}
	_ = c.CloseNow()
}

// TestTicketsAreRefused asks for tickets, and shows some, where there are none to be had.
func TestTicketsAreRefused(t *testing.T) {
	w := newWorld(t)
	listed, plain, hidden := w.ticketed("listed"), w.route("plain"), w.ticketed("hidden")
	listed.AllowedOrigins, hidden.State = []string{"https://app.example"}, catalogv1.Version_STATE_CREATED
	for _, r := range []*backplanev1.Route{w.ticketed("1"), listed, plain, hidden, w.open()} {
		w.plane.put(r)
	}
	good := "Bearer " + w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	for name, tt := range map[string]struct {
		method, query, body string
		headers             []string
		status              int
		code, detail, page  string // page: the origin that may read the answer
	}{
		"no path":             {query: "", status: 400, code: "BAD_REQUEST", detail: "path: must be the path"},
		"no version":          {query: "path=/none", status: 404, code: "NOT_FOUND"},
		"not published":       {query: "path=/x/hidden", status: 404, code: "NOT_FOUND"},
		"no place":            {query: "path=/x/plain", status: 400, code: "BAD_REQUEST", detail: "does not list the place ticket"},
		"no credential asked": {query: "path=/x/open", status: 400, code: "BAD_REQUEST", detail: "does not list the place ticket"},
		"no credential":       {query: "path=/x/1", headers: []string{"Authorization", ""}, status: 401, code: "CREDENTIAL_MISSING", detail: "the header Authorization: Bearer"},
		"a bad one":           {query: "path=/x/1", headers: []string{"Authorization", "Bearer bad"}, status: 401, code: "CREDENTIAL_INVALID"},
		"in the query":        {query: "path=/x/1&access_token=good", headers: []string{"Authorization", ""}, status: 400, code: "BAD_REQUEST", detail: "no other parameters"},
		"too long":            {query: "path=/x/1&lifetime=121", status: 400, code: "BAD_REQUEST", detail: "lifetime: must be 1 to 120"},
		"too short":           {query: "path=/x/1&lifetime=0", status: 400, code: "BAD_REQUEST", detail: "lifetime: must be 1 to 120"},
		"twice":               {query: "path=/x/1&lifetime=1&lifetime=2", status: 400, code: "BAD_REQUEST", detail: "a parameter is there twice"},
		"no network":          {query: "path=/x/1&client=here", status: 400, code: "BAD_REQUEST", detail: "client: must be"},
		"several origins":     {query: "path=/x/1&origin=https://a.example,https://b.example", status: 400, code: "BAD_REQUEST", detail: "origin: must be"},
		"too many":            {query: "path=/x/1&origin=https://full.example", status: 429, code: "TICKETS_FULL"},
		"a body":              {query: "path=/x/1", body: "{}", status: 400, code: "BAD_REQUEST", detail: "must not have a body"},
		"GET":                 {method: http.MethodGet, query: "path=/x/1", status: 405, code: "METHOD_NOT_ALLOWED", detail: "must be POST"},
		"a foreign page":      {query: "path=/x/listed", headers: []string{"Origin", "https://evil.example"}, status: 403, code: "ORIGIN_REFUSED"},
		"its question":        {method: http.MethodOptions, query: "path=/x/listed", headers: []string{"Origin", "https://evil.example"}, status: 403, code: "ORIGIN_REFUSED"},
		"a page reads why":    {query: "path=/x/listed", headers: []string{"Origin", "https://app.example", "Authorization", "Bearer bad"}, status: 401, code: "CREDENTIAL_INVALID", page: "https://app.example"},
	} {
		if tt.method == "" {
			tt.method = http.MethodPost
		}
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		got, header, text := w.askTickets(tt.method, query, tt.body, append([]string{"Authorization", good}, tt.headers...)...)
		var problem struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(text), &problem); err != nil || got != tt.status || problem.Code != tt.code || !strings.Contains(problem.Detail, tt.detail) {
			t.Errorf("%s: %d %s, %v, want %d %s with %q", name, got, text, err, tt.status, tt.code, tt.detail)
		}
		if got := header.Get("Access-Control-Allow-Origin"); got != tt.page {
			t.Errorf("%s: the answer is for the page %q, want %q", name, got, tt.page)
		}
	}
	got, h, _ := w.askTickets(http.MethodOptions, url.Values{"path": {"/x/listed"}}, "", "Origin", "https://app.example")
	if got != http.StatusOK || h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Allow-Methods") != "POST" ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Vary") != "Origin" {
		t.Errorf("the question of a page that may = %d, %v", got, h)
	}

	// A ticket is for what was asked for, and is not spent elsewhere.
	for name, tt := range map[string]struct {
		query   url.Values
		version string
		headers []string
		status  int
	}{
		"another version":      {url.Values{"path": {"/x/1"}}, "listed", nil, 401},
		"another page":         {url.Values{"path": {"/x/1"}, "origin": {"https://app.example"}}, "1", []string{"Origin", "https://evil.example"}, 401},
		"its page":             {url.Values{"path": {"/x/1"}, "origin": {"https://app.example"}}, "1", []string{"Origin", "https://app.example"}, 101},
		"another client":       {url.Values{"path": {"/x/1"}, "client": {"203.0.113.7"}}, "1", nil, 401},
		"its client":           {url.Values{"path": {"/x/1"}, "client": {"127.0.0.1"}}, "1", nil, 101},
		"a page not listed":    {url.Values{"path": {"/x/listed"}}, "listed", []string{"Origin", "https://evil.example"}, 403},
		"where no place is":    {url.Values{"path": {"/x/1"}}, "plain", nil, 401},
		"where none is needed": {url.Values{"path": {"/x/1"}}, "open", nil, 101},
	} {
		ticket := w.buy("good", tt.query)
		c, got := w.with(tt.version, "ticket="+ticket.Ticket, tt.headers...)
		if got != tt.status {
			t.Errorf("a ticket at %s = %d, want %d", name, got, tt.status)
		}
		if c != nil {
			_ = c.CloseNow()
		}
		w.plane.mu.Lock()
		spent := w.plane.tickets[ticket.Ticket].attempt != ""
		w.plane.mu.Unlock()
		if want := tt.status == 101 && tt.version != "open"; spent != want {
			t.Errorf("a ticket at %s is spent: %t, want %t", name, spent, want)
		}
	}
}
