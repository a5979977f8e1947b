package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// Kind is the kind of a failure of a backend.
type Kind uint8

// The kinds.
const (
	// Unreachable: no connection could be opened.
	Unreachable Kind = iota + 1
	// Forbidden: its address must not be dialled.
	Forbidden
	// Timeout: it was too slow.
	Timeout
	// Refused: it answered with a status other than 101.
	Refused
	// Incorrect: it answered, but not with a correct 101.
	Incorrect
	// Exhausted: this process, or its machine, has no descriptor left for a connection.
	Exhausted
	// Broken: the connection ended during the handshake.
	Broken
	// NoToken: there is no access token that it could be shown.
	NoToken
	// NotAuthorized: it answered 401 to the credential that the gateway has for it.
	NotAuthorized
)

// Error is a failure of a backend.
type Error struct {
	Kind   Kind
	Status int          // of the backend's answer, if Kind is Refused or NotAuthorized
	Header []head.Field // of that answer: when to try again, and how to authenticate
	beside bool         // it is the failure of a plain request
	err    error
}

// ErrTooSlow is the failure of a backend whose time for a handshake is over. It is the cause
// of the end of a context that has a time for one backend.
var ErrTooSlow = &Error{Kind: Timeout, err: errors.New("the backend's time for the handshake is over")}

// Answered reports whether the backend itself gave an answer, so that another one in its
// place would hardly give a better one: any status but 502, 503 and 504.
func (e *Error) Answered() bool {
	switch {
	case e.Kind == NotAuthorized:
		return true
	case e.Kind != Refused:
		return false
	}
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// Error describes the failure for the log: it may name addresses.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.err }

// Detail describes the failure for the client: it names no address.
func (e *Error) Detail() string {
	switch {
	case e.beside && e.Kind == Incorrect:
		return "the backend's answer is not correct: " + e.err.Error()
	case e.beside && e.Kind == Broken:
		return "the backend closed the connection before its answer"
	}
	switch e.Kind {
	case Unreachable:
		return "the backend cannot be reached"
	case Exhausted:
		return "the gateway has no file descriptor left"
	case Forbidden:
		return "the backend's address is not allowed here"
	case Timeout:
		return "the backend did not answer in time"
	case Refused:
		detail := strings.TrimSpace(fmt.Sprintf("the backend answered %d %s", e.Status, http.StatusText(e.Status)))
		if e.Status == http.StatusForbidden {
			detail += "; many backends do so for a Host or an Origin that they do not know, which the version's backend_options set"
		}
		return detail
	case NoToken:
		return "there is no access token for the backend"
	case NotAuthorized:
		return "the backend did not take the credential that the version has for it"
	case Incorrect:
		return "the backend's answer is not a correct 101: " + e.err.Error()
	default:
		return "the backend closed the connection within the handshake"
	}
}

func (r *Request) refused(resp *head.Response) error {
	if resp.Status == http.StatusUnauthorized && r.Authorization != "" {
		// The client can do nothing about it.
		return Unauthorized()
	}
	e := &Error{Kind: Refused, Status: resp.Status, err: fmt.Errorf("backend answered %d", resp.Status)}
	if host := r.host(); resp.Status == http.StatusForbidden {
		e.err = fmt.Errorf("backend answered 403, asked with the Host %q and the Origin %.255q: see the version's backend_options", host, r.origin(host))
	}
	for _, name := range []string{"Retry-After", "Www-Authenticate"} {
		for _, v := range resp.Header[name] {
			e.Header = append(e.Header, head.Field{Name: name, Value: v})
		}
	}
	return e
}

func incorrect(format string, a ...any) error {
	return &Error{Kind: Incorrect, err: fmt.Errorf(format, a...)}
}
