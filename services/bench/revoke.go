package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// Close codes that sessions end with.
const (
	codeRevoked  = 4001
	codeOperator = 4010
)

// oneByOne is how many sessions end one by one in a round, while all the others go on.
const oneByOne = 40

// place is a Tidegate whose sessions are ended by calls.
type place struct {
	name     string // in the table
	target   *target
	conn     *grpc.ClientConn // where users call
	password string           // of the administrator
	made     published
	// portal tells that users call the portal, which also closes sessions and counts them.
	portal bool
}

// end is a way in which sessions end: by one call.
type end struct {
	name  string        // in the table; with a verb for the number of sessions where it is all
	most  time.Duration // what its 99th percentile is to reach
	code  uint16        // of the close frames
	whole bool          // it ends all sessions, and not one
	// portal says that only the portal has the call.
	portal bool
	// call ends sessions, one with a token, and returns how many it says to have ended, -1
	// if it does not.
	call func(ctx context.Context, p *place, token string) (int, error)
}

// ends are the ways in which sessions end here, in the order in which they are measured.
func ends() []end {
	return []end{
		{name: "Revoke, the token of one session", most: 100 * time.Millisecond, code: codeRevoked, call: func(ctx context.Context, p *place, token string) (int, error) {
			return p.revoke(ctx, &subscriptionv1.RevokeRequest{Token: token})
		}},
		{name: "CloseSessions, the version's", most: 500 * time.Millisecond, code: codeOperator, whole: true, portal: true, call: func(ctx context.Context, p *place, _ string) (int, error) {
			resp, err := gatewayv1.NewSessionServiceClient(p.conn).CloseSessions(ctx, &gatewayv1.CloseSessionsRequest{Parent: "gateways/-", Version: p.made.versions[0]})
			if len(resp.GetSilentGateways()) > 0 {
				return -1, err
			}
			return int(resp.GetClosedSessions()), err
		}},
		{name: "Revoke, the application", most: 500 * time.Millisecond, code: codeRevoked, whole: true, call: func(ctx context.Context, p *place, _ string) (int, error) {
			return p.revoke(ctx, &subscriptionv1.RevokeRequest{Name: p.made.application})
		}},
	}
}

// revoke calls Revoke. Only the portal waits for the gateways and counts.
func (p *place) revoke(ctx context.Context, req *subscriptionv1.RevokeRequest) (int, error) {
	resp, err := subscriptionv1.NewRevocationServiceClient(p.conn).Revoke(ctx, req)
	if !p.portal || len(resp.GetSilentGateways()) > 0 {
		return -1, err
	}
	return int(resp.GetClosedSessions()), err
}

// underRevocation measures in one process on SQLite, and with two replicas on Postgres if
// there is one, and prints the table.
func (r *runner) underRevocation(ctx context.Context, built string, server *testdb.Server, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "From a call until the clients have read the close frame, %d live sessions, each with a token of its own; %d rounds\n\n", r.cfg.Revoked, r.cfg.Rounds)
	printRow(w, "call", "where", "ends", "calls", "p50", "p99", "most", "p99 to reach")
	printRow(w, slices.Repeat([]string{"---"}, 8)...)
	if err := r.inProcess(ctx, built, func(p *place) error { return r.revoked(ctx, p, w) }); err != nil {
		return err
	}
	if server != nil {
		err := r.inStack(ctx, built, setup{gateways: 1, replicas: 2, database: server.Database}, func(s *stack, t *target, made published) error {
			conn, err := dialService(s.signIn)
			if err != nil {
				return err
			}
			defer conn.Close()
			return r.revoked(ctx, &place{name: "two replicas, " + postgres, target: t, conn: conn, password: password, made: made}, w)
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// revoked does all rounds in one place and prints a row for each way in which sessions end.
func (r *runner) revoked(ctx context.Context, p *place, w io.Writer) error {
	all := slices.DeleteFunc(ends(), func(e end) bool { return e.portal && !p.portal })
	found := make([][]time.Duration, len(all))
	for n := range r.cfg.Rounds {
		r.log.Info("revoke", "where", p.name, "round", n+1, "of", r.cfg.Rounds)
		if err := p.round(ctx, &r.cfg, all, found); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for i, e := range all {
		times := found[i]
		slices.Sort(times)
		calls, sessions := len(times), 1
		if e.whole {
			calls, sessions = r.cfg.Rounds, r.cfg.Revoked
		}
		printRow(w, e.name, p.name, fmt.Sprint(sessions), fmt.Sprint(calls),
			millis(times[len(times)/2]), millis(times[len(times)*99/100]), millis(times[len(times)-1]), millis(e.most))
	}
	return nil
}

// millis prints a time in milliseconds.
func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// holder is a session and what it rests on.
type holder struct {
	*client
	token string
}

// round ends sessions in each of these ways and adds how long it took for each.
func (p *place) round(ctx context.Context, cfg *Config, all []end, found [][]time.Duration) error {
	ctx, err := signedIn(ctx, p.conn, p.password) // anew: a token is short-lived
	if err != nil {
		return err
	}
	var live []holder
	defer func() {
		for _, h := range live {
			h.conn.Close()
		}
	}()
	for i, e := range all {
		missing := cfg.Revoked - len(live)
		if !e.whole {
			missing += oneByOne
		}
		more, err := p.open(ctx, max(missing, 0))
		live = append(live, more...)
		if err != nil {
			return err
		}
		for len(live) > 0 && (e.whole || len(live) > cfg.Revoked) {
			some := live
			if !e.whole {
				some = live[:1]
			}
			times, err := p.end(ctx, e, some)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			found[i] = append(found[i], times...)
			live = live[len(some):]
		}
	}
	return nil
}

// open opens n sessions, each with a token of its own.
func (p *place) open(ctx context.Context, n int) ([]holder, error) {
	return makeAll(n, func() (holder, error) {
		token, err := issue(ctx, p.conn, p.made.client)
		if err != nil {
			return holder{}, err
		}
		as := *p.target
		as.header = "Authorization: Bearer " + token + "\r\n"
		c, err := dial(ctx, &as)
		return holder{c, token}, err
	})
}

// end ends sessions by one call, and returns how long it took from its start until each
// client had read its close frame. Clients answer the frame, as they do in use.
func (p *place) end(ctx context.Context, e end, sessions []holder) ([]time.Duration, error) {
	var wg sync.WaitGroup
	at, errs := make([]time.Time, len(sessions)), make([]error, len(sessions))
	for i, s := range sessions {
		if err := s.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return nil, err
		}
		wg.Go(func() {
			if at[i], errs[i] = s.readClose(e.code); errs[i] == nil {
				errs[i] = s.close()
			}
		})
	}
	began := time.Now()
	n, err := e.call(ctx, p, sessions[0].token)
	if err != nil {
		for _, s := range sessions {
			s.conn.Close()
		}
	}
	wg.Wait()
	if err := errors.Join(append([]error{err}, errs...)...); err != nil {
		return nil, err
	}
	if n >= 0 && n != len(sessions) {
		return nil, fmt.Errorf("the call says that %d sessions were ended, and not %d", n, len(sessions))
	}
	times := make([]time.Duration, len(sessions))
	for i := range sessions {
		if times[i] = at[i].Sub(began); times[i] <= 0 {
			return nil, errors.New("a session was ended before the call")
		}
	}
	return times, nil
}

// readClose reads a close frame with a code, before which nothing may come, and returns when
// it was there.
func (c *client) readClose(code uint16) (time.Time, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.r, head); err != nil {
		return time.Time{}, fmt.Errorf("read the close frame: %w", err)
	}
	at := time.Now()
	payload := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return at, fmt.Errorf("read the close frame: %w", err)
	}
	if head[0] != 0x88 || len(payload) < 2 || binary.BigEndian.Uint16(payload) != code {
		return at, fmt.Errorf("a session got the frame %x %q, and not a close frame with %d", head, payload, code)
	}
	return at, nil
}
