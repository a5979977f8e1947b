package beside

import (
	"fmt"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestIdentityJWT: a backend is told who sent a plain request as it is of a session, but that
// the ref is beside the JWT, which other requests share.
func TestIdentityJWT(t *testing.T) {
	w := newWorld(t, nil)
	r := w.route(backend(t, echo))
	r.Backends.Identity = routes.JWTIdentity
	w.serve(r)
	c := w.dial()
	a := c.ask("GET", "/echo/1.0.0", good+"X-Tidegate-Identity: forged\r\nX-Tidegate-Ref: forged\r\n\r\n")
	if a.StatusCode != 200 || a.Header.Get("Got-X-Tidegate-Identity") != "e30.e30.c2ln" || a.Header.Get("Got-X-Tidegate-Ref") != a.Header.Get("X-Tidegate-Ref") {
		t.Errorf("the answer is %s, and the backend got %v, want a JWT and the ref", a.Status, a.Header)
	}
	if len(w.signed.was()) != 1 || w.signed.was()[0].Ref != "" || w.signed.was()[0].Grant.Application != "applications/good" {
		t.Errorf("%+v is signed, want the grant without a ref", w.signed.was())
	}
	w.signed.fail(fmt.Errorf("%w: away", backendidentity.ErrUnavailable))
	if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 503 || a.Code != "IDENTITY_UNSIGNED" || a.Header.Get("Retry-After") != "2" {
		t.Errorf("the answer is %s %s, want 503", a.Status, a.Code)
	}
}

// TestNobodysIdentity: a preflight for the backend, which comes before the credential, has no JWT,
// where the version asks for one.
func TestNobodysIdentity(t *testing.T) {
	w := newWorld(t, nil)
	r := w.route(backend(t, echo))
	r.Backends.Identity, r.HTTP.BackendCORS = routes.JWTIdentity, true
	w.serve(r)
	w.signed.fail(fmt.Errorf("%w: away", backendidentity.ErrUnavailable))
	a := w.dial().ask("OPTIONS", "/echo/1.0.0", "Origin: https://page.example\r\nAccess-Control-Request-Method: PUT\r\nX-Tidegate-Identity: forged\r\n\r\n")
	if a.StatusCode != 200 || a.Header.Get("Got-X-Tidegate-Identity") != "" || a.Header.Get("Got-X-Tidegate-Ref") != a.Header.Get("X-Tidegate-Ref") || len(w.signed.was()) != 0 {
		t.Errorf("the answer is %s %s, the backend got %v, and %v is signed, want the ref alone", a.Status, a.Code, a.Header, w.signed.was())
	}
}
