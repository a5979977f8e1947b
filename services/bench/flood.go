package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// flood is what one address does beside the clients that are measured.
type flood struct {
	name string
	run  func(ctx context.Context, t *target)
}

// floodAddr is where floods come from. All of 127.0.0.0/8 is this machine on Linux;
// elsewhere the measurement is left out.
const floodAddr = "127.0.0.2"

// Sizes of the floods.
const (
	flooders    = 16
	silentConns = 2000
)

func floods() []flood {
	return []flood{
		{fmt.Sprintf("silent connections, %d", silentConns), silence},
		{fmt.Sprintf("made-up tokens, %d clients", flooders), madeUpTokens},
		{fmt.Sprintf("sign-ins, %d clients", flooders), guessPasswords},
	}
}

// underFlood measures how long clients with a token at one address wait for their 101,
// with floods from another address and without, in turns, and prints the ratios.
func (r *runner) underFlood(ctx context.Context, out io.Writer) error {
	conn, err := dialFlood(ctx, r.backend)
	if err != nil {
		r.log.Warn("floods left out", "reason", err)
		return nil
	}
	conn.Close()
	all := shapes()
	found := map[string][]float64{}
	for n := range r.cfg.Rounds {
		r.log.Info("measure beside floods", "round", n+1, "of", r.cfg.Rounds)
		if err := r.floodRound(ctx, all[len(all)-1], found); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "Tidegate's handshakes with a token, %d clients at once, beside a flood from another address\n\n", r.cfg.Dialers)
	printRow(w, "flood", "p99 with it to p99 without", "95 %")
	printRow(w, "---", "---", "---")
	for _, f := range floods() {
		ratio, between := ratioText(found[f.name])
		printRow(w, f.name, ratio, between)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// floodRound adds the ratios of one round, on processes of its own.
func (r *runner) floodRound(ctx context.Context, s shape, found map[string][]float64) error {
	for _, st := range r.starters {
		if st.name != tidegate {
			continue
		}
		t, stop, err := r.startOne(ctx, s, st)
		defer stop()
		if err != nil {
			return fmt.Errorf("start %s: %w", st.name, err)
		}
		for _, f := range floods() {
			quiet, err := handshakes(ctx, &r.cfg, t)
			if err != nil {
				return err
			}
			loud, err := beside(ctx, &r.cfg, t, f)
			if err != nil {
				return fmt.Errorf("a client with a token, beside %s: %w", f.name, err)
			}
			found[f.name] = append(found[f.name], float64(loud.p99)/float64(quiet.p99))
		}
	}
	return nil
}

// beside measures handshakes while a flood runs.
func beside(ctx context.Context, cfg *Config, t *target, f flood) (result, error) {
	flooding, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.run(flooding, t) })
	defer wg.Wait()
	defer stop()
	return handshakes(ctx, cfg, t)
}

// dialFlood connects from the address of floods.
func dialFlood(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(floodAddr)}, Timeout: time.Second}
	return d.DialContext(ctx, "tcp", addr)
}

// silence keeps connections open on which nothing is sent, and opens another for each
// that is closed.
func silence(ctx context.Context, t *target) {
	each(ctx, silentConns, func() {
		conn, err := dialFlood(ctx, t.addr)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	})
}

// madeUpTokens shows tokens with key ids that nobody has seen, as fast as they are
// refused.
func madeUpTokens(ctx context.Context, t *target) {
	each(ctx, flooders, func() {
		conn, err := dialFlood(ctx, t.addr)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		token := part(fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"}`, rand.Text())) + "." + part(`{}`) + "." + part(rand.Text()+rand.Text()+"123456789012")
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer %s\r\n\r\n", t.path, t.addr, token)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// guessPasswords signs in with wrong passwords, of the administrator and of names that
// nobody has, as fast as it is refused.
func guessPasswords(ctx context.Context, t *target) {
	conn, err := grpc.NewClient("passthrough:///"+t.signIn, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dialFlood))
	if err != nil {
		return
	}
	defer conn.Close()
	signIns := identityv1.NewSignInServiceClient(conn)
	each(ctx, flooders, func() {
		for _, name := range []string{"admin", rand.Text()} {
			_, _ = signIns.SignIn(ctx, &identityv1.SignInRequest{Username: name, Password: "a guess"})
		}
	})
}

// each has n goroutines do something again and again, with a pause, until ctx ends.
func each(ctx context.Context, n int, do func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				do()
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
}
