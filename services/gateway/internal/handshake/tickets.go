package handshake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// TicketsPath is where clients buy tickets.
const TicketsPath = "/-/tickets"

// How long tickets are good, in seconds.
const (
	ticketSeconds     = 30
	mostTicketSeconds = 120
)

// Own answers a request for an endpoint of the gateway's own that is for clients; it
// returns nil where there is no such endpoint. It implements listener.Config.Own.
func (h *Handler) Own(ctx context.Context, r *listener.Request, method string) []byte {
	if r.Path != TicketsPath {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, r.Deadline)
	defer cancel()
	p := &purchase{attempt: attempt{Request: r, ref: ref.New(time.Now()), shown: credential.Handshake{Header: r.Header}}}
	ticket, err := h.sell(ctx, p, method)
	switch {
	case err != nil:
		refused := *h.problemOf(&p.attempt, err)
		refused.Header = append(p.cors(), refused.Header...)
		h.Log.Debug("no ticket", "client", r.Remote, "error", err)
		return refused.Response("", false)
	case ticket == nil: // the question of a browser, which it asks before
		return problem.Response(http.StatusOK, "text/plain; charset=utf-8", nil, false, append(p.cors(),
			head.Field{Name: "Access-Control-Allow-Methods", Value: http.MethodPost},
			head.Field{Name: "Access-Control-Allow-Headers", Value: "Authorization, apikey"},
			head.Field{Name: "Access-Control-Max-Age", Value: "600"})...)
	}
	text, _ := json.Marshal(ticket) // strings do not fail
	return problem.Response(http.StatusOK, "application/json", append(text, '\n'), false, p.cors()...)
}

// purchase is an attempt to buy a ticket: a handshake as far as it goes without one.
type purchase struct {
	attempt
	order grant.Order
	// reader is the origin of the page that asks and may read the answer; "" for none.
	reader string
}

// sold is the answer to who buys a ticket.
type sold struct {
	Ticket     string `json:"ticket"`
	ExpireTime string `json:"expireTime"`
	// Ref is that of the session that the ticket opens.
	Ref string `json:"ref"`
}

// sell judges the purchase as a handshake with this credential would be judged now, and
// buys the ticket. It returns nil where a browser asks whether it may.
func (h *Handler) sell(ctx context.Context, p *purchase, method string) (*sold, error) {
	if err := denied(h.Deny.Load().ByAddress(p.Remote.Addr())); err != nil {
		return nil, err
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	if err := h.offered(p); err != nil {
		return nil, err
	}
	switch method {
	case http.MethodPost:
	case http.MethodOptions:
		return nil, nil
	default:
		return nil, &problem.Problem{
			Status: http.StatusMethodNotAllowed, Code: problem.MethodNotAllowed, Detail: "the method must be POST",
			Header: []head.Field{{Name: "Allow", Value: "OPTIONS, POST"}},
		}
	}
	if err := h.admit(ctx, p); err != nil {
		return nil, err
	}
	ticket, err := h.Tickets.Buy(ctx, p.order)
	switch {
	case errors.Is(err, grant.ErrTickets):
		return nil, &problem.Problem{
			Status: http.StatusTooManyRequests, Code: problem.TicketsFull, Detail: err.Error(),
			Header: []head.Field{problem.RetryAfter(ticketSeconds * time.Second)},
		}
	case err != nil:
		return nil, refusedGrant(err)
	}
	return &sold{Ticket: ticket.Value, ExpireTime: ticket.Expires.UTC().Format(time.RFC3339Nano), Ref: p.ref}, nil
}

// read reads what is asked for from the query.
func (p *purchase) read() error {
	bad := func(format string, args ...any) error {
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: fmt.Sprintf(format, args...)}
	}
	asked, err := url.ParseQuery(p.Query)
	if err != nil {
		return bad("the query is malformed")
	}
	p.order = grant.Order{Ref: p.ref, Lifetime: ticketSeconds * time.Second}
	for name, values := range asked {
		value := values[0]
		switch {
		case len(values) > 1:
			return bad("a parameter is there twice")
		case name == "path":
		case name == "lifetime":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > mostTicketSeconds {
				return bad("lifetime: must be 1 to %d, in seconds", mostTicketSeconds)
			}
			p.order.Lifetime = time.Duration(n) * time.Second
		case name == "origin":
			if value == "" || len(value) > maxOrigin || strings.ContainsAny(value, " ,*") {
				return bad("origin: must be one origin, as https://app.example.com")
			}
			p.order.Origin = value
		case name == "client":
			if p.order.Clients, err = netaddr.ParseNetwork(value); err != nil {
				return bad("client: must be an address or a network without bits behind its prefix, such as 203.0.113.7 or 2001:db8::/64")
			}
		default:
			return bad("there are no other parameters than path, lifetime, origin and client") // one may be a credential
		}
	}
	if p.Path = asked.Get("path"); !strings.HasPrefix(p.Path, "/") {
		return bad("path: must be the path of the version at this gateway, such as /echo/1.0.0")
	}
	return nil
}

// offered finds the version of the purchase, which must take tickets. From then on the pages
// that it takes may read the answer; others get none.
func (h *Handler) offered(p *purchase) error {
	if !h.Routes.Loaded() {
		return unavailable(problem.NotReady, "the gateway has no routes yet", time.Second, nil)
	}
	m, err := h.Routes.Load().Match(p.AskedHost(), p.Path)
	if err != nil {
		return notFound(err.Error())
	}
	p.match, p.near, p.order.Version = m, m.Route.Shared(), m.Route.Name
	if err := p.origin(); err != nil {
		return err
	}
	if lines := p.Header["Origin"]; len(lines) == 1 {
		p.reader = lines[0]
	}
	if err := denied(h.Deny.Load().ByRoute(p.judged())); err != nil {
		return err
	}
	if err := p.served(); err != nil {
		return err
	}
	if !credential.TakesTickets(m.Route.Schemes) {
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: "the API takes no tickets: its version does not list the place ticket"}
	}
	return nil
}

// cors are the headers that let the page read the answer.
func (p *purchase) cors() []head.Field {
	if p.reader == "" {
		return []head.Field{{Name: "Vary", Value: "Origin"}}
	}
	return []head.Field{
		{Name: "Vary", Value: "Origin"}, {Name: "Access-Control-Allow-Origin", Value: p.reader},
		{Name: "Access-Control-Expose-Headers", Value: "Retry-After, WWW-Authenticate"},
	}
}

// admit judges the credential as a handshake's would be. It is not in the query, which is the
// order's.
func (h *Handler) admit(ctx context.Context, p *purchase) error {
	parts := []credential.Part{credential.Header, credential.Cookie}
	switch err := h.show(ctx, &p.attempt, parts...); {
	case err != nil:
		return err
	case p.grant == nil:
		return missing(credential.PlainSchemes(p.match.Route.Schemes, parts...))
	}
	p.order.Credential = p.taken.Credential
	return denied(h.Deny.Load().ByGrant(p.judged()))
}
