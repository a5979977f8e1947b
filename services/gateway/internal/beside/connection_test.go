package beside

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendtoken"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestCredentialOfTheVersion sends plain requests to a backend that asks for a token of the
// gateway's: in the place of what the client sends, fetched anew where it is refused, and 502
// where that does not help.
func TestCredentialOfTheVersion(t *testing.T) {
	w := newWorld(t, nil)
	var takes, given atomic.Int64
	tokens := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(rw, `{"access_token":"t%d","token_type":"Bearer"}`, given.Add(1))
	})
	takes.Store(1)
	r := w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprint("Bearer t", takes.Load()) || len(r.Header["Authorization"]) != 1 {
			rw.Header().Set("WWW-Authenticate", "Basic")
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(rw, "in")
	}))
	for _, e := range r.HTTP.Production.Endpoints {
		e.Connection = &routes.Connection{Token: backendtoken.New(backendtoken.Client{URL: tokens, ID: "c", Secret: "s"})}
	}
	w.serve(r)
	c := w.dial()
	if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 || a.text != "in" {
		t.Errorf("GET: %s %q", a.Status, a.text)
	}
	takes.Store(2)
	if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 || given.Load() != 2 {
		t.Errorf("GET with a token that is refused once: %s, %d tokens", a.Status, given.Load())
	}
	takes.Store(0)
	if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 502 || a.Code != "BACKEND_CREDENTIAL" || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("GET of a backend that takes no token: %s %s %v", a.Status, a.text, a.Header)
	}
}
