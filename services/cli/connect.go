package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

const (
	// handshakeTime is how long the gateway may take to answer.
	handshakeTime = 15 * time.Second
	// closeTime is how long the other side may take to answer a close.
	closeTime = 5 * time.Second
)

// connectCmd is an interactive WebSocket client.
type connectCmd struct {
	Address  string   `arg:"" help:"A ws:// or wss:// URL, or a version, such as EchoWebSocket/1.0.0, whose address is looked up."`
	Token    string   `placeholder:"@FILE" help:"Access token to send: @FILE, or - for the first line of standard input ($$TIDEGATE_TOKEN)."`
	Key      string   `placeholder:"@FILE" help:"API key to send in the header apikey: @FILE, or - for the first line of standard input ($$TIDEGATE_API_KEY)."`
	App      string   `placeholder:"APP" help:"Get a token for this application, whose OAuth client was created on this machine."`
	TryOut   bool     `help:"Get a token to try out a version of yours, before it is published too. It ends with the sign-in, after 15 minutes at most."`
	Sandbox  bool     `help:"With --app or --try-out: get a token for the sandbox endpoint."`
	Portal   string   `placeholder:"URL" help:"With --app: the portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
	Query    bool     `help:"Send the token as the query parameter access_token, or the API key as apikey, instead of in a header."`
	Place    string   `placeholder:"PLACE" help:"Where to send the token or the API key, as the version lists it: header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol or first-message."`
	Ticket   string   `placeholder:"@FILE" help:"Ticket to spend, as tidegate ticket prints it, instead of a token: @FILE, or - for the first line of standard input."`
	Protocol string   `placeholder:"NAMES" help:"Sub-protocols to offer, separated by commas."`
	Header   []string `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"Additional header, or @FILE with one in each line, which is the way for Authorization and Cookie; can be repeated."`
}

// Run connects, sends the lines of the input, and prints the messages that come.
func (c *connectCmd) Run(ctx context.Context, s *shell) error {
	switch given := c.Token != "" && c.Token != s.env("TIDEGATE_TOKEN"); {
	case c.App != "" && given:
		return usagef("--token and --app: give one of them")
	case c.TryOut && (c.App != "" || given):
		return usagef("--try-out: needs neither --app nor --token")
	case c.Query && c.Place != "":
		return usagef("--query and --place: give one of them")
	case c.TryOut && strings.Contains(c.Address, "://"):
		return usagef("--try-out: give a version, such as EchoWebSocket/1.0.0, instead of its address")
	}
	header, err := c.headers()
	if err != nil {
		return err
	}
	target, err := c.target(ctx, s)
	if err != nil {
		return err
	}
	ticket, err := s.given(ctx, "--ticket", c.Ticket, "")
	if err != nil {
		return err
	}
	token, err := c.accessToken(ctx, s)
	switch {
	case err != nil:
		return err
	case ticket != "" && (token != "" || c.TryOut):
		return usagef("--ticket: is instead of a token: give one of them")
	case ticket != "":
		addParameter(target, "ticket", ticket)
	}
	if c.TryOut {
		if token, err = c.tryOutToken(ctx, s); err != nil {
			return err
		}
	}
	key, err := s.given(ctx, "--key", c.Key, "TIDEGATE_API_KEY")
	if err != nil {
		return err
	}
	if token != "" && key != "" {
		return usagef("--key: is instead of a token: give one of them")
	}
	first, err := c.show(token, key, target, header)
	if err != nil {
		return err
	}
	conn, err := c.dial(ctx, s, target, header, token+key+ticket != "")
	if err != nil {
		return err
	}
	defer conn.Close()
	if first != "" {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(first)); err != nil {
			return errors.New("the connection broke before the first message")
		}
	}
	return s.talk(ctx, conn)
}

// accessToken returns the token that is given, or that of the application; "" for none.
func (c *connectCmd) accessToken(ctx context.Context, s *shell) (string, error) {
	if c.App == "" {
		return s.given(ctx, "--token", c.Token, "TIDEGATE_TOKEN")
	}
	endpoint, who, err := (&tokenFlags{Sandbox: c.Sandbox, Portal: c.Portal}).endpoint(ctx, s, c.App, "")
	if err != nil {
		return "", err
	}
	got, err := endpoint.Token(ctx, who, "")
	if err != nil {
		return "", s.portalError(endpoint.Portal, err)
	}
	return got.AccessToken, nil
}

// addParameter appends a parameter to the query of an address.
func addParameter(target *url.URL, name, value string) {
	query := name + "=" + url.QueryEscape(value)
	if target.RawQuery != "" {
		query = target.RawQuery + "&" + query
	}
	target.RawQuery = query
}

// tryOutToken gets a token to try out the version.
func (c *connectCmd) tryOutToken(ctx context.Context, s *shell) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.global.Timeout)
	defer cancel()
	cl, err := s.dial()
	if err != nil {
		return "", err
	}
	v, err := cl.version(ctx, "ADDRESS", c.Address)
	if err != nil {
		return "", err
	}
	got, err := cl.tokens.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{
		Version: v.GetName(), Stage: (&oauthClientFlags{Sandbox: c.Sandbox}).stage(),
	})
	return got.GetAccessToken(), err
}

// headers reads the flag -H.
func (c *connectCmd) headers() (http.Header, error) {
	header := http.Header{}
	for _, given := range c.Header {
		lines, err := headerLines(given)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			name, value, ok := strings.Cut(line, ":")
			name = strings.TrimSpace(name)
			switch {
			case ok && hasSecret(name) && line == given:
				return nil, usagef("--header: %s does not belong on the command line, where every user of this machine can read it: give a file with it, as @FILE", name)
			case !ok || name == "" || strings.ContainsAny(line, "\r\n"):
				return nil, usagef("--header: %q is not NAME:VALUE", line)
			}
			header.Add(name, strings.TrimSpace(value))
		}
	}
	return header, nil
}

// headerLines returns the headers of one -H: itself, or the lines of a file.
func headerLines(given string) ([]string, error) {
	path, ok := strings.CutPrefix(given, "@")
	if !ok {
		return []string{given}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--header: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// target returns the URL to connect to.
func (c *connectCmd) target(ctx context.Context, s *shell) (*url.URL, error) {
	address := c.Address
	if !strings.Contains(address, "://") {
		cl, err := s.dial()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, s.global.Timeout)
		defer cancel()
		if address, err = cl.addressOfVersion(ctx, "ADDRESS", address); err != nil {
			return nil, err
		}
		if address == "" {
			return nil, failed(codes.FailedPrecondition, "ADDRESS: the server has no address for %s; give a ws:// or wss:// URL", c.Address)
		}
	}
	target, err := url.Parse(address)
	if err == nil && target.Query().Has("access_token") {
		return nil, usagef("ADDRESS: a token does not belong on the command line, where every user of this machine can read it: give --token and --query")
	}
	if err == nil && target.Query().Has("ticket") {
		return nil, usagef("ADDRESS: a ticket does not belong on the command line, where every user of this machine can read it: give --ticket")
	}
	if err != nil || target.Host == "" || target.Scheme != "ws" && target.Scheme != "wss" {
		return nil, usagef("ADDRESS: %q is not a ws:// or wss:// URL", c.Address)
	}
	return target, nil
}

// addressOfVersion returns the address of a version, "" where it has none. That of the
// sample is known to whoever is not signed in, too.
func (c *client) addressOfVersion(ctx context.Context, arg, text string) (string, error) {
	v, err := c.version(ctx, arg, text)
	if sample := c.sample(); sample != nil && text == sample.API && hidden(err) {
		return sample.Address, nil
	}
	return addressOf(v), err
}

// dial does the handshake.
func (c *connectCmd) dial(ctx context.Context, s *shell, target *url.URL, header http.Header, credential bool) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: handshakeTime}
	for name := range strings.SplitSeq(c.Protocol, ",") {
		if name = strings.TrimSpace(name); name != "" {
			dialer.Subprotocols = append(dialer.Subprotocols, name)
		}
	}
	if target.Scheme == "wss" {
		cl, err := s.dial() // makes no call, but knows which authorities to trust
		if err != nil {
			return nil, err
		}
		dialer.TLSClientConfig = cl.tls()
	}
	conn, res, err := dialer.DialContext(ctx, target.String(), header)
	if res != nil && res.Body != nil {
		defer res.Body.Close()
	}
	shown := target.Scheme + "://" + target.Host + target.EscapedPath()
	switch {
	case err == nil:
	case errors.Is(err, websocket.ErrBadHandshake) && res != nil:
		return nil, refusal(shown, res, credential || header.Get("Authorization") != "")
	case errors.Is(err, context.Canceled):
		return nil, errors.New("interrupted")
	default:
		return nil, s.unreachable(shown, "", err)
	}
	if p := conn.Subprotocol(); p != "" {
		s.note("Connected to %s (%s). Ctrl-D closes.", shown, cell(p))
	} else {
		s.note("Connected to %s. Ctrl-D closes.", shown)
	}
	return conn, nil
}

// refusal returns the error of a refused handshake, with the details of the
// response's problem document (RFC 9457) if it has one. Programs get its code as the
// reason, and the ref.
func refusal(address string, res *http.Response, credential bool) error {
	var problem struct {
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Ref    string `json:"ref"`
	}
	text := fmt.Sprintf("%s refused: %s", address, res.Status)
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return &failure{error: errors.New(text), code: refusalCode(res.StatusCode), elsewhere: true}
	}
	text += ": " + cell(problem.Detail)
	if problem.Ref != "" {
		text += " (ref " + cell(problem.Ref) + ")"
	}
	if res.StatusCode == http.StatusUnauthorized && !credential {
		text += "; give --app, or a token with --token"
	}
	info, err := anypb.New(&errdetails.ErrorInfo{
		Reason: problem.Code, Domain: "tidegate", Metadata: map[string]string{"ref": problem.Ref, "status": strconv.Itoa(res.StatusCode)},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return &failure{error: errors.New(text), code: refusalCode(res.StatusCode), details: []*anypb.Any{info}, elsewhere: true}
}

// refusalCode returns the code for a refusal with this status.
func refusalCode(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.FailedPrecondition
}

// talk sends the lines of the input and prints the messages that come, until one
// side closes. At the end of the input it closes with 1000 and goes on reading, so
// that messages still on their way are printed, as long as they come.
func (s *shell) talk(ctx context.Context, conn *websocket.Conn) error {
	shown := s.screen()
	shown.begin()
	closed := make(chan error, 1)
	heard := make(chan struct{}, 1) // a message has come
	go func() {
		err := receive(conn, shown, heard)
		shown.end()
		closed <- err
	}()
	lines := make(chan string)
	ended := make(chan struct{}) // ends the reader of the input, once it reads something
	defer close(ended)
	go s.readLines(lines, ended)
	var last <-chan time.Time
	var sent int // the code that we closed with, or 0
	stop := func(code int) error {
		last, lines = time.After(closeTime), nil
		sent = code
		return conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(closeTime))
	}
	interrupt := ctx.Done()
	for {
		var err error
		select {
		case line, ok := <-lines:
			if ok {
				shown.sent(line)
				err = conn.WriteMessage(websocket.TextMessage, []byte(line))
			} else {
				err = stop(websocket.CloseNormalClosure)
			}
		case <-interrupt:
			interrupt = nil
			err = stop(websocket.CloseGoingAway)
		case err := <-closed:
			return s.over(err, sent)
		case <-heard: // a paused session answers the close behind what still passes
			if last != nil {
				last = time.After(closeTime)
			}
		case <-last:
			return errors.New("the other side did not answer the close")
		}
		if err != nil { // the reader knows why
			return s.over(<-closed, sent)
		}
	}
}

// readLines sends the lines of the input until it ends.
func (s *shell) readLines(lines chan<- string, ended <-chan struct{}) {
	defer close(lines)
	in := s.input()
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			select {
			case lines <- strings.TrimRight(line, "\r\n"):
			case <-ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// receive shows messages until the connection ends and returns why it did.
func receive(conn *websocket.Conn, shown *screen, heard chan<- struct{}) error {
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		text := string(message)
		if kind == websocket.BinaryMessage {
			text = fmt.Sprintf("(binary, %d bytes) %s", len(message), hex.EncodeToString(message))
		}
		if err := shown.received(text); err != nil {
			return err
		}
		select {
		case heard <- struct{}{}:
		default:
		}
	}
}

// over says how the connection ended. It is a failure unless it was closed with
// 1000 or with the code that we sent.
func (s *shell) over(err error, sent int) error {
	var c *websocket.CloseError
	if !errors.As(err, &c) || c.Code == websocket.CloseAbnormalClosure {
		return errors.New("the connection broke without a close")
	}
	text := fmt.Sprintf("closed: %d", c.Code)
	if c.Text != "" {
		text += " " + cell(c.Text)
	}
	if c.Code != websocket.CloseNormalClosure && c.Code != sent {
		return errors.New(text)
	}
	s.note("%s", strings.ToUpper(text[:1])+text[1:])
	return nil
}
