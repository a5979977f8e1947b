package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// sessionRenewCmd gives a live session another credential, at any gateway or through the server.
type sessionRenewCmd struct {
	Address string `arg:"" help:"The session's version, such as EchoWebSocket/1.0.0, or its ws:// or wss:// URL, at whichever gateway."`
	Session string `arg:"" help:"The session's ref, or its name, gateways/…/sessions/…."`
	Token   string `placeholder:"@FILE" help:"The new access token: @FILE, or - for the first line of standard input ($$TIDEGATE_TOKEN)."`
	Key     string `placeholder:"@FILE" help:"The new value of the session's API key: @FILE, or - for the first line of standard input ($$TIDEGATE_API_KEY)."`
	App     string `placeholder:"APP" help:"Get the token for this application, whose OAuth client was created on this machine."`
	Sandbox bool   `help:"With --app: get a token for the sandbox endpoint."`
	Portal  string `placeholder:"URL" help:"With --app: the portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
	By      string `enum:"gateway,server" default:"gateway" placeholder:"WHOM" help:"Whom to ask: gateway (the default), or server, as the user who is signed in, where no gateway can be reached from here."`
}

// renewedSession is what a session has after a renewal.
type renewedSession struct {
	Ref        string     `json:"ref"`
	ExpireTime *time.Time `json:"expireTime,omitempty"`
	Scopes     []string   `json:"scopes"`
}

// Run renews the session's credential.
func (c *sessionRenewCmd) Run(ctx context.Context, s *shell) error {
	connect := connectCmd{Address: c.Address, Token: c.Token, Key: c.Key, App: c.App, Sandbox: c.Sandbox, Portal: c.Portal}
	target, err := connect.target(ctx, s)
	if err != nil {
		return err
	}
	shown, err := connect.shown(ctx, s)
	if err != nil {
		return err
	}
	renewed := &renewedSession{}
	if c.By == "server" {
		renewed, err = c.byServer(ctx, s, shown)
	} else {
		ref := c.Session[strings.LastIndexByte(c.Session, '/')+1:]
		err = s.atGateway(ctx, target, "/-/sessions/"+url.PathEscape(ref)+"/credential", nil, shown, renewed)
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printValue(renewed)
	}
	expires := "never"
	if renewed.ExpireTime != nil {
		expires = renewed.ExpireTime.Local().Format(time.RFC3339)
	}
	return s.printFields([2]string{"Renewed", renewed.Ref}, [2]string{"Credential expires", expires}, [2]string{"Scopes", strings.Join(renewed.Scopes, " ")})
}

// byServer renews the session through the portal.
func (c *sessionRenewCmd) byServer(ctx context.Context, s *shell, shown credential) (*renewedSession, error) {
	cl, err := s.dial()
	if err != nil {
		return nil, err
	}
	resp, err := cl.sessions.RenewSession(ctx, &gatewayv1.RenewSessionRequest{Name: sessionName(c.Session), Credential: shown.value})
	if err != nil {
		return nil, err
	}
	renewed := &renewedSession{Ref: resp.GetName()[strings.LastIndexByte(resp.GetName(), '/')+1:], Scopes: append([]string{}, resp.GetScopes()...)}
	if t := resp.GetExpireTime(); t != nil {
		at := t.AsTime()
		renewed.ExpireTime = &at
	}
	return renewed, nil
}

// credential is an access token or an API key, and the header that gateways take it in.
type credential struct{ value, header, text string }

// shown returns the token or the API key that is given, or the token of the application. There
// must be one of them.
func (c *connectCmd) shown(ctx context.Context, s *shell) (credential, error) {
	if c.App != "" && c.Token != "" && c.Token != s.env("TIDEGATE_TOKEN") {
		return credential{}, usagef("--token and --app: give one of them")
	}
	key, err := s.given(ctx, "--key", c.Key, "TIDEGATE_API_KEY")
	if err != nil {
		return credential{}, err
	}
	token, err := c.accessToken(ctx, s)
	switch {
	case err != nil:
		return credential{}, err
	case token != "" && key != "":
		return credential{}, usagef("--key: is instead of a token: give one of them")
	case key != "":
		return credential{key, "apikey", key}, nil
	case token != "":
		return credential{token, "Authorization", "Bearer " + token}, nil
	}
	return credential{}, usagef("--app, --token or --key: one of them is needed")
}

// atGateway posts to an endpoint of its own of the gateway at an address, with a credential, and
// reads the answer into a value.
func (s *shell) atGateway(ctx context.Context, target *url.URL, path string, query url.Values, with credential, into any) error {
	at := url.URL{Scheme: strings.Replace(target.Scheme, "ws", "http", 1), Host: target.Host, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set(with.header, with.text)
	cl, err := s.dial() // makes no call, but knows which authorities to trust
	if err != nil {
		return err
	}
	shown := at.Scheme + "://" + at.Host + at.Path
	ask := cl.http()
	// No gateway leads elsewhere, and the credential goes to nobody else.
	ask.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := ask.Do(req)
	if err != nil {
		return s.unreachable(shown, "", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refusal(shown, res, true)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(into); err != nil {
		return fmt.Errorf("%s did not answer as a gateway does", shown)
	}
	return nil
}
