package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestToken(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, secret, _ := r.BasicAuth()
		// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
		key, err1 := url.QueryUnescape(key)
		secret, err2 := url.QueryUnescape(secret)
		form := r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
		switch {
		case errors.Join(err1, err2) != nil || !form:
			w.WriteHeader(http.StatusBadRequest)
		case key == "html":
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>")
		case key == "nonsense":
			fmt.Fprint(w, "<html>")
		case key != "k:+%" || secret != "s e&c=ret":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"who is that?"}`)
		case r.FormValue("resource") != "":
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":60}`, "for "+r.FormValue("resource"))
		case r.URL.Path == "/oauth2/token" && r.FormValue("grant_type") == "client_credentials":
			fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":60,"scope":"default"}`)
		case r.URL.Path == "/oauth2/revoke" && r.FormValue("token") == "t":
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	c := &Client{Portal: srv.URL + "/", HTTP: srv.Client()}
	good := Credentials{ClientID: "k:+%", Secret: "s e&c=ret"}
	token, err := c.Token(t.Context(), good, "")
	if want := (Token{AccessToken: "t", Type: "Bearer", ExpiresIn: 60, Scope: "default"}); err != nil || token != want {
		t.Errorf("Token = %+v, %v, want %+v", token, err, want)
	}
	if token.Life() != time.Minute {
		t.Errorf("Life = %v, want 1m", token.Life())
	}
	if narrow, err := c.Token(t.Context(), good, "wss://h/a?b"); err != nil || narrow.AccessToken != "for wss://h/a?b" {
		t.Errorf("Token for an address = %+v, %v", narrow, err)
	}
	if err := c.Revoke(t.Context(), good, "t"); err != nil {
		t.Errorf("Revoke = %v", err)
	}
	_, err = c.Token(t.Context(), Credentials{ClientID: "x", Secret: "y"}, "")
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "invalid_client" || refused.Status != 401 ||
		err.Error() != "get a token: invalid_client: who is that?" {
		t.Errorf("Token of a stranger = %v, want invalid_client", err)
	}
	for key, want := range map[string]string{
		"html":     "get a token: " + srv.URL + "/oauth2/token answers 502 Bad Gateway",
		"nonsense": "get a token: " + srv.URL + "/ does not answer as a token endpoint",
	} {
		if _, err := c.Token(t.Context(), Credentials{ClientID: key}, ""); err == nil || err.Error() != want {
			t.Errorf("Token from %s = %v, want %s", key, err, want)
		}
	}
	c.Portal = "https://127.0.0.1:1"
	if _, err := c.Token(t.Context(), good, ""); err == nil || !strings.HasPrefix(err.Error(), "get a token: call https://127.0.0.1:1/oauth2/token: ") {
		t.Errorf("Token from nowhere = %v", err)
	}
}
