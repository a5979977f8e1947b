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
)

// sessionRenewCmd gives a live session another token, at any gateway.
type sessionRenewCmd struct {
	Address string `arg:"" help:"The session's version, such as EchoWebSocket/1.0.0, or its ws:// or wss:// URL, at whichever gateway."`
	Session string `arg:"" help:"The session's ref, or its name, gateways/…/sessions/…."`
	Token   string `placeholder:"@FILE" help:"The new access token: @FILE, or - for the first line of standard input ($$TIDEGATE_TOKEN)."`
	App     string `placeholder:"APP" help:"Get the token for this application, whose OAuth client was created on this machine."`
	Sandbox bool   `help:"With --app: get a token for the sandbox endpoint."`
	Portal  string `placeholder:"URL" help:"With --app: the portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
}

// renewedSession is what a gateway answers to a renewal.
type renewedSession struct {
	Ref        string     `json:"ref"`
	ExpireTime *time.Time `json:"expireTime,omitempty"`
	Scopes     []string   `json:"scopes"`
}

// Run renews the session's credential.
func (c *sessionRenewCmd) Run(ctx context.Context, s *shell) error {
	if c.App != "" && c.Token != "" && c.Token != s.env("TIDEGATE_TOKEN") {
		return usagef("--token and --app: give one of them")
	}
	connect := connectCmd{Address: c.Address, Token: c.Token, App: c.App, Sandbox: c.Sandbox, Portal: c.Portal}
	target, err := connect.target(ctx, s)
	if err != nil {
		return err
	}
	token, err := connect.accessToken(ctx, s)
	if err != nil {
		return err
	}
	if token == "" {
		return usagef("--app or --token: one of them is needed")
	}
	ref := c.Session[strings.LastIndexByte(c.Session, '/')+1:]
	renewed := &renewedSession{}
	if err := s.atGateway(ctx, target, "/-/sessions/"+url.PathEscape(ref)+"/credential", nil, token, renewed); err != nil {
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

// atGateway posts to an endpoint of its own of the gateway at an address, with a token, and
// reads the answer into a value.
func (s *shell) atGateway(ctx context.Context, target *url.URL, path string, query url.Values, token string, into any) error {
	at := url.URL{Scheme: strings.Replace(target.Scheme, "ws", "http", 1), Host: target.Host, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	cl, err := s.dial() // makes no call, but knows which authorities to trust
	if err != nil {
		return err
	}
	shown := at.Scheme + "://" + at.Host + at.Path
	res, err := cl.http().Do(req)
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
