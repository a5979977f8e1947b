package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

const (
	// revokedOne is how often one token among all is revoked, and revokedAll how often all are.
	revokedOne = 200
	revokedAll = 5
	// revokedTokens is how many tokens the sessions share that are closed at once.
	revokedTokens = 50
)

// closes are what a measurement of revocations has found: how long each session took from the
// start of the call until its client has read the close frame.
type closes []time.Duration

// quantile returns the time that a share of the closes took at most.
func (c closes) quantile(share float64) time.Duration {
	slices.Sort(c)
	return c[min(int(share*float64(len(c))), len(c)-1)]
}

// revocations measures how fast sessions are closed whose credentials are revoked: one among
// cfg.Revoked, and all of them at once.
func (r *runner) revocations(ctx context.Context, services string, out io.Writer) error {
	if err := buildTidegate(ctx, services); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(services, "run-")
	if err != nil {
		return fmt.Errorf("make a folder for the services: %w", err)
	}
	defer os.RemoveAll(dir)
	s := &stack{dir: dir, postgres: r.cfg.Postgres}
	t, stop, err := s.startTarget(ctx, r.backend, none, 1)
	defer stop()
	if err != nil {
		return err
	}
	conn, err := dialService(s.revokeAt)
	if err != nil {
		return err
	}
	defer conn.Close()
	if ctx, err = signedIn(ctx, conn); err != nil {
		return err
	}
	m := &revoking{conn: conn, target: t, subscriber: s.subscriber}
	one, err := m.one(ctx, r.cfg.Revoked, revokedOne)
	if err != nil {
		return err
	}
	all, err := m.all(ctx, r.cfg.Revoked, revokedAll)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "From the start of a revocation until the client has read the close frame; %d sessions on one gateway, %s\n\n", r.cfg.Revoked, s.engine())
	printRow(w, "what", "p50", "p99", "longest")
	printRow(w, "---", "---", "---", "---")
	for _, row := range []struct {
		what string
		took closes
	}{{fmt.Sprintf("one session, %d times", revokedOne), one}, {fmt.Sprintf("all at once, %d times", revokedAll), all}} {
		printRow(w, row.what, millis(row.took.quantile(0.5)), millis(row.took.quantile(0.99)), millis(row.took.quantile(1)))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// revoking opens sessions of an application and revokes their tokens.
type revoking struct {
	conn       *grpc.ClientConn // subscription's gRPC for users
	target     *target
	subscriber subscriber
}

// token issues another token, and returns the target as its clients reach it.
func (m *revoking) token(ctx context.Context) (string, *target, error) {
	issued, err := oauth2v1.NewOAuth2ServiceClient(m.conn).IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: m.subscriber.credentials,
	})
	if err != nil {
		return "", nil, err
	}
	t := *m.target
	t.header = "Authorization: Bearer " + issued.GetAccessToken() + "\r\n"
	return issued.GetAccessToken(), &t, nil
}

// open opens n sessions that share tokens.
func (m *revoking) open(ctx context.Context, n, tokens int) ([]*client, error) {
	var clients []*client
	for left := tokens; left > 0; left-- {
		_, t, err := m.token(ctx)
		if err != nil {
			return clients, err
		}
		more, err := dialAll(ctx, t, (n-len(clients))/left)
		if clients = append(clients, more...); err != nil {
			return clients, err
		}
	}
	return clients, nil
}

// one revokes the token of one session, some times, while there are n more.
func (m *revoking) one(ctx context.Context, n, times int) (took closes, err error) {
	others, err := m.open(ctx, n-1, min(revokedTokens, n-1))
	defer drop(others)
	if err != nil {
		return nil, err
	}
	for range times {
		token, t, err := m.token(ctx)
		if err != nil {
			return nil, err
		}
		c, err := dial(ctx, t)
		if err != nil {
			return nil, err
		}
		more, err := m.revoke(ctx, []*client{c}, &subscriptionv1.RevokeRequest{Token: token})
		c.conn.Close()
		if err != nil {
			return nil, err
		}
		took = append(took, more...)
	}
	return took, nil
}

// all revokes all tokens of the application, under which n sessions are open.
func (m *revoking) all(ctx context.Context, n, times int) (took closes, err error) {
	for range times {
		clients, err := m.open(ctx, n, min(revokedTokens, n))
		if err == nil {
			var more closes
			more, err = m.revoke(ctx, clients, &subscriptionv1.RevokeRequest{Name: m.subscriber.application})
			took = append(took, more...)
		}
		drop(clients)
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// revoke revokes, and waits until each of the clients has read a close frame.
func (m *revoking) revoke(ctx context.Context, clients []*client, req *subscriptionv1.RevokeRequest) (closes, error) {
	took, errs := make(closes, len(clients)), make(chan error, len(clients))
	var reading, waiting sync.WaitGroup
	began := make(chan time.Time)
	waiting.Add(len(clients))
	for i, c := range clients {
		reading.Go(func() {
			waiting.Done()
			err := c.conn.SetReadDeadline(time.Now().Add(time.Minute))
			if err == nil {
				err = c.readClose()
			}
			read := time.Now()
			if took[i] = read.Sub(<-began); err != nil {
				errs <- fmt.Errorf("a session is not closed after its token was revoked: %w", err)
			}
		})
	}
	waiting.Wait()
	start := time.Now()
	_, err := subscriptionv1.NewRevocationServiceClient(m.conn).Revoke(ctx, req)
	for range clients {
		began <- start
	}
	reading.Wait()
	close(errs)
	if err == nil {
		err = <-errs
	}
	return took, err
}

// readClose reads frames until one is a close. Frames of a gateway are not masked, and those
// before a close are pings, which are short.
func (c *client) readClose() error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return err
		}
		if _, err := c.r.Discard(int(head[1] & 0x7f)); err != nil {
			return err
		}
		if head[0] == 0x88 {
			return nil
		}
	}
}
