package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Bounds of what a page sends.
const (
	// mostMessage is the greatest size of an envelope and of a message, in bytes.
	mostMessage = 1 << 20
	// mostWaiting is how many bytes of envelopes wait for the gateway. While that many
	// do, no more of the page's are read.
	mostWaiting = 2 * mostMessage
	// mostHead bounds the headers, the path and the query of a handshake.
	mostHead = 16 << 10
)

// command is what the page says, in JSON. The first has the type open, and is said once.
//
//	open        path, query, headers, protocols; application, tryOut or token; place; sandbox
//	text        text
//	binary      data
//	ping        data, at most 125 bytes
//	credential  application, tryOut or token; sandbox: what the gateway's session goes on with
//	close       code, reason
//	renew       renewal
type command struct {
	Type string `json:"type"`
	// Path and Query are added to the version's address.
	Path  string `json:"path,omitempty"`
	Query string `json:"query,omitempty"`
	// Headers are names and values.
	Headers [][2]string `json:"headers,omitempty"`
	// Protocols are sub-protocols, by preference.
	Protocols []string `json:"protocols,omitempty"`
	// Application is that of the user whose token is made for this connection. TryOut asks
	// for the token with which a version's owner tries it out. Sandbox has either be of
	// that stage.
	Application string `json:"application,omitempty"`
	TryOut      bool   `json:"tryOut,omitempty"`
	Sandbox     bool   `json:"sandbox,omitempty"`
	// Token is an access token or an API key, sent at Place, as package credentialplace writes it: one of
	// the version's, or empty for the first of them.
	Token string `json:"token,omitempty"`
	Place string `json:"place,omitempty"`
	// Text and Data are what messages have; Data is in base64.
	Text string `json:"text,omitempty"`
	Data []byte `json:"data,omitempty"`
	// Code and Reason are those of a close.
	Code   uint16 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Renewal is what the page was given for a sign-in that was refreshed.
	Renewal string `json:"renewal,omitempty"`
}

// event is what the page is told, in JSON.
//
//	opened   protocol, milliseconds, expires
//	refused  status, body, ref: the gateway's answer is another than 101
//	failed   text: there was no answer, or the first command is wrong
//	text, binary, ping, pong
//	renewed  expires: the gateway's session has the credential
//	kept     text: why it has the one that it had
//	taken    sent: what the gateway has taken until now
//	closed   code, reason, sent, received: the last
//	renew    the sign-in's token ends soon: fetch a renewal and say renew
type event struct {
	Type         string `json:"type"`
	Protocol     string `json:"protocol,omitempty"`
	Milliseconds int64  `json:"milliseconds,omitempty"`
	// Expires is when the session's credential expires, as RFC 3339 writes it; empty where
	// that is not known, or never.
	Expires  string `json:"expires,omitempty"`
	Status   int    `json:"status,omitempty"`
	Body     string `json:"body,omitempty"`
	Ref      string `json:"ref,omitempty"`
	Text     string `json:"text,omitempty"`
	Data     []byte `json:"data,omitempty"`
	Code     uint16 `json:"code,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Sent     *count `json:"sent,omitempty"`
	Received *count `json:"received,omitempty"`
}

// count is how many messages went one way, and their bytes.
type count struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// refOf returns the ref of a refusal's body, which is a problem in JSON.
func refOf(body []byte) string {
	var problem struct {
		Ref string `json:"ref"`
	}
	_ = json.Unmarshal(body, &problem) // what is none has no ref
	return problem.Ref
}

// target returns where a command's handshake goes: below the version's address, whatever
// the page says.
func (c *command) target(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the version's address %q: %w", address, err)
	}
	host, base := u.Host, strings.TrimSuffix(u.Path, "/")
	if len(c.Path)+len(c.Query) > mostHead {
		return "", fmt.Errorf("path, query: must have at most %d bytes", mostHead)
	}
	if c.Path != "" {
		rest, err := url.PathUnescape(c.Path)
		if err != nil || !strings.HasPrefix(c.Path, "/") || strings.Contains("/"+rest+"/", "/../") || strings.Contains("/"+rest+"/", "/./") || strings.ContainsAny(rest, "?#\\") {
			return "", fmt.Errorf("path: must begin with a slash and have no dot segments, ? or #")
		}
		u.Path, u.RawPath = base+rest, base+c.Path
	}
	if _, err := url.ParseQuery(c.Query); err != nil || strings.ContainsAny(c.Query, "#") {
		return "", fmt.Errorf("query: must be name=value&name=value, with others than letters and digits encoded")
	}
	u.RawQuery = c.Query
	if again, err := url.Parse(u.String()); err != nil || again.Host != host || !strings.HasPrefix(again.Path, base) {
		return "", fmt.Errorf("path: does not lead below the version's address")
	}
	return u.String(), nil
}

// header returns the header of a command's handshake: without what belongs to
// connections, to proxies and to Tidegate.
func (c *command) header() (http.Header, error) {
	h, size := http.Header{}, 0
	for _, f := range c.Headers {
		name := http.CanonicalHeaderKey(f[0])
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(f[1]) {
			return nil, fmt.Errorf("headers: %q is no header", f[0])
		}
		if size += len(name) + len(f[1]); size > mostHead {
			return nil, fmt.Errorf("headers: must have at most %d bytes", mostHead)
		}
		if !struck(name) {
			h.Add(name, f[1])
		}
	}
	for _, name := range c.Headers {
		if strings.EqualFold(name[0], "Connection") {
			for field := range strings.SplitSeq(name[1], ",") {
				h.Del(strings.TrimSpace(field))
			}
		}
	}
	for _, p := range c.Protocols {
		if !httpguts.ValidHeaderFieldName(p) {
			return nil, fmt.Errorf("protocols: %q is no sub-protocol", p)
		}
	}
	if len(c.Protocols) > 0 {
		h.Set("Sec-WebSocket-Protocol", strings.Join(c.Protocols, ", "))
	}
	return h, nil
}

// struck reports whether a header is not the page's to send. Many servers read an
// underscore as a hyphen.
func struck(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info",
		"te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect", "host",
		"cookie", "cookie2", "forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip":
		return true
	}
	for _, p := range []string{"x-forwarded-", "x-tidegate-", "sec-websocket-", "sec-fetch-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
