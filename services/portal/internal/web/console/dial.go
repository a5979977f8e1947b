package console

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lxzan/gws"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// mostBody is how much of a refusal's body is shown.
const mostBody = 16 << 10

// dial connects to the gateway as the page's first command says. It returns the event that
// the page is told; without a connection it is the last one.
func (s *socket) dial(open *command) (*connection, event) {
	expires, err := s.issue(open)
	if err != nil {
		return nil, event{Type: "failed", Text: "there is no token: " + status.Convert(err).Message()}
	}
	place := s.place(open.Place)
	if open.TryOut && place.GetTicket() != nil { // there are no tickets of a version before it is published
		place = headerPlace("Authorization")
	}
	if open.Token != "" && place.GetTicket() != nil {
		if answer := s.buyTicket(open); answer != nil {
			return nil, *answer
		}
	} else if open.Token != "" {
		open.show(place, s.version)
	}
	target, err1 := open.target(gatewayOf(s.version))
	header, err2 := open.header()
	if err := errors.Join(err1, err2); err != nil {
		return nil, event{Type: "failed", Text: err.Error()}
	}
	if open.Token != "" {
		showInHeader(header, place, open.Token)
	}
	if s.client != "" {
		header.Set("X-Forwarded-For", s.client)
		scheme, _, _ := strings.Cut(target, ":")
		header.Set("X-Forwarded-Proto", scheme)
	}
	began := time.Now()
	gateway, answer, err := s.connect(target, header)
	switch {
	case err != nil:
		return nil, event{Type: "failed", Text: err.Error()}
	case answer != nil:
		return nil, *answer
	}
	if first := place.GetFirstMessage(); first != nil && open.Token != "" {
		if err := gateway.WriteString(credentialplace.Message(first, open.Token)); err != nil {
			_ = gateway.under.Close()
			return nil, event{Type: "failed", Text: "the gateway does not take the first message: " + err.Error()}
		}
	}
	return gateway, event{Type: "opened", Protocol: gateway.SubProtocol(), Milliseconds: time.Since(began).Milliseconds(), Expires: stamp(expires)}
}

// issue has a token made where the page asks for one, and returns when that expires. It is the
// services that decide whether the user gets it.
func (s *socket) issue(open *command) (expires *timestamppb.Timestamp, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, openWithin)
	defer cancel()
	ctx = s.access.Load().on(ctx)
	stage := catalogv1.Stage_STAGE_PRODUCTION
	if open.Sandbox {
		stage = catalogv1.Stage_STAGE_SANDBOX
	}
	var issued *subscriptionv1.IssuedToken
	switch {
	case open.TryOut:
		issued, err = s.console.Services.Tokens.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{Version: s.version.GetName(), Stage: stage})
	case open.Application != "":
		issued, err = s.console.Services.Tokens.IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{
			Application: open.Application, Version: s.version.GetName(), Stage: stage,
		})
	default:
		return nil, nil
	}
	open.Token = issued.GetAccessToken()
	return issued.GetExpireTime(), err
}

// stamp writes a time for the page; none is "".
func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}

// connection is one to a gateway. gws has a connection that it cannot close: it would do so
// right after its close frame, and what had not been read then would have the kernel
// throw that frame away. It would also close before the body of a refusal was read.
type connection struct {
	*gws.Conn
	under net.Conn
	ref   string // of the gateway's session
}

// held is a connection that is closed by who has it beneath.
type held struct{ net.Conn }

// Close does nothing.
func (held) Close() error { return nil }

// connect makes the connection and the handshake. The event is the gateway's refusal.
func (s *socket) connect(target string, header http.Header) (*connection, *event, error) {
	ctx, cancel := context.WithTimeout(s.ctx, openWithin)
	defer cancel()
	conn, err := s.transport(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	gateway, resp, err := gws.NewClientFromConn(&fromGateway{socket: s}, &gws.ClientOption{
		Addr: target, RequestHeader: header, HandshakeTimeout: openWithin,
		ReadMaxPayloadSize: mostMessage, CheckUtf8Enabled: true,
	}, held{newChecked(conn, false)})
	if err == nil && stop() {
		return &connection{gateway, conn, resp.Header.Get("X-Tidegate-Ref")}, nil, nil
	}
	defer func() { _ = conn.Close() }()
	if err == nil {
		return nil, nil, context.Cause(ctx)
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil, err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostBody)) // what has come is shown
	_ = resp.Body.Close()
	return nil, &event{Type: "refused", Status: resp.StatusCode, Body: string(body), Ref: refOf(body)}, nil
}

// transport connects to the host of an address, with TLS where the address says so.
func (s *socket) transport(ctx context.Context, target string) (net.Conn, error) {
	if s.console.Dial != nil {
		return s.console.Dial(ctx)
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "wss" {
		d := tls.Dialer{Config: certs.Modern()}
		d.Config.RootCAs, d.Config.NextProtos = s.console.Roots(), []string{"http/1.1"}
		return d.DialContext(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// upgrade answers the page's handshake, with a cookie where the sign-in was refreshed for
// it.
func (s *socket) upgrade(w http.ResponseWriter, r *http.Request) error {
	cookie := w.Header().Get("Set-Cookie")
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	in := newChecked(conn, true)
	if err == nil && len(early) > 0 {
		err = errors.New("the page has sent before it was answered")
	}
	if err == nil {
		option := &gws.ServerOption{ReadMaxPayloadSize: mostMessage, CheckUtf8Enabled: true, ResponseHeader: http.Header{}}
		if cookie != "" {
			option.ResponseHeader.Set("Set-Cookie", cookie)
		}
		s.page, err = gws.NewUpgrader(&fromPage{socket: s}, option).UpgradeFromConn(held{in}, bufio.NewReader(in), r)
		s.under = conn
	}
	if err != nil {
		_ = conn.Close()
		s.console.Log.DebugContext(r.Context(), "console's socket not opened", "error", err)
	}
	return nil
}
