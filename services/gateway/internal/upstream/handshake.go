package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/kit/cookiename"
)

// maxInterim is how many interim responses, such as 103 Early Hints, may precede
// the final one.
const maxInterim = 5

// handshake does the client's half of the WebSocket handshake.
func (d *Dialer) handshake(conn net.Conn, r *Request) (*Backend, error) {
	key := newKey()
	if err := d.send(conn, r, key); err != nil {
		return nil, fmt.Errorf("send handshake: %w", err)
	}
	reader := d.heads.Get()
	defer d.heads.Put(reader)
	resp, buffered, err := d.readAnswer(conn, reader)
	if err != nil {
		return nil, err
	}
	return r.accept(conn, resp, key, buffered)
}

// readAnswer reads the head of an answer, and of the interim ones before it, with a reader, which
// what it returns belongs to. It returns what came behind the head, too.
func (d *Dialer) readAnswer(conn net.Conn, reader *head.Reader) (resp *head.Response, buffered []byte, err error) {
	var src io.Reader = conn
	for range maxInterim {
		raw, buffered, err := reader.ReadResponse(src)
		if err != nil {
			return nil, nil, d.readError(err)
		}
		resp, err := reader.Response(raw)
		switch {
		case err != nil:
			return nil, nil, incorrect("it is malformed")
		case resp.Status < 200 && resp.Status != http.StatusSwitchingProtocols:
			src = io.MultiReader(bytes.NewReader(bytes.Clone(buffered)), conn)
			continue
		}
		return resp, buffered, nil
	}
	return nil, nil, incorrect("too many interim responses came before it")
}

// send writes the request in one call.
func (d *Dialer) send(conn net.Conn, r *Request, key string) error {
	buf, ok := d.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer d.buffers.Put(buf)
	*buf = r.appendTo((*buf)[:0], key)
	_, err := conn.Write(*buf)
	return err
}

// readError distinguishes an answer with a malformed head from a connection that
// gave no answer.
func (d *Dialer) readError(err error) error {
	switch {
	case errors.Is(err, head.ErrTooLarge), errors.Is(err, head.ErrLongLine):
		return incorrect("its head has more than %d bytes", d.heads.Max())
	case errors.Is(err, head.ErrMalformed):
		return incorrect("it is malformed")
	default:
		return fmt.Errorf("read answer: %w", err)
	}
}

// accept checks an answer as RFC 6455 section 4.1 demands.
func (r *Request) accept(conn net.Conn, resp *head.Response, key string, buffered []byte) (*Backend, error) {
	h := resp.Header
	switch {
	case resp.Status != http.StatusSwitchingProtocols:
		return nil, r.refused(resp)
	case resp.Major != 1 || resp.Minor < 1:
		return nil, incorrect("its version of HTTP is not 1.1")
	case len(h["Upgrade"]) != 1 || !strings.EqualFold(h["Upgrade"][0], "websocket"):
		return nil, incorrect("its Upgrade header is not websocket")
	case !head.Has(h["Connection"], "upgrade"):
		return nil, incorrect("its Connection header lacks Upgrade")
	case len(h["Sec-Websocket-Accept"]) != 1 || h["Sec-Websocket-Accept"][0] != head.AcceptKey(key):
		return nil, incorrect("its Sec-WebSocket-Accept does not belong to the key")
	}
	compression, err := r.Offers.Accept(h["Sec-Websocket-Extensions"])
	if err != nil {
		return nil, incorrect("%w", err)
	}
	b := &Backend{Conn: conn, Header: clientHeader(h), Compressed: compression != ""}
	if b.Compressed {
		b.Header = append(b.Header, head.Field{Name: "Sec-WebSocket-Extensions", Value: compression})
	}
	if chosen := h["Sec-Websocket-Protocol"]; hasElement(chosen) {
		if len(chosen) > 1 || !slices.Contains(r.Protocols, chosen[0]) {
			return nil, incorrect("it has a sub-protocol that was not offered")
		}
		b.Protocol = chosen[0]
	}
	if len(buffered) > 0 {
		b.Buffered = bytes.Clone(buffered)
	}
	return b, nil
}

// hasElement reports whether a header says anything: some servers send empty
// headers for what they did not choose.
func hasElement(lines []string) bool {
	for range head.List(lines) {
		return true
	}
	return false
}

// clientHeader picks the backend's headers that the client gets: cookies and
// whatever else is meant for it. It drops headers about the backend itself or about
// a body, and what would set or clear the cookies of Tidegate's pages.
func clientHeader(h http.Header) []head.Field {
	var list []head.Field
	connection := h["Connection"]
	for name, values := range h {
		if name == "Date" || isAboutHost(name) {
			continue
		}
		if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "X-Tidegate-") || !head.EndToEnd(name, connection) {
			continue
		}
		for _, v := range values {
			if name == "Set-Cookie" && setsReserved(v) {
				continue
			}
			list = append(list, head.Field{Name: name, Value: v})
		}
	}
	return list
}

// isAboutHost reports whether a header is about the server that answers, or about all of its
// host, which for the client is the gateway's.
func isAboutHost(name string) bool {
	switch name {
	case "Server", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data":
		return true
	case "Nel", "Report-To": // browsers would report the URLs of all requests to the host
		return true
	case "Service-Worker-Allowed": // a script of one API's could have the pages and requests of all
		return true
	}
	return false
}

// setsReserved reports whether a Set-Cookie line sets a cookie that is reserved for
// Tidegate's pages. A cookie without a name is sent back as its value alone, which
// then reads as name and value.
func setsReserved(line string) bool {
	pair, _, _ := strings.Cut(line, ";")
	name, _, _ := strings.Cut(strings.TrimLeft(pair, " \t="), "=")
	return cookiename.Reserved(strings.TrimRight(name, " \t"))
}
