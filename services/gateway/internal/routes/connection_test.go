package routes

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/routefeature"
)

// connectedBy is a route whose backend is connected to so.
func connectedBy(t *testing.T, c *catalogv1.Connection) *Route {
	t.Helper()
	r, err := fromProto(&backplanev1.Route{
		Name: "apis/a/versions/1", Api: "apis/a", Context: "/a", Version: "1", Requires: []string{routefeature.Connections},
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "wss://b"}}}, ProductionConnection: c},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a gateway does not understand in a connection has it not serve the route, instead of
// connecting past a proxy or without a credential.
func TestConnectionsThatAreNotUnderstood(t *testing.T) {
	later := &catalogv1.Connection{}
	later.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	for name, c := range map[string]*catalogv1.Connection{
		"a part of a later version":    later,
		"roots that are no PEM":        {Tls: &catalogv1.BackendTLS{RootCertificates: "x"}},
		"a certificate without a key":  {Tls: &catalogv1.BackendTLS{ClientCertificate: "x"}},
		"a proxy of another kind":      {Proxy: &catalogv1.ConnectProxy{Url: "socks5://p"}},
		"a token that would be a line": {Credential: &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: &catalogv1.Secret{Value: "a\r\nX: b"}}}},
	} {
		if missing := connectedBy(t, c).Missing(); len(missing) != 1 {
			t.Errorf("%s: the gateway lacks %q, want one feature", name, missing)
		}
	}
	r := connectedBy(t, &catalogv1.Connection{
		Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: "gate", Password: &catalogv1.Secret{Value: "way"}}},
		Proxy:      &catalogv1.ConnectProxy{Url: "HTTPS://[::1]", User: "u", Password: &catalogv1.Secret{Value: "p"}},
	})
	got := r.Production.Connection()
	if len(r.Missing()) != 0 || got.Authorization != "Basic Z2F0ZTp3YXk=" || *got.Proxy != (Proxy{TLS: true, Name: "::1", Addr: "[::1]:443", Authorization: "Basic dTpw"}) {
		t.Errorf("the connection is %+v with the proxy %+v; the gateway lacks %q", got, got.Proxy, r.Missing())
	}
	if !slices.Contains(Features(), routefeature.Connections) {
		t.Error("the gateway does not say that it has connections")
	}
}

// A change of a version keeps the token of a client that stays, and of no other.
func TestTokensOutliveChanges(t *testing.T) {
	client := func(id string) *catalogv1.Connection {
		return &catalogv1.Connection{Credential: &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
			TokenUrl: "https://id.example/", ClientId: id, ClientSecret: &catalogv1.Secret{Value: "s"}, Scopes: []string{"a"},
		}}}
	}
	table, err := new(Table).With(Changes{Put: []*Route{connectedBy(t, client("c"))}})
	if err != nil {
		t.Fatal(err)
	}
	token := func() any { return table.Get("apis/a/versions/1").Production.Connection().Token }
	first := token()
	for _, tt := range []struct {
		id   string
		kept bool
	}{{"c", true}, {"other", false}} {
		if table, err = table.With(Changes{Put: []*Route{connectedBy(t, client(tt.id))}}); err != nil {
			t.Fatal(err)
		}
		if kept := token() == first; kept != tt.kept {
			t.Errorf("the token is kept for the client %s: %v, want %v", tt.id, kept, tt.kept)
		}
	}
}
