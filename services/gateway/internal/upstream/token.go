package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendtoken"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

const (
	// tokenTime is how long a token endpoint may take.
	tokenTime = 5 * time.Second
	// maxToken is the greatest number of bytes in a token.
	maxToken = 8192
)

// Authorize sets what r's endpoint gets as Authorization where its connection has a
// credential, and fetches an access token for that if it has to. Its error is an *Error of the
// kind NoToken, or the cause of ctx once ctx has ended.
func (d *Dialer) Authorize(ctx context.Context, r *Request) error {
	c := r.Endpoint.Connection
	switch {
	case !c.HasCredential():
		return nil
	case c.Token == nil:
		r.Authorization = c.Authorization
		return nil
	}
	token, err := c.Token.Get(ctx, d.fetching(c))
	if err != nil {
		return failed(ctx, err, NoToken)
	}
	r.Authorization = bearer + token
	return nil
}

// bearer is what stands before a token.
const bearer = "Bearer "

// Renewed reports whether what went wrong with r may go well now, because r has another token
// than the one that was refused. dropped is why it has none.
func (d *Dialer) Renewed(ctx context.Context, r *Request, err error) (again bool, dropped error) {
	e, ok := errors.AsType[*Error](err)
	c := r.Endpoint.Connection
	if !ok || e.Kind != NotAuthorized || c == nil || c.Token == nil {
		return false, nil
	}
	refused := r.Authorization
	if !c.Token.Drop(strings.TrimPrefix(refused, bearer)) {
		return false, nil
	}
	switch err := d.Authorize(ctx, r); {
	case errors.Is(err, ErrTooSlow): // the backend has answered in its time: it is not what is slow
		return false, &Error{Kind: NoToken, err: errors.New("the token endpoint did not answer in the backend's time for the handshake")}
	case err != nil:
		return false, err
	}
	return r.Authorization != refused, nil
}

// fetching returns what gets tokens from the token endpoint of a connection: under the
// address rules for backends, and through the connection's proxy.
func (d *Dialer) fetching(c *routes.Connection) backendtoken.Fetch {
	return func(ctx context.Context, client backendtoken.Client) (backendtoken.Token, error) {
		ctx, cancel := context.WithTimeout(ctx, tokenTime)
		defer cancel()
		cfg := clientcredentials.Config{
			ClientID: client.ID, ClientSecret: client.Secret, TokenURL: client.URL, Scopes: strings.Fields(client.Scopes), AuthStyle: oauth2.AuthStyleInHeader,
		}
		if client.InBody {
			cfg.AuthStyle = oauth2.AuthStyleInParams
		}
		if client.Audience != "" {
			cfg.EndpointParams = url.Values{"audience": {client.Audience}}
		}
		token, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, d.asking(c, client.URL)))
		switch {
		case err != nil:
			return backendtoken.Token{}, &Error{Kind: NoToken, err: wordsOfToken(err)}
		case len(token.AccessToken) > maxToken || strings.ContainsFunc(token.AccessToken, func(c rune) bool { return c <= ' ' || c > '~' }):
			return backendtoken.Token{}, &Error{Kind: NoToken, err: errors.New("the token endpoint's answer has no token that can stand in a header")}
		}
		return backendtoken.Token{Value: token.AccessToken, Expiry: token.Expiry}, nil
	}
}

// asking returns a client for one request to a token endpoint. It follows no redirect: the
// secret of the OAuth client is for this endpoint alone.
func (d *Dialer) asking(c *routes.Connection, tokenURL string) *http.Client {
	name := ""
	if u, err := url.Parse(tokenURL); err == nil {
		name = u.Hostname()
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return d.reach(ctx, c, address, func(Step) {})
			},
			TLSClientConfig:        d.beside(c, name),
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: int64(d.heads.Max()),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// wordsOfToken says why there is no token, for the log and the version's owner: with nothing
// of the answer but its status and an error that RFC 6749 has, and without the URL.
func wordsOfToken(err error) error {
	var proxy *proxyError
	var address *addressError
	var answered *oauth2.RetrieveError
	var timeout net.Error
	switch {
	case errors.As(err, &answered):
		switch answered.ErrorCode {
		case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
			return fmt.Errorf("the token endpoint answered %d (%s)", answered.Response.StatusCode, answered.ErrorCode)
		}
		if answered.Response.StatusCode >= 200 && answered.Response.StatusCode < 300 {
			return errors.New("the token endpoint's answer has no token")
		}
		return fmt.Errorf("the token endpoint answered %d", answered.Response.StatusCode)
	case errors.As(err, &proxy):
		return errors.New("on the way to the token endpoint " + proxy.words)
	case errors.As(err, &address):
		return errors.New("the token endpoint's address is not allowed here")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return errors.New("the token endpoint did not answer in time")
	case errors.Is(err, context.Canceled):
		return errors.New("the token endpoint was not waited for")
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return errors.New("the token endpoint cannot be reached, or its certificate is not trusted")
	}
	return errors.New("the token endpoint's answer has no token")
}
