// Package console has the page in which users speak to a version's WebSocket, and the
// socket behind it. The page cannot reach a gateway by itself: a browser lets it send no
// headers, shows it nothing of a refusal, and refuses another certificate without a word.
// So the page opens a socket to the portal, and the portal one to a gateway:
//
//	page ── envelopes in JSON ──► portal ── messages ──► gateway
//	     ◄───────────────────────        ◄──────────────
//
// The socket is for one connection to a gateway. It begins with the page's command open
// and ends with the event closed, refused or failed. The gateway is the one that the
// catalog advertises for the version; what the page says decides what is sent to it, and
// never where. Neither side is read while the other does not take what was read before.
package console

import (
	"context"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

//go:embed templates
var files embed.FS

// Config is what the console needs.
type Config struct {
	// Services are called.
	Services *ui.Services
	// Key seals renewals.
	Key *seal.Key
	// Dial, if set, connects to the gateway, whatever the address of a version.
	Dial func(context.Context) (net.Conn, error)
	// Roots returns those of the gateways' certificates; nil means those of the system.
	Roots func() *x509.CertPool
	// Authority is as in devportal.Routes.
	Authority string
	// Log gets what goes wrong.
	Log *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// mostSockets is how many sockets one sign-in has at once.
const mostSockets = 4

// Console has the sockets. It is safe for concurrent use.
type Console struct {
	Config
	ctx  context.Context // ends with Run
	stop context.CancelCauseFunc

	mu      sync.Mutex
	sockets map[string]int // by sign-in
	running sync.WaitGroup
	stopped bool
}

// New returns the console. Its sockets end when Run does.
func New(cfg Config) *Console {
	ctx, stop := context.WithCancelCause(context.Background())
	return &Console{Config: cfg, ctx: ctx, stop: stop, sockets: map[string]int{}}
}

// Run waits until ctx ends. Then it ends all sockets, and waits for that.
func (c *Console) Run(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.stop(ending{code: 1001, reason: "the portal stops"})
	c.running.Wait()
	return nil
}

// enter takes one of the sockets of a sign-in, which leave gives back.
func (c *Console) enter(signIn string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return fault.Unavailable("the portal stops")
	case c.sockets[signIn] >= mostSockets:
		return fault.Exhausted("there are %d consoles connected already: disconnect one", mostSockets)
	}
	c.sockets[signIn]++
	c.running.Add(1)
	return nil
}

// leave gives back what enter took.
func (c *Console) leave(signIn string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sockets[signIn]--; c.sockets[signIn] == 0 {
		delete(c.sockets, signIn)
	}
	c.running.Done()
}

// access is a user's access token within a sign-in.
type access struct {
	Token   string `json:"t"`
	SignIn  string `json:"s"`
	Expires int64  `json:"e"` // in seconds
}

// on returns a context for calls with the token.
func (a *access) on(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.Token)
}

// accessOf reads the token of a viewer. It comes from the sealed cookie, so that its
// signature is the services' matter.
func accessOf(v *ui.Viewer) (access, error) {
	parts := strings.Split(v.Token, ".")
	var claims identity.UserClaims
	if len(parts) == 3 {
		if text, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(text, &claims) == nil && claims.Expiry != nil {
			return access{Token: v.Token, SignIn: v.Name + "/" + claims.SignIn, Expires: int64(*claims.Expiry)}, nil
		}
	}
	return access{}, fault.Unauthenticated("sign in again")
}

// renewalPurpose is what renewals are sealed for.
const renewalPurpose = "tidegate console"

// renewal seals the token of a sign-in that was refreshed, for the page to hand it to the
// socket, which may be another replica's.
func (c *Console) renewal(a access) (string, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(c.Key.Seal(text, []byte(renewalPurpose))), nil
}

// redeem reads a renewal.
func (c *Console) redeem(renewal string) (a access, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(renewal)
	if err != nil {
		return a, false
	}
	text, err := c.Key.Open(sealed, []byte(renewalPurpose))
	return a, err == nil && json.Unmarshal(text, &a) == nil
}

// gatewayOf returns which of the version's addresses the portal dials: one on this host, or one
// with TLS, or else the first. Those of virtual hosts, which may lead to gateways for clients
// only, are the last choice. It is empty where there is none.
func gatewayOf(v *catalogv1.Version) string {
	virtual := map[string]bool{}
	for _, a := range v.GetFurtherAddresses() {
		for _, address := range a.GetAddresses() {
			virtual[address] = a.GetHost() != ""
		}
	}
	best, points := "", -1
	for _, address := range v.GetAddresses() {
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		p := 1
		switch {
		case virtual[address]:
			p = 0
		case u.Scheme == "ws" && loopback(u.Hostname()):
			p = 3
		case u.Scheme == "wss":
			p = 2
		}
		if p > points {
			best, points = address, p
		}
	}
	return best
}

// loopback reports whether a host is this one.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
