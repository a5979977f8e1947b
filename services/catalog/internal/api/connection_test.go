package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/routefeature"
)

// issued is the certificate of an authority, and a pair that it has issued.
type issued struct {
	root string
	leaf certs.Pair
}

// issue makes an authority and a certificate of it that lives for a time.
func issue(t *testing.T, life time.Duration) issued {
	t.Helper()
	authority, pair, err := certs.NewAuthority("backends", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue(certs.Leaf{Names: []string{"gateway"}, Life: life, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return issued{root: string(pair.Cert), leaf: leaf}
}

// secretOf is a secret with this value.
func secretOf(value string) *catalogv1.Secret { return &catalogv1.Secret{Value: value} }

// connected is an endpoint with TLS that is connected to so.
func connected(c *catalogv1.Connection) *catalogv1.Endpoints {
	return &catalogv1.Endpoints{Production: endpoint("wss://backend.example/"), ProductionConnection: c}
}

// proxied leads through a proxy.
func proxied(url string) *catalogv1.Connection {
	return &catalogv1.Connection{Proxy: &catalogv1.ConnectProxy{Url: url}}
}

// client is an OAuth client of a token endpoint.
func client(tokenURL, secret string) *catalogv1.Connection {
	return &catalogv1.Connection{Credential: &catalogv1.Connection_Oauth2{
		Oauth2: &catalogv1.OAuth2Credential{TokenUrl: tokenURL, ClientId: "tidegate", ClientSecret: secretOf(secret)},
	}}
}

// everything is a connection with all that there is to say, and the secrets in it.
func everything(i issued, credential *catalogv1.Connection) *catalogv1.Connection {
	return &catalogv1.Connection{
		Tls: &catalogv1.BackendTLS{
			RootCertificates: i.root, ClientCertificate: string(i.leaf.Cert), ClientKey: &catalogv1.PrivateKey{Pem: string(i.leaf.Key)}, ServerName: "b.example",
		},
		Credential: credential.GetCredential(),
		Proxy:      &catalogv1.ConnectProxy{Url: "http://proxy.example:3128", User: "gate", Password: secretOf("top-secret-proxy")},
	}
}

func basic(user, password string) *catalogv1.Connection {
	return &catalogv1.Connection{Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: user, Password: secretOf(password)}}}
}

func bearer(token string) *catalogv1.Connection {
	return &catalogv1.Connection{Credential: &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: secretOf(token)}}}
}

// What is wrong with a connection is said at its field.
func TestConnectionsAreChecked(t *testing.T) {
	f := onSQLite(t)
	v := f.version(f.api("Echo"), "1")
	good, other := issue(t, time.Hour), issue(t, time.Hour)
	tls := func(t *catalogv1.BackendTLS) *catalogv1.Connection { return &catalogv1.Connection{Tls: t} }
	roots := func(text string) *catalogv1.Connection { return tls(&catalogv1.BackendTLS{RootCertificates: text}) }
	pair := func(cert, key string) *catalogv1.Connection {
		return tls(&catalogv1.BackendTLS{ClientCertificate: cert, ClientKey: &catalogv1.PrivateKey{Pem: key}})
	}
	oauth := func(edit func(*catalogv1.OAuth2Credential)) *catalogv1.Connection {
		c := client("https://id.example/token", "s")
		edit(c.GetOauth2())
		return c
	}
	encrypted := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	for _, tt := range []struct {
		name    string
		is      *catalogv1.Connection
		message string // below version.endpoints.production_connection
	}{
		{"roots that are no PEM", roots("hello"), ".tls.root_certificates: must be certificates in PEM, each from BEGIN CERTIFICATE to END CERTIFICATE, and nothing else"},
		{"roots of spaces", roots(" \n"), ".tls.root_certificates: must be empty, or have a certificate in PEM"},
		{"roots outside ASCII", roots("ü"), ".tls.root_certificates: must be at most 16384 characters of ASCII"},
		{"large roots", roots(strings.Repeat(" ", 16385)), ".tls.root_certificates: must be at most 16384 characters of ASCII"},
		{"11 roots", roots(strings.Repeat(good.root, 11)), ".tls.root_certificates: must have at most 10 certificates"},
		{"a root that is no authority", roots(good.root + string(good.leaf.Cert)), ".tls.root_certificates: certificate 2 is not that of an authority (CA:TRUE)"},
		{"a root with a private key", roots(good.root + string(good.leaf.Key)), ".tls.root_certificates: must not have a private key: it is shown to those who see the endpoints"},
		{"a root that cannot be read", roots(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))), ".tls.root_certificates: certificate 1 cannot be read: x509: malformed certificate"},
		{"something else among roots", roots(string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}))), `.tls.root_certificates: must have certificates only, and not "X509 CRL"`},
		{"a certificate without a key", tls(&catalogv1.BackendTLS{ClientCertificate: string(good.leaf.Cert)}), ".tls: client_certificate and client_key are needed together"},
		{"a key without a certificate", pair("", string(good.leaf.Key)), ".tls: client_certificate and client_key are needed together"},
		{"a chain of 6", pair(strings.Repeat(string(good.leaf.Cert), 6), string(good.leaf.Key)), ".tls.client_certificate: must have at most 5 certificates"},
		{"another's key", pair(string(good.leaf.Cert), string(other.leaf.Key)), ".tls.client_certificate: does not belong to client_key: the first certificate must be that of the key"},
		{"a chain the wrong way round", pair(good.root+string(good.leaf.Cert), string(good.leaf.Key)), ".tls.client_certificate: does not belong to client_key: the first certificate must be that of the key"},
		{"a key that is none", pair(string(good.leaf.Cert), string(good.leaf.Cert)), ".tls.client_key.pem: must be one private key in PEM, from BEGIN PRIVATE KEY to END PRIVATE KEY"},
		{"two keys", pair(string(good.leaf.Cert), strings.Repeat(string(good.leaf.Key), 2)), ".tls.client_key.pem: must be one private key in PEM, from BEGIN PRIVATE KEY to END PRIVATE KEY"},
		{"an encrypted key", pair(string(good.leaf.Cert), encrypted), ".tls.client_key.pem: must not be encrypted: it is stored sealed"},
		{"a key that cannot be read", pair(string(good.leaf.Cert), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))), ".tls.client_key.pem: must be a private key for RSA, ECDSA or Ed25519"},
		{"a key that is not stored", pair(string(good.leaf.Cert), ""), ".tls.client_key.pem: is required: none is stored"},
		{"a server name with a port", tls(&catalogv1.BackendTLS{ServerName: "b.example:443"}), ".tls.server_name: must be a DNS name or an IP address, as backend.example.com, without a port"},
		{"a server name of two", tls(&catalogv1.BackendTLS{ServerName: "a, b"}), ".tls.server_name: must be a DNS name or an IP address of at most 253 characters, as backend.example.com, without a port"},
		{"a user with a colon", basic("a:b", "p"), ".basic.user: must have 1 to 255 visible ASCII characters, and no colon"},
		{"no user", basic("", "p"), ".basic.user: must have 1 to 255 visible ASCII characters, and no colon"},
		{"no password", basic("a", ""), ".basic.password.value: is required: none is stored"},
		{"a bearer that is no token", bearer("a b"), ".bearer.token.value: must be a token of letters, digits and -._~+/, with = at the end only"},
		{"no bearer", &catalogv1.Connection{Credential: &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{}}}, ".bearer.token: is required"},
		{"a token endpoint without TLS", client("http://id.example/token", "s"), ".oauth2.token_url: must be an https URL: the secret of the OAuth client is sent there"},
		{"a token endpoint without a host", client("https:///token", "s"), ".oauth2.token_url: must be an https URL of at most 2048 characters with a host, without user info and fragment; or http on this machine, as http://localhost:8080/token"},
		{"a token endpoint with a bad port", client("https://id.example:0/token", "s"), ".oauth2.token_url: " + badPort},
		{"no client_id", oauth(func(o *catalogv1.OAuth2Credential) { o.ClientId = "" }), ".oauth2.client_id: must have 1 to 255 visible ASCII characters"},
		{"a scope of two", oauth(func(o *catalogv1.OAuth2Credential) { o.Scopes = []string{"a b"} }), ".oauth2.scopes[0]: must have 1 to 100 visible ASCII characters, none of them \" or \\"},
		{"a scope twice", oauth(func(o *catalogv1.OAuth2Credential) { o.Scopes = []string{"a", "a"} }), ".oauth2.scopes: must not have the same value twice"},
		{"21 scopes", oauth(func(o *catalogv1.OAuth2Credential) {
			for i := range 21 {
				o.Scopes = append(o.Scopes, fmt.Sprint(i))
			}
		}), ".oauth2.scopes: must contain no more than 20 item(s)"},
		{"a long audience", oauth(func(o *catalogv1.OAuth2Credential) { o.Audience = strings.Repeat("x", 1025) }), ".oauth2.audience: must have at most 1024 visible ASCII characters"},
		{"a proxy with a path", proxied("http://proxy.example/x"), ".proxy.url: must be an http or https URL with a host and at most a port, as http://proxy.example.com:3128, of at most 300 characters"},
		{"a proxy of another kind", proxied("socks5://proxy.example"), ".proxy.url: must be an http or https URL with a host and at most a port, as http://proxy.example.com:3128, of at most 300 characters"},
		{"a proxy with a bad host", proxied("http://a..b"), ".proxy.url: " + badHost},
		{"a user of a proxy without a password", &catalogv1.Connection{Proxy: &catalogv1.ConnectProxy{Url: "http://p", User: "u"}}, ".proxy: user and password are needed together"},
	} {
		_, err := f.UpdateVersion(t.Context(), &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Endpoints: connected(tt.is)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"endpoints"}},
		}, f.root)
		wantError(t, "UpdateVersion with "+tt.name, err, codes.InvalidArgument, "version.endpoints.production_connection"+tt.message)
	}
	alone := &catalogv1.Endpoints{Production: endpoint("wss://b"), SandboxConnection: bearer("t")}
	_, err := f.UpdateVersion(t.Context(), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: v.GetName(), Endpoints: alone}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"endpoints"}},
	}, f.root)
	wantError(t, "UpdateVersion with a connection of no stage", err, codes.InvalidArgument, "version.endpoints.sandbox_connection: needs an endpoint in sandbox: remove the connection, too, where its last one is removed")
	conflicting := f.api("Other")
	for name, edit := range map[string]func(*catalogv1.Version){
		"must not be with pass_credential, by which backends get that of clients as Authorization": func(v *catalogv1.Version) { v.PassCredential = true },
		"must not be with backend_options.headers[0], a rule for Authorization, which it is sent as": func(v *catalogv1.Version) {
			v.BackendOptions = &catalogv1.BackendOptions{Headers: []*catalogv1.HeaderRule{removeHeader("authorization")}}
		},
	} {
		v := &catalogv1.Version{Version: "2", Endpoints: connected(bearer("t"))}
		edit(v)
		_, err := f.CreateVersion(t.Context(), &catalogv1.CreateVersionRequest{Parent: conflicting.GetName(), Version: v}, f.ann)
		wantError(t, "CreateVersion", err, codes.InvalidArgument, "version.endpoints.production_connection.bearer: "+name)
	}
	// Every form in which programs write private keys is taken.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalECPrivateKey(key)
	if field, err := checkPair(string(good.leaf.Cert), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))); field != "client_certificate" {
		t.Errorf("a key in SEC 1 of another certificate: %s %v", field, err)
	}
}

// The secrets of a connection reach gateways, and are in no answer, no change and not in the
// database as they are. They stay until others are given, and where a backend, the proxy or the
// token endpoint is another, they must be.
func TestSecretsOfConnections(t *testing.T) {
	pair := issue(t, 400*24*time.Hour)
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.version(f.api("Echo"), "1")
		update := func(e *catalogv1.Endpoints, who grpc.CallOption, paths ...string) (*catalogv1.Version, error) {
			return f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
				Version: &catalogv1.Version{Name: v.GetName(), Endpoints: e}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
			}, who)
		}
		given := &catalogv1.Endpoints{
			Production: endpoint("wss://backend.example/"), ProductionConnection: everything(pair, client("https://id.example/token", "top-secret-client")),
			Sandbox: endpoint("wss://sandbox.example/"), SandboxConnection: everything(pair, basic("gate", "top-secret-password")),
		}
		shown, err := update(given, f.root, "endpoints")
		if err != nil {
			t.Fatal(err)
		}
		routed := f.route(v)
		if diff := cmp.Diff(given, routed.GetEndpoints(), protocmp.Transform()); diff != "" {
			t.Errorf("gateways get something else than was given (-):\n%s", diff)
		}
		if got := routed.GetRequires(); len(got) != 1 || got[0] != routefeature.Connections {
			t.Errorf("the route asks for %v", got)
		}
		for _, s := range []interface{ GetSetter() string }{
			shown.GetEndpoints().GetProductionConnection().GetOauth2().GetClientSecret(), shown.GetEndpoints().GetSandboxConnection().GetBasic().GetPassword(),
			shown.GetEndpoints().GetProductionConnection().GetTls().GetClientKey(), shown.GetEndpoints().GetSandboxConnection().GetProxy().GetPassword(),
		} {
			if s.GetSetter() != "users/root" {
				t.Errorf("a secret was set by %q, want users/root", s.GetSetter())
			}
		}
		// What was read is sent again, and stays.
		if _, err := update(shown.GetEndpoints(), f.ann, "endpoints"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(given, f.route(v).GetEndpoints(), protocmp.Transform()); diff != "" {
			t.Errorf("gateways get something else after what was read was sent again:\n%s", diff)
		}
		// So it does in a version that takes over, made by the owner.
		copied, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
			Parent: "apis/" + strings.Split(v.GetName(), "/")[1], SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "2"},
		}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(given, f.route(copied).GetEndpoints(), protocmp.Transform()); diff != "" {
			t.Errorf("a version that takes over gets something else:\n%s", diff)
		}
		f.elsewhere(t, shown.GetEndpoints(), update)
		// A certificate alone does not go with the key that is stored.
		another := cloneEndpoints(shown)
		another.ProductionConnection.Tls.ClientCertificate = string(issue(t, time.Hour).leaf.Cert)
		_, err = update(another, f.ann, "endpoints")
		wantError(t, "UpdateVersion with another certificate", err, codes.InvalidArgument,
			"version.endpoints.production_connection.tls.client_certificate: does not belong to client_key: the first certificate must be that of the key")
		// Nobody is shown them.
		for name, who := range map[string]grpc.CallOption{"the owner": f.ann, "an administrator": f.root, "a publisher": f.pete} {
			got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, who)
			if text := got.String(); err != nil || strings.Contains(text, "top-secret") || strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("%s is shown %v, %v", name, got, err)
			}
		}
		changes, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog"}, f.root)
		text := fmt.Sprint(changes)
		if err != nil || strings.Contains(text, "top-secret") || strings.Contains(text, "PRIVATE KEY") || !strings.Contains(text, "production_connection.oauth2.client_secret.set_time") {
			t.Errorf("the changes are %s, %v, want that the connection changed and no secret", text, err)
		}
		if dump := f.dump(); strings.Contains(dump, "top-secret") || strings.Contains(dump, "PRIVATE KEY") {
			t.Error("the database has a secret as it is")
		}
	})
}

// elsewhere has what is stored lead elsewhere, by who may, and wants the secrets given again.
func (f *fixture) elsewhere(t *testing.T, stored *catalogv1.Endpoints, update func(*catalogv1.Endpoints, grpc.CallOption, ...string) (*catalogv1.Version, error)) {
	t.Helper()
	for name, edit := range map[string]func(*catalogv1.Endpoints){
		"another backend": func(e *catalogv1.Endpoints) { e.Sandbox = endpoint("wss://mine.example/") },
		"another proxy":   func(e *catalogv1.Endpoints) { e.SandboxConnection.Proxy.Url = "http://mine.example" },
	} {
		e := cloneEndpoints(&catalogv1.Version{Endpoints: stored})
		edit(e)
		_, err := update(e, f.root, "endpoints")
		for _, field := range []string{
			"production_connection.oauth2.client_secret.value", "production_connection.proxy.password.value", "production_connection.tls.client_key.pem",
			"sandbox_connection.basic.password.value", "sandbox_connection.proxy.password.value", "sandbox_connection.tls.client_key.pem",
		} {
			if want := "version.endpoints." + field + ": must be given again"; err == nil || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("UpdateVersion to %s = %v, want %q", name, err, want)
			}
		}
	}
	// A backend of the other stage, which may be somebody else's.
	e := cloneEndpoints(&catalogv1.Version{Endpoints: stored})
	e.Production = append(e.Production, e.Sandbox...)
	_, err := update(e, f.root, "endpoints")
	for field, again := range map[string]bool{
		"production_connection.oauth2.client_secret.value": true, "production_connection.tls.client_key.pem": true,
		"sandbox_connection.basic.password.value": false, "sandbox_connection.tls.client_key.pem": false,
	} {
		if got := strings.Contains(fmt.Sprint(err), "version.endpoints."+field+": must be given again"); got != again {
			t.Errorf("UpdateVersion to a backend of the other stage = %v, want %s given again: %v", err, field, again)
		}
	}
	e = cloneEndpoints(&catalogv1.Version{Endpoints: stored})
	e.ProductionConnection.GetOauth2().TokenUrl = "https://mine.example/token"
	_, err = update(e, f.root, "endpoints")
	wantError(t, "UpdateVersion to another token endpoint", err, codes.InvalidArgument,
		"version.endpoints.production_connection.oauth2.client_secret.value: must be given again, because it is sent to another address than before")
	// Another kind of credential keeps none of the secrets.
	e = cloneEndpoints(&catalogv1.Version{Endpoints: stored})
	e.SandboxConnection.Credential = bearer("").GetCredential()
	_, err = update(e, f.root, "endpoints")
	wantError(t, "UpdateVersion to another credential", err, codes.InvalidArgument, "version.endpoints.sandbox_connection.bearer.token.value: is required: none is stored")
}

func cloneEndpoints(v *catalogv1.Version) *catalogv1.Endpoints {
	return proto.CloneOf(v.GetEndpoints())
}

// Where a proxy leads is for administrators to say; owners may change the rest, and take the
// proxy away.
func TestProxiesAreForAdministrators(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	update := func(e *catalogv1.Endpoints, who grpc.CallOption) error {
		_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Endpoints: e}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"endpoints"}},
		}, who)
		return err
	}
	const needs = "this needs an administrator: endpoints.production_connection.proxy leads past the address rules of gateways, so only administrators set it, and change the endpoints and the token_url behind it"
	behind := func(path, tokenURL string) *catalogv1.Endpoints {
		c := client(tokenURL, "s")
		c.Proxy = &catalogv1.ConnectProxy{Url: "http://proxy.example"}
		e := connected(c)
		e.Production = endpoint("wss://backend.example" + path)
		return e
	}
	wantError(t, "the owner sets a proxy", update(behind("/", "https://id.example/"), f.ann), codes.PermissionDenied, needs)
	_, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
		Parent: f.api("Other").GetName(), Version: &catalogv1.Version{Version: "1", Endpoints: connected(proxied("http://proxy.example"))},
	}, f.as("ann", identity.RoleCreator))
	wantError(t, "the owner creates a version with a proxy", err, codes.PermissionDenied, needs)
	f.must(nil, update(behind("/", "https://id.example/"), f.root))
	f.must(nil, update(behind("/deeper", "https://id.example/other"), f.ann))
	wantError(t, "the owner leads elsewhere", update(behind(".other/", "https://id.example/"), f.ann), codes.PermissionDenied, needs)
	wantError(t, "the owner leads to another port", update(behind(":8443/", "https://id.example/"), f.ann), codes.PermissionDenied, needs)
	wantError(t, "the owner asks another token endpoint", update(behind("/", "https://internal/"), f.ann), codes.PermissionDenied, needs)
	f.must(nil, update(connected(client("https://internal/", "s")), f.ann))
	wantError(t, "the owner sets it again", update(behind("/", "https://id.example/"), f.ann), codes.PermissionDenied, needs)
}

// Certificates that expire, and what is of no use or is heard by others, are warnings for
// those who see the endpoints.
func TestWarningsOfConnections(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	api := f.api("Echo")
	soon := issue(t, time.Hour)
	c := bearer("t")
	c.Tls = &catalogv1.BackendTLS{ClientCertificate: string(soon.leaf.Cert), ClientKey: &catalogv1.PrivateKey{Pem: string(soon.leaf.Key)}, RootCertificates: soon.root}
	e := connected(c)
	e.Sandbox, e.SandboxConnection = endpoint("ws://backend.example"), &catalogv1.Connection{Tls: &catalogv1.BackendTLS{ServerName: "x"}, Credential: bearer("t").GetCredential()}
	v, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{Version: "1", Endpoints: e, Plans: []string{"plans/gold"}}}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"endpoints.production_connection.tls.client_certificate: certificate 1 expires at ",
		"endpoints.sandbox_connection.tls: no endpoint of the stage begins with wss:// or https://, so it is of no use",
		"endpoints.sandbox_connection: an endpoint without TLS gets the credential as it is, and so does whoever listens on the way",
	}
	got := v.GetWarnings()
	for i := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("the warnings are %q, want %q", got, want)
		}
	}
	f.publish(v)
	seen, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.sue)
	if err != nil || len(seen.GetWarnings()) != 0 || seen.GetEndpoints() != nil {
		t.Errorf("a subscriber sees %v, %v", seen, err)
	}
	for after, want := range map[time.Duration]string{0: "expires", 2 * time.Hour: "has expired"} {
		row := store.Version{Endpoints: store.Endpoints{Connections: store.Connections{Production: &store.Connection{TLS: &store.BackendTLS{Certificate: string(soon.leaf.Cert)}}}}}
		if got := connectionWarnings(row, time.Now().Add(after)); len(got) == 0 || !strings.Contains(got[0], "certificate 1 "+want+" at ") {
			t.Errorf("after %v the warnings are %q", after, got)
		}
	}
}

// A change of an API with the most versions, each as large as can be, is a message that
// services send each other.
func TestLargestRoutesFitInAMessage(t *testing.T) {
	v := largest("1")
	secret := func() *catalogv1.Secret { return secretOf(strings.Repeat("s", 4096)) }
	v.Endpoints = &catalogv1.Endpoints{}
	v.Endpoints.Production = longEndpoints(maxURLs / 2048)
	for range 8 {
		var places []*catalogv1.CredentialPlace
		for range 8 {
			places = append(places, inQuery(strings.Repeat("p", 64)))
		}
		v.Security = append(v.Security, oauth2(places...))
	}
	c := client(strings.Repeat("t", 2048), strings.Repeat("s", 4096))
	c.GetOauth2().ClientId, c.GetOauth2().Audience = strings.Repeat("i", 255), strings.Repeat("a", 1024)
	for range 20 {
		c.GetOauth2().Scopes = append(c.GetOauth2().Scopes, strings.Repeat("s", 100))
	}
	c.Tls = &catalogv1.BackendTLS{
		RootCertificates: strings.Repeat("r", 16384), ClientCertificate: strings.Repeat("c", 8192), ServerName: strings.Repeat("n", 253),
		ClientKey: &catalogv1.PrivateKey{Pem: strings.Repeat("k", 8192)},
	}
	c.Proxy = &catalogv1.ConnectProxy{Url: strings.Repeat("p", 300), User: strings.Repeat("u", 255), Password: secret()}
	v.Endpoints.ProductionConnection, v.Endpoints.SandboxConnection = c, c
	v.Http = &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{ProductionConnection: c, SandboxConnection: c}, Security: v.GetSecurity()}
	for range 6 {
		v.ClientEndings = append(v.ClientEndings, &catalogv1.ClientEnding{Code: 4000, Text: strings.Repeat("x", 1024)})
	}
	event := &backplanev1.RouteEvent{}
	route := withVersion(store.Version{Version: "1"}, v).Route()
	for range store.MaxVersions {
		event.Routes = append(event.Routes, route)
	}
	if size := proto.Size(event); size > memnet.MaxMessage*3/4 {
		t.Errorf("a change of %d versions has %d bytes, want at most three quarters of %d", store.MaxVersions, size, memnet.MaxMessage)
	}
}
