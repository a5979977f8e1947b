// Package deflate agrees on permessage-deflate (RFC 7692) between a client and a backend,
// neither of whose messages the gateway reads: it passes the client's offers on, and the
// backend's choice back. It asks for both directions without context takeover, so that
// each message can be read without those before it, which a limit may have dropped.
package deflate

import (
	"errors"
	"strconv"
)

// Offer is what a client would accept: the greatest window that it wants the server, or
// itself, to compress with, as the logarithm of its size, 8 to 15.
type Offer struct {
	server uint8 // 0: any
	client uint8 // 0: any
	asks   bool  // the server may say what client is to be
}

// Offers are those of one client, the preferred first.
type Offers []Offer

const (
	extensionName  = "permessage-deflate"
	serverTakeover = "server_no_context_takeover"
	clientTakeover = "client_no_context_takeover"
	serverBits     = "server_max_window_bits"
	clientBits     = "client_max_window_bits"
)

// maxOffers is how many offers of a client are passed on. Clients make one or two.
const maxOffers = 8

// Errors of what peers send.
var (
	ErrMalformed  = errors.New("Sec-WebSocket-Extensions is malformed")
	ErrNotOffered = errors.New("it has an extension that was not offered")
	ErrParameters = errors.New("its parameters of permessage-deflate were not offered, or are not valid")
	ErrTakeover   = errors.New("it lacks server_no_context_takeover, which was asked for")
)

// Parse reads the lines of a client's Sec-WebSocket-Extensions. Offers that no server may
// accept (RFC 7692, section 7.1), and other extensions, are left out. Its error is
// ErrMalformed.
func Parse(lines []string) (Offers, error) {
	extensions, err := parse(lines)
	if err != nil {
		return nil, err
	}
	var all Offers
	for _, e := range extensions {
		if e.name != extensionName || len(all) == maxOffers {
			continue
		}
		if p, ok := readParameters(e, true); ok {
			all = append(all, Offer{server: p.server, client: p.client, asks: p.hasClient})
		}
	}
	return all, nil
}

// AppendTo appends the offers as a backend gets them, the value of
// Sec-WebSocket-Extensions.
func (o Offers) AppendTo(b []byte) []byte {
	for i, offer := range o {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, extensionName+"; "+serverTakeover+"; "+clientTakeover...)
		b = appendBits(b, serverBits, offer.server)
		if offer.asks && offer.client == 0 {
			b = append(b, "; "+clientBits...)
		}
		b = appendBits(b, clientBits, offer.client)
	}
	return b
}

// appendBits appends a window parameter that has a value; 0 is none.
func appendBits(b []byte, name string, bits uint8) []byte {
	if bits == 0 {
		return b
	}
	return strconv.AppendUint(append(append(append(b, "; "...), name...), '='), uint64(bits), 10)
}

// Accept reads the lines of a backend's Sec-WebSocket-Extensions, and returns what the
// client is answered, "" for no extension: what the backend chose, and in any case that
// no direction has context takeover.
func (o Offers) Accept(lines []string) (answer string, err error) {
	extensions, err := parse(lines)
	switch {
	case err != nil:
		return "", err
	case len(extensions) == 0:
		return "", nil
	case len(extensions) > 1 || extensions[0].name != extensionName || len(o) == 0:
		return "", ErrNotOffered
	}
	p, ok := readParameters(extensions[0], false)
	switch {
	case !ok:
		return "", ErrParameters
	case !p.serverTakeover:
		return "", ErrTakeover
	}
	for _, offer := range o {
		if offer.allows(p) {
			b := append(make([]byte, 0, 128), extensionName+"; "+serverTakeover+"; "+clientTakeover...)
			return string(appendBits(appendBits(b, serverBits, p.server), clientBits, p.client)), nil
		}
	}
	return "", ErrParameters
}

// allows reports whether parameters are an answer to the offer. A server may narrow its
// own window unasked, and the client's where the client says that it can.
func (o Offer) allows(p parameters) bool {
	switch {
	case o.server != 0 && (p.server == 0 || p.server > o.server):
		return false
	case p.hasClient && !o.asks:
		return false
	default:
		return o.client == 0 || p.client <= o.client
	}
}

// parameters are those of one offer or answer.
type parameters struct {
	serverTakeover bool // the server gives up context takeover
	server, client uint8
	hasClient      bool // client_max_window_bits is there, maybe without a value
}

// readParameters reports whether all parameters are known, once, with values as they may
// have. Only in an offer client_max_window_bits may be without one.
func readParameters(e extension, offered bool) (p parameters, ok bool) {
	seen := map[string]bool{}
	for _, param := range e.parameters {
		if seen[param.name] {
			return p, false
		}
		seen[param.name] = true
		bits, valid := windowBits(param.value)
		switch param.name {
		case serverTakeover:
			p.serverTakeover, valid = true, !param.hasValue
		case clientTakeover:
			valid = !param.hasValue
		case serverBits:
			p.server = bits
		case clientBits:
			p.client, p.hasClient = bits, true
			valid = valid || offered && !param.hasValue
		default:
			return p, false
		}
		if !valid {
			return p, false
		}
	}
	return p, true
}

// windowBits reads 8 to 15, without a leading zero.
func windowBits(value string) (bits uint8, ok bool) {
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil || n < 8 || n > 15 || value[0] == '0' || value[0] == '+' {
		return 0, false
	}
	return uint8(n), true
}
