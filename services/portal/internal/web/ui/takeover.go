package ui

import "net/http"

// Takeover is an answer that writes by itself, such as that of a socket: the request's
// connection becomes its own. What it returns as an error was not answered yet.
type Takeover func(w http.ResponseWriter, r *Request) error

// write has the answer written.
func (a Takeover) write(_ *Site, w http.ResponseWriter, r *Request) error { return a(w, r) }
