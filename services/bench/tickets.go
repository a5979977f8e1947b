package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// unspent is how many tickets are bought before they are spent, at most: a credential may
// not have more.
const unspent = 1000

// expense is what one thing cost, in one round.
type expense struct {
	gateway, subscription float64 // nanoseconds of CPU
	p50, p99              time.Duration
}

// The rows of tickets, in their order.
const (
	withToken  = "handshake with a token"
	buying     = "a ticket bought"
	withTicket = "handshake with a ticket"
)

// underTickets measures what a ticket costs on SQLite, and on Postgres if there is one, and
// prints the table.
func (r *runner) underTickets(ctx context.Context, built string, server *testdb.Server, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "Tickets, %d clients at once, medians of %d rounds of %v\n\n", r.cfg.Dialers, r.cfg.Rounds, r.cfg.Span)
	printRow(w, "what", "database", "CPU, gateway", "CPU, subscription", "p50", "p99")
	printRow(w, slices.Repeat([]string{"---"}, 6)...)
	ways := map[string]func(context.Context) (string, error){sqlite: nil}
	if server != nil {
		ways[postgres] = server.Database
	}
	for _, database := range []string{sqlite, postgres} {
		way, ok := ways[database]
		if !ok {
			continue
		}
		err := r.inStack(ctx, built, setup{gateways: 1, database: way}, func(s *stack, t *target, made published) error {
			return r.sold(ctx, s, t, made.token, database, w)
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// sold does all rounds on one database and prints its rows.
func (r *runner) sold(ctx context.Context, s *stack, t *target, token, database string, w io.Writer) error {
	found := map[string][]expense{}
	for n := range r.cfg.Rounds {
		r.log.Info("tickets", "database", database, "round", n+1, "of", r.cfg.Rounds)
		if err := s.ticketRound(ctx, &r.cfg, t, token, found); err != nil {
			return fmt.Errorf("tickets on %s: %w", database, err)
		}
	}
	for _, what := range []string{withToken, buying, withTicket} {
		middle := func(f func(expense) float64) float64 {
			var vs []float64
			for _, e := range found[what] {
				vs = append(vs, f(e))
			}
			return median(vs)
		}
		printRow(w, what, database,
			micros(middle(func(e expense) float64 { return e.gateway })), micros(middle(func(e expense) float64 { return e.subscription })),
			micros(middle(func(e expense) float64 { return float64(e.p50) })), micros(middle(func(e expense) float64 { return float64(e.p99) })))
	}
	return nil
}

// ticketRound adds one round: handshakes with a token, tickets that are bought, and
// handshakes with these.
func (s *stack) ticketRound(ctx context.Context, cfg *Config, t *target, token string, found map[string][]expense) error {
	var tickets []string
	for _, step := range []struct {
		what string
		load func() ([][]time.Duration, error)
	}{
		{withToken, func() ([][]time.Duration, error) { return shake(ctx, cfg.Dialers, forSpan(cfg.Span, t)) }},
		{buying, func() (times [][]time.Duration, err error) {
			tickets, times, err = buyAll(ctx, cfg, t, token)
			return times, err
		}},
		{withTicket, func() ([][]time.Duration, error) {
			var next atomic.Int64
			return shake(ctx, cfg.Dialers, func() *target {
				i := int(next.Add(1)) - 1
				if i >= len(tickets) {
					return nil
				}
				as := *t
				as.path, as.header = ticketPath+"?ticket="+url.QueryEscape(tickets[i]), ""
				return &as
			})
		}},
	} {
		e, err := s.spent(step.load)
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		found[step.what] = append(found[step.what], e)
	}
	return nil
}

// spent runs load and returns what each of its turns cost the gateways and the subscription
// service.
func (s *stack) spent(load func() ([][]time.Duration, error)) (e expense, err error) {
	pids := func(ps []*process) (ids []int) {
		for _, p := range ps {
			ids = append(ids, p.cmd.Process.Pid)
		}
		return ids
	}
	before, err := cpuOf(pids(s.replicas))
	if err != nil {
		return expense{}, err
	}
	count := 0
	gateways := &target{procs: []func() []int{func() []int { return pids(s.gateways) }}}
	res, err := timed(gateways, 1, func() ([][]time.Duration, error) {
		times, err := load()
		for _, some := range times {
			count += len(some)
		}
		return times, err
	})
	if err != nil {
		return expense{}, err
	}
	after, err := cpuOf(pids(s.replicas))
	return expense{gateway: res.cost, subscription: float64(after-before) / float64(count), p50: res.p50, p99: res.p99}, err
}

// ticketPath is where a ticket opens.
const ticketPath = "/bench/3.0.0"

// buyAll buys tickets with a token for the span, but not more than a credential
// may have.
func buyAll(ctx context.Context, cfg *Config, t *target, token string) (tickets []string, times [][]time.Duration, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: cfg.Dialers}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	going := forSpan(cfg.Span, t)
	var begun atomic.Int64
	var mu sync.Mutex
	times, err = repeatedly(cfg.Dialers, func() (time.Duration, bool, error) {
		if going() == nil || begun.Add(1) > unspent {
			return 0, true, nil
		}
		began := time.Now()
		ticket, err := buy(ctx, web, t.addr, token)
		took := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			tickets = append(tickets, ticket)
		}
		return took, false, err
	})
	return tickets, times, err
}

// buy buys a ticket with a token.
func buy(ctx context.Context, web *http.Client, addr, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/-/tickets?lifetime=120&path="+url.QueryEscape(ticketPath), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := web.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var answer struct{ Ticket string }
	if err := json.Unmarshal(text, &answer); err != nil || answer.Ticket == "" {
		return "", fmt.Errorf("a ticket was answered %s: %s", res.Status, text)
	}
	return answer.Ticket, nil
}
