package cli

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestCredentialsAreNotLedElsewhere: what answers in a gateway's place leads nobody's credential
// to another address.
func TestCredentialsAreNotLedElsewhere(t *testing.T) {
	asked := make(chan http.Header, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header }))
	defer elsewhere.Close()
	gateway := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer gateway.Close()
	at, err := url.Parse(strings.Replace(gateway.URL, "http", "ws", 1) + "/echo/1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{global: &global{}, client: &client{}}
	var into struct{}
	err = s.atGateway(t.Context(), at, "/-/tickets", nil, credential{"tgk_x", "apikey", "tgk_x"}, &into)
	if err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("atGateway = %v, want the answer as it is", err)
	}
	select {
	case header := <-asked:
		t.Errorf("the other address was asked with the key %q", header.Get("apikey"))
	default:
	}
}
