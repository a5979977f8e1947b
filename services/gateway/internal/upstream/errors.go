package upstream

import (
	"fmt"
	"net/http"
	"strings"
)

// Kind is what went wrong with a backend.
type Kind uint8

// The kinds.
const (
	// Unreachable: there was no connection.
	Unreachable Kind = iota + 1
	// Forbidden: its address may not be dialled.
	Forbidden
	// Timeout: it was too slow.
	Timeout
	// Refused: it answered with another status than 101.
	Refused
	// Incorrect: its 101 is not a correct one.
	Incorrect
	// Broken: the connection ended within the handshake.
	Broken
)

// Error says what went wrong with a backend.
type Error struct {
	Kind   Kind
	Status int // of the backend's answer, when Refused
	err    error
}

// Error is for the log: it may name addresses.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns what was underneath.
func (e *Error) Unwrap() error { return e.err }

// Detail is for the client: it names no address.
func (e *Error) Detail() string {
	switch e.Kind {
	case Unreachable:
		return "the backend cannot be reached"
	case Forbidden:
		return "the backend's address is not allowed here"
	case Timeout:
		return "the backend did not answer in time"
	case Refused:
		return strings.TrimSpace(fmt.Sprintf("the backend answered %d %s", e.Status, http.StatusText(e.Status)))
	case Incorrect:
		return "the backend's answer is not a correct 101: " + e.err.Error()
	default:
		return "the backend closed the connection within the handshake"
	}
}

func refused(status int) error {
	return &Error{Kind: Refused, Status: status, err: fmt.Errorf("backend answered %d", status)}
}

func incorrect(format string, a ...any) error {
	return &Error{Kind: Incorrect, err: fmt.Errorf(format, a...)}
}
