package cli

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// revokeCmd revokes credentials.
type revokeCmd struct {
	What  string `arg:"" optional:"" help:"What to revoke: an application, by its display name, or the resource name of an application, an OAuth client, a secret, an API key, a subscription or a token (grants/…)."`
	Token string `placeholder:"@FILE" help:"Instead of WHAT, a token by its value: @FILE, or - for standard input."`
	App   string `placeholder:"APP" help:"Of grants/…, the application that the token was issued to, or applications/try-out for a try-out token of yours; administrators may leave it out."`

	yesFlag `embed:""`
}

// tryOut stands for the application of try-out tokens, and is no application.
const tryOut = "applications/try-out"

// Run revokes, and prints what became of the live sessions.
func (c *revokeCmd) Run(ctx context.Context, s *shell) error {
	if (c.What == "") == (c.Token == "") {
		return usagef("WHAT or --token: one of them is needed")
	}
	if c.App != "" && !strings.HasPrefix(c.What, "grants/") {
		return usagef("--app: goes with grants/… only")
	}
	req := &subscriptionv1.RevokeRequest{Name: c.What}
	var err error
	if req.Token, err = s.given(ctx, "--token", c.Token, ""); err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	of := c.What
	switch {
	case c.What == "":
		of = "the token"
	case !strings.Contains(c.What, "/"):
		app, err := cl.application(ctx, "WHAT", c.What)
		if err != nil {
			return err
		}
		req.Name = app.GetName()
	case c.App == tryOut:
		req.Application = tryOut
	case c.App != "":
		app, err := cl.application(ctx, "--app", c.App)
		if err != nil {
			return err
		}
		req.Application = app.GetName()
	}
	err = s.confirm(ctx, c.Yes, "Revokes the credentials of "+of+" that were issued until now", func() []string {
		if !s.asks(c.Yes) {
			return nil // a script waits for nothing: what was closed is counted by those who close it
		}
		return []string{cl.sessionsUnder(ctx, req)}
	})
	if err != nil {
		return err
	}
	done, err := cl.revocations.Revoke(ctx, req)
	if absent(err) && c.What != "" {
		return unknown("WHAT", "application, OAuth client, secret, API key or subscription", c.What, "app list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(done)
	}
	if done.GetChange() == "" {
		return s.printFields([2]string{"Revoked", done.GetName()}, [2]string{"Note", "there was nothing left to revoke"})
	}
	return s.printFields(append([][2]string{{"Revoked", done.GetName()}}, closedFields(done)...)...)
}

// sessionsUnder is the number of live sessions that end with what is revoked, or what they are
// where that is not known.
func (c *client) sessionsUnder(ctx context.Context, req *subscriptionv1.RevokeRequest) string {
	name, field := req.GetName(), ""
	switch {
	case strings.Contains(name, "/secrets/"):
		field = "secret"
	case strings.Contains(name, "/oauthClients/"):
		field = "oauth_client"
	case strings.Contains(name, "/apiKeys/"):
		field = "api_key"
	case strings.HasPrefix(name, "applications/"):
		field = "application"
	case strings.HasPrefix(name, "subscriptions/"):
		field = "subscription"
	case strings.HasPrefix(name, "grants/"):
		field = "grant"
	default: // a value, or what is no name
		return "the live sessions under them"
	}
	return c.liveSessions(ctx, filter(field, name))
}

// closings is an answer that says what was closed.
type closings interface {
	GetClosedSessions() int64
	GetGateways() int32
	GetDuration() *durationpb.Duration
	GetSilentGateways() []string
}

// closedFields say which sessions were closed, and what is not known.
func closedFields(c closings) [][2]string {
	closed := "no session"
	if n := c.GetClosedSessions(); n > 0 {
		closed = fmt.Sprintf("%s on %s in %d ms", plural(uint64(n), "session"), plural(uint64(c.GetGateways()), "gateway"), c.GetDuration().AsDuration()/time.Millisecond)
	}
	fields := [][2]string{{"Closed", closed}}
	for _, name := range c.GetSilentGateways() {
		if called := path.Base(name); called != "-" {
			fields = append(fields, [2]string{"Silent", called + ": it closes its sessions when it hears of this"})
			continue
		}
		fields = append(fields, [2]string{"Silent", "it is not known which gateways there are: they close their sessions when they hear of this"})
	}
	return fields
}
