package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/cli/internal/oauth"
	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/kit/samplefile"
)

// tokenFlags say which OAuth client asks for a token.
type tokenFlags struct {
	Sandbox    bool   `help:"Get a token for the sandbox endpoint."`
	ClientID   string `name:"client-id" placeholder:"ID" help:"The client_id of an OAuth client, instead of APP."`
	Secret     string `placeholder:"@FILE" help:"A secret of that OAuth client: @FILE, or - for standard input ($$TIDEGATE_CLIENT_SECRET)."`
	SecretFile string `placeholder:"FILE" help:"File with that secret."`
	Portal     string `placeholder:"URL" help:"The portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
}

// tokenCmd gets or revokes a token.
type tokenCmd struct {
	App        string `arg:"" optional:"" help:"An application whose OAuth client was created on this machine."`
	tokenFlags `embed:""`
	AsUser     bool   `help:"Get it as the user who is signed in, without a secret: with --api, for a version. It ends with the sign-in, after 15 minutes at most."`
	API        string `name:"api" placeholder:"API" help:"Get a token that is good there only: for an API or one of its versions, such as EchoWebSocket/1.0.0, or at an address as it is advertised."`
	Revoke     string `placeholder:"@FILE" help:"Revoke a token instead: @FILE, or - for standard input; its live sessions end. Needs no APP where the secret of its OAuth client is stored."`
}

// Run gets the token, or revokes one.
func (c *tokenCmd) Run(ctx context.Context, s *shell) error {
	if c.Revoke != "" && c.API != "" {
		return usagef("--api and --revoke: give one of them")
	}
	if c.AsUser {
		return c.asUser(ctx, s)
	}
	revoked, err := s.given(ctx, "--revoke", c.Revoke, "")
	if err != nil {
		return err
	}
	endpoint, who, err := c.endpoint(ctx, s, c.App, revoked)
	if err != nil {
		return err
	}
	if c.Revoke != "" {
		if err := endpoint.Revoke(ctx, who, revoked); err != nil {
			return s.portalError(endpoint.Portal, err)
		}
		if s.whole() {
			return s.printValue(map[string]bool{"revoked": true})
		}
		s.note("Revoked.")
		return nil
	}
	resource, err := c.resource(ctx, s)
	if err != nil {
		return err
	}
	token, err := endpoint.Token(ctx, who, resource)
	if err != nil {
		return s.portalError(endpoint.Portal, err)
	}
	return s.printToken(token)
}

// printToken prints a token, and says for how long it is good.
func (s *shell) printToken(token oauth.Token) error {
	if s.whole() {
		return s.printValue(token)
	}
	s.note("The token expires at %s.", time.Now().Add(token.Life()).Format(time.RFC3339))
	_, err := fmt.Fprintln(s.Stdout, token.AccessToken)
	return err
}

// asUser gets the token without a secret.
func (c *tokenCmd) asUser(ctx context.Context, s *shell) error {
	switch {
	case c.Revoke != "", c.ClientID != "", c.SecretFile != "", c.Secret != "" && c.Secret != s.env("TIDEGATE_CLIENT_SECRET"):
		return usagef("--as-user: needs no --client-id and no --secret, and revokes nothing: tidegate logout ends its tokens")
	case c.App == "" || c.API == "":
		return usagef("--as-user: give an application and, with --api, a version, such as EchoWebSocket/1.0.0")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "--api", c.API)
	if err != nil {
		return err
	}
	got, err := cl.tokens.IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{
		Application: app.GetName(), Version: v.GetName(), Stage: (&oauthClientFlags{Sandbox: c.Sandbox}).stage(),
	})
	if err != nil {
		return err
	}
	return s.printToken(oauth.Token{AccessToken: got.GetAccessToken(), Type: "Bearer", ExpiresIn: int64(time.Until(got.GetExpireTime().AsTime()).Seconds())})
}

// resource returns the address that the token is to be narrowed to, "" for none.
func (c *tokenCmd) resource(ctx context.Context, s *shell) (string, error) {
	if c.API == "" || strings.Contains(c.API, "://") {
		return c.API, nil
	}
	cl, err := s.dial()
	if err != nil {
		return "", err
	}
	return cl.addressOfAll(ctx, "--api", c.API)
}

// portalError adds what to try when the portal cannot be reached.
func (s *shell) portalError(portal string, err error) error {
	if _, refused := errors.AsType[*oauth.Error](err); refused {
		return err
	}
	if helpful := s.unreachable(portal, "--portal", err); !strings.HasPrefix(helpful.Error(), "cannot connect") {
		return helpful
	}
	return err
}

// endpoint returns the OAuth2 endpoints and the credentials: those of the flags, or
// of the application's OAuth client as stored, or of the one that a token to revoke was
// issued to.
func (f *tokenFlags) endpoint(ctx context.Context, s *shell, app, revoked string) (*oauth.Client, oauth.Credentials, error) {
	var none oauth.Credentials
	secret, err := f.secret(ctx, s)
	if err != nil {
		return nil, none, err
	}
	if (f.ClientID == "") != (secret == "") {
		return nil, none, usagef("--client-id and --secret (or --secret-file) go together")
	}
	if app != "" && f.ClientID != "" || app == "" && f.ClientID == "" && revoked == "" {
		return nil, none, usagef("give an application, or --client-id and --secret")
	}
	cl, err := s.dial()
	if err != nil {
		return nil, none, err
	}
	who, portal := oauth.Credentials{ClientID: f.ClientID, Secret: secret}, f.Portal
	switch {
	case app != "":
		who, err = f.stored(ctx, cl, app)
	case f.ClientID == "":
		who, err = cl.issuedTo(revoked)
	}
	if err != nil {
		return nil, none, err
	}
	if sample := cl.sample(); portal == "" && sample != nil && who.ClientID == sample.ClientID {
		portal = sample.Portal // where it is now; the issuer is where it was at the first start
	}
	if portal, err = cl.portal(ctx, portal); err != nil {
		return nil, none, err
	}
	return &oauth.Client{Portal: portal, HTTP: cl.http()}, who, nil
}

// portal returns the portal's URL: that of --portal, or else the server's issuer.
func (c *client) portal(ctx context.Context, given string) (string, error) {
	if given == "" {
		keys, err := c.oauth.GetJsonWebKeySet(ctx, &oauth2v1.GetJsonWebKeySetRequest{})
		if err != nil {
			return "", err
		}
		given = keys.GetIssuer()
	}
	if !strings.HasPrefix(given, "https://") {
		return "", usagef("--portal: %q is not an https:// URL", given)
	}
	return given, nil
}

// secret returns the secret that the flags give.
func (f *tokenFlags) secret(ctx context.Context, s *shell) (string, error) {
	const variable = "TIDEGATE_CLIENT_SECRET"
	fromEnvironment := f.Secret == s.env(variable)
	if f.SecretFile == "" {
		if f.ClientID == "" && fromEnvironment {
			return "", nil // it is for whoever gives --client-id
		}
		return s.given(ctx, "--secret", f.Secret, variable)
	}
	if f.Secret != "" && !fromEnvironment {
		return "", usagef("--secret and --secret-file: give one of them")
	}
	text, err := os.ReadFile(f.SecretFile)
	if err != nil {
		return "", fmt.Errorf("--secret-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// stored returns what is kept of an application's OAuth client: by the command that made
// it, or of the sample beside the authority's certificate, which needs no sign-in.
func (f *tokenFlags) stored(ctx context.Context, cl *client, app string) (oauth.Credentials, error) {
	sample := cl.sample()
	if f.Sandbox {
		sample = nil // it is for production
	}
	_, found, err := (&oauthClientFlags{App: app, Sandbox: f.Sandbox}).find(ctx, cl)
	if sample != nil && app == sample.App && hidden(err) {
		return oauth.Credentials{ClientID: sample.ClientID, Secret: sample.ClientSecret}, nil
	}
	if err != nil {
		return oauth.Credentials{}, err
	}
	known, err := cl.store.read()
	if err != nil {
		return oauth.Credentials{}, err
	}
	if kept, ok := known.server(cl.address).OAuthClients[found.GetName()]; ok {
		return oauth.Credentials{ClientID: kept.ClientID, Secret: kept.ClientSecret}, nil
	}
	if sample != nil && found.GetName() == sample.OAuthClient {
		return oauth.Credentials{ClientID: sample.ClientID, Secret: sample.ClientSecret}, nil
	}
	return oauth.Credentials{}, failed(codes.FailedPrecondition, "APP: no secret of %s is stored on this machine; give --client-id and --secret, or create another with: tidegate oauth-client secret create %s",
		app, quote.Word(app))
}

// sample returns the sample of the server, or nil.
func (c *client) sample() *samplefile.File { return samplefile.Of(c.address, c.trust.file) }

// hidden reports whether a look-up failed because nobody is signed in, or because who is
// does not see such a thing.
func hidden(err error) bool {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code == codes.Unauthenticated || f.code == codes.NotFound
	}
	st, ok := statusOf(err)
	return ok && (st.Code() == codes.Unauthenticated || st.Code() == codes.PermissionDenied)
}

// issuedTo returns what is kept of the OAuth client that a token was issued to: its
// client_id is in the token (RFC 9068).
func (c *client) issuedTo(token string) (oauth.Credentials, error) {
	var claims struct {
		ClientID string `json:"client_id"`
	}
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || len(parts) != 3 || json.Unmarshal(text, &claims) != nil || claims.ClientID == "" {
		return oauth.Credentials{}, errors.New("--revoke: this is not an access token of an application")
	}
	known, err := c.store.read()
	if err != nil {
		return oauth.Credentials{}, err
	}
	for _, kept := range known.server(c.address).OAuthClients {
		if kept.ClientID == claims.ClientID {
			return oauth.Credentials{ClientID: kept.ClientID, Secret: kept.ClientSecret}, nil
		}
	}
	if sample := c.sample(); sample != nil && sample.ClientID == claims.ClientID {
		return oauth.Credentials{ClientID: sample.ClientID, Secret: sample.ClientSecret}, nil
	}
	return oauth.Credentials{}, failed(codes.FailedPrecondition, "--revoke: no secret of the token's OAuth client is stored on this machine; give --client-id %s and --secret", quote.Word(claims.ClientID))
}
