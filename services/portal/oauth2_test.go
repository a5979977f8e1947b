package portal_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

const formType = "application/x-www-form-urlencoded"

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// TestOAuth2Refuses sends what the OAuth2 endpoints must refuse; no service
// hears of any of it.
func TestOAuth2Refuses(t *testing.T) {
	s := start(t)
	good := basic("id", "secret")
	const grant = "grant_type=client_credentials"
	tests := []struct {
		name               string
		method, path, body string
		headers            []string // with a Content-Type of their own where they name one
		status             int
		want               string
	}{
		{"wrong method", "GET", "/oauth2/token", "", nil, 405, `{"error":"invalid_request","error_description":"the method must be POST"}`},
		{"wrong method at revoke", "DELETE", "/oauth2/revoke", "", nil, 405, `{"error":"invalid_request","error_description":"the method must be POST"}`},
		{"wrong method at introspect", "PUT", "/oauth2/introspect", "", nil, 405, `{"error":"invalid_request","error_description":"the method must be POST"}`},
		{"wrong method at the keys", "POST", "/oauth2/jwks", "", nil, 405, `{"error":"invalid_request","error_description":"the method must be GET"}`},
		{"wrong method at the metadata", "POST", "/.well-known/oauth-authorization-server", "", nil, 405, `{"error":"invalid_request","error_description":"the method must be GET"}`},
		{"unknown path", "POST", "/oauth2/authorize", "", nil, 404, `{"code":5,"message":"the path /oauth2/authorize was not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"PATH_NOT_FOUND","domain":"tidegate","metadata":{}}]}`},

		{"no type", "POST", "/oauth2/token", grant, []string{"Content-Type", "", "Authorization", good}, 400, `{"error":"invalid_request","error_description":"the Content-Type must be application/x-www-form-urlencoded"}`},
		{"JSON", "POST", "/oauth2/token", "{}", []string{"Content-Type", jsonType, "Authorization", good}, 400, `{"error":"invalid_request","error_description":"the Content-Type must be application/x-www-form-urlencoded"}`},
		{"parameters in the address", "POST", "/oauth2/token?" + grant, "", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"parameters belong in the body, not in the address"}`},
		{"no form", "POST", "/oauth2/token", "a=%zz", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"the body is not a form"}`},
		{"too large", "POST", "/oauth2/token", "a=" + strings.Repeat("x", 1<<16), []string{"Authorization", good}, 413, `{"error":"invalid_request","error_description":"the body must have at most 65536 bytes"}`},
		{"parameter twice", "POST", "/oauth2/token", grant + "&" + grant, []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"grant_type is given more than once"}`},
		{"empty parameter twice", "POST", "/oauth2/token", grant + "&scope=&scope=", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"scope is given more than once"}`},
		{"resource twice", "POST", "/oauth2/token", grant + "&resource=wss://h/a&resource=wss://h/b", []string{"Authorization", good}, 400, `{"error":"invalid_target","error_description":"resource is given more than once: a token is for one, get a token for each"}`},
		{"too long a resource", "POST", "/oauth2/token", grant + "&resource=" + strings.Repeat("x", 1025), []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"resource must have at most 1024 characters"}`},
		{"unknown parameter twice", "POST", "/oauth2/token", grant + "&x=1&x=2", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"a parameter is given more than once"}`},
		{"not UTF-8", "POST", "/oauth2/token", grant + "&scope=%ff", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"scope is not UTF-8"}`},
		{"NUL in a scope", "POST", "/oauth2/token", grant + "&scope=a%00", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"scope must not have the character NUL"}`},
		{"too long a scope", "POST", "/oauth2/token", grant + "&scope=" + strings.Repeat("x", 1025), []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"scope must have at most 1024 characters"}`},
		{"too long a token", "POST", "/oauth2/revoke", "token=" + strings.Repeat("x", 8193), []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"token must have at most 8192 characters"}`},
		{"no client", "POST", "/oauth2/token", grant, nil, 401, `{"error":"invalid_client","error_description":"the OAuth client must prove itself: by HTTP Basic, or with client_id and client_secret"}`},
		{"no client at revoke", "POST", "/oauth2/revoke", "token=x", nil, 401, `{"error":"invalid_client","error_description":"the OAuth client must prove itself: by HTTP Basic, or with client_id and client_secret"}`},
		{"no client at introspect", "POST", "/oauth2/introspect", "token=x", nil, 401, `{"error":"invalid_client","error_description":"the OAuth client must prove itself: by HTTP Basic, or with client_id and client_secret"}`},
		{"no secret", "POST", "/oauth2/token", grant + "&client_id=id", nil, 401, `{"error":"invalid_client","error_description":"client_secret is missing"}`},
		{"no id", "POST", "/oauth2/token", grant + "&client_secret=x", nil, 400, `{"error":"invalid_request","error_description":"client_id is missing"}`},
		{"too long an id", "POST", "/oauth2/token", grant + "&client_secret=x&client_id=" + strings.Repeat("x", 129), nil, 400, `{"error":"invalid_request","error_description":"client_id must have at most 128 characters"}`},
		{"NUL in an id", "POST", "/oauth2/token", grant + "&client_secret=x&client_id=%00", nil, 400, `{"error":"invalid_request","error_description":"client_id must not have the character NUL"}`},
		{"NUL in a secret", "POST", "/oauth2/revoke", "token=x&client_id=x&client_secret=a%00b", nil, 400, `{"error":"invalid_request","error_description":"client_secret must not have the character NUL"}`},
		{"NUL in a token", "POST", "/oauth2/introspect", "token=%00&client_id=x&client_secret=x", nil, 400, `{"error":"invalid_request","error_description":"token must not have the character NUL"}`},
		{"two ways", "POST", "/oauth2/token", grant + "&client_secret=secret", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"the OAuth client proves itself in two ways: give the Authorization header or client_secret, not both"}`},
		{"another id in the form", "POST", "/oauth2/token", grant + "&client_id=other", []string{"Authorization", good}, 400, `{"error":"invalid_request","error_description":"client_id differs from the one in the Authorization header"}`},
		{"two authorizations", "POST", "/oauth2/token", grant, []string{"Authorization", good, "Authorization", good}, 400, `{"error":"invalid_request","error_description":"the request carries more than one Authorization header"}`},
		{"bearer", "POST", "/oauth2/token", grant, []string{"Authorization", "Bearer x"}, 401, `{"error":"invalid_client","error_description":"the Authorization header is not one of HTTP Basic"}`},
		{"no base64", "POST", "/oauth2/token", grant, []string{"Authorization", "Basic ***"}, 401, `{"error":"invalid_client","error_description":"the Authorization header is not one of HTTP Basic"}`},
		{"no colon", "POST", "/oauth2/token", grant, []string{"Authorization", "Basic eHg="}, 401, `{"error":"invalid_client","error_description":"the Authorization header is not one of HTTP Basic"}`},
		{"id not form-encoded", "POST", "/oauth2/token", grant, []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("%:x"))}, 401, `{"error":"invalid_client","error_description":"the client_id in the Authorization header is not form-encoded"}`},
		{"secret not form-encoded", "POST", "/oauth2/token", grant, []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:%"))}, 401, `{"error":"invalid_client","error_description":"the client_secret in the Authorization header is not form-encoded"}`},
		{"empty secret", "POST", "/oauth2/token", grant, []string{"Authorization", basic("id", "")}, 401, `{"error":"invalid_client","error_description":"the OAuth client is not known, or its secret is wrong"}`},
		{"too long a secret", "POST", "/oauth2/token", grant, []string{"Authorization", basic("id", strings.Repeat("x", 129))}, 401, `{"error":"invalid_client","error_description":"the OAuth client is not known, or its secret is wrong"}`},
		{"id that is not UTF-8", "POST", "/oauth2/token", grant, []string{"Authorization", basic("\xff", "x")}, 401, `{"error":"invalid_client","error_description":"the OAuth client is not known, or its secret is wrong"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := tt.headers
			if len(headers) == 0 || headers[0] != "Content-Type" {
				headers = append([]string{"Content-Type", formType}, headers...)
			}
			got := s.do(t, tt.method, tt.path, tt.body, headers...)
			if body := compact(t, got.body); got.status != tt.status || body != tt.want {
				t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.path, got.status, body, tt.status, tt.want)
			}
			if cc := got.header.Get("Cache-Control"); cc != "no-store" && got.status < 404 {
				t.Errorf("Cache-Control = %q, want no-store", cc)
			}
			challenge := got.header.Get("Www-Authenticate")
			if want := `Basic realm="tidegate", charset="UTF-8"`; (got.status == 401) != (challenge == want) {
				t.Errorf("status %d with WWW-Authenticate %q, want %q with 401 only", got.status, challenge, want)
			}
			if got.status == 405 && !strings.HasPrefix(got.header.Get("Allow"), strings.TrimSuffix(tt.want[strings.LastIndex(tt.want, " ")+1:], `"}`)) {
				t.Errorf("Allow = %q for %s", got.header.Get("Allow"), tt.want)
			}
		})
	}
	if c, n := s.last(); n > 0 {
		t.Errorf("%d calls reached a service, the last was %s %v; want none", n, c.method, c.request)
	}
}

// TestOAuth2PassesRefusals turns the reasons of OAuth2Service into RFC 6749's
// errors.
func TestOAuth2PassesRefusals(t *testing.T) {
	s := start(t)
	with := func(reason string) error {
		return fault.WithReason(fault.Invalid("", `it is "so" \ ü`), reason)
	}
	tests := []struct {
		err    error
		status int
		want   string
	}{
		{fault.WithReason(fault.Unauthenticated("unknown client"), "INVALID_CLIENT"), 401, `{"error":"invalid_client","error_description":"unknown client"}`},
		{with("INVALID_REQUEST"), 400, `{"error":"invalid_request","error_description":"it is 'so' ' ?"}`},
		{with("INVALID_GRANT"), 400, `{"error":"invalid_grant","error_description":"it is 'so' ' ?"}`},
		{with("INVALID_TARGET"), 400, `{"error":"invalid_target","error_description":"it is 'so' ' ?"}`},
		{with("UNSUPPORTED_GRANT_TYPE"), 400, `{"error":"unsupported_grant_type","error_description":"it is 'so' ' ?"}`},
		{with("INVALID_SCOPE"), 400, `{"error":"invalid_scope","error_description":"it is 'so' ' ?"}`},
		{fault.Invalid("client_credentials.client_id", "is too long"), 400, `{"error":"invalid_request","error_description":"client_credentials.client_id: is too long"}`},
		{fault.Unauthenticated("who?"), 401, `{"error":"invalid_client","error_description":"who?"}`},
		{fault.Denied("not you"), 400, `{"error":"unauthorized_client","error_description":"not you"}`},
		{fault.Exhausted("too many"), 429, `{"error":"temporarily_unavailable","error_description":"too many"}`},
		{fault.Unavailable("the database is away"), 503, `{"error":"temporarily_unavailable","error_description":"the database is away"}`},
		{errors.New("select: no such table"), 500, `{"error":"server_error","error_description":"internal error"}`},
	}
	for _, tt := range tests {
		for method, path := range map[string]string{
			oauth2v1.OAuth2Service_IssueToken_FullMethodName:      "/oauth2/token",
			oauth2v1.OAuth2Service_RevokeToken_FullMethodName:     "/oauth2/revoke",
			oauth2v1.OAuth2Service_IntrospectToken_FullMethodName: "/oauth2/introspect",
		} {
			s.on(method, func(context.Context, proto.Message) (proto.Message, error) { return nil, tt.err })
			got := s.do(t, "POST", path, "grant_type=x&token=x", "Content-Type", formType, "Authorization", basic("id", "secret"))
			if body := compact(t, got.body); got.status != tt.status || body != tt.want {
				t.Errorf("POST %s with %v = %d %s, want %d %s", path, tt.err, got.status, body, tt.status, tt.want)
			}
		}
	}
}

// TestOAuth2MissingParameters leaves it to the service to say what is missing.
func TestOAuth2MissingParameters(t *testing.T) {
	s := start(t)
	missing := oauthcode.With(oauthcode.InvalidRequest, fault.Invalid("x", "is missing"))
	client := &oauth2v1.ClientCredentials{ClientId: "id", ClientSecret: "secret"}
	for _, tt := range []struct {
		method, path string
		bodies       []string
		called       proto.Message
	}{
		{oauth2v1.OAuth2Service_IssueToken_FullMethodName, "/oauth2/token", []string{"", "grant_type="}, &oauth2v1.IssueTokenRequest{ClientCredentials: client}},
		{oauth2v1.OAuth2Service_RevokeToken_FullMethodName, "/oauth2/revoke", []string{"", "token="}, &oauth2v1.RevokeTokenRequest{ClientCredentials: client}},
		{oauth2v1.OAuth2Service_IntrospectToken_FullMethodName, "/oauth2/introspect", []string{"", "token="}, &oauth2v1.IntrospectTokenRequest{ClientCredentials: client}},
	} {
		s.on(tt.method, func(context.Context, proto.Message) (proto.Message, error) { return nil, missing })
		for _, body := range tt.bodies {
			got := s.do(t, "POST", tt.path, body, "Content-Type", formType, "Authorization", basic("id", "secret"))
			if want := `{"error":"invalid_request","error_description":"x: is missing"}`; got.status != 400 || compact(t, got.body) != want {
				t.Errorf("POST %s with %q = %d %s, want 400 %s", tt.path, body, got.status, got.body, want)
			}
			if c, _ := s.last(); !proto.Equal(c.request, tt.called) {
				t.Errorf("POST %s with %q called %v, want %v", tt.path, body, c.request, tt.called)
			}
		}
	}
}

// TestOAuth2Answers looks at what the endpoints answer and what they ask.
func TestOAuth2Answers(t *testing.T) {
	s := start(t)
	s.on(oauth2v1.OAuth2Service_IssueToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*oauth2v1.IssueTokenRequest)
		return &oauth2v1.IssueTokenResponse{AccessToken: "abc", TokenType: "Bearer", ExpiresIn: 3600, Scope: req.GetScope()}, nil
	})
	s.on(oauth2v1.OAuth2Service_RevokeToken_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &emptypb.Empty{}, nil
	})
	s.on(oauth2v1.OAuth2Service_IntrospectToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		if req, _ := m.(*oauth2v1.IntrospectTokenRequest); req.GetToken() != "abc" {
			return &oauth2v1.IntrospectTokenResponse{Subject: "never shown"}, nil
		}
		return &oauth2v1.IntrospectTokenResponse{
			Active: true, Scope: "default", ClientId: "id", Subject: "id", Audience: []string{"https://localhost/gateway"},
			Issuer: "https://localhost", TokenId: "j", ExpireTime: &timestamppb.Timestamp{Seconds: 20}, IssueTime: &timestamppb.Timestamp{Seconds: 10},
		}, nil
	})
	const id, secret = "i:d%+ü", "s &c=r:et/"
	client := &oauth2v1.ClientCredentials{ClientId: id, ClientSecret: secret}
	inForm := "&client_id=" + url.QueryEscape(id) + "&client_secret=" + url.QueryEscape(secret)
	tests := []struct {
		name, path, body string
		basic            bool
		want             string
		called           proto.Message
	}{
		{"token by Basic", "/oauth2/token", "grant_type=client_credentials&scope=default&unknown=x", true, `{"access_token":"abc","token_type":"Bearer","expires_in":3600,"scope":"default"}`, &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", Scope: "default", ClientCredentials: client}},
		{"token by form", "/oauth2/token", "grant_type=client_credentials" + inForm, false, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`, &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: client}},
		{"token for an address", "/oauth2/token", "grant_type=client_credentials&resource=wss%3A%2F%2Fh%2Fa" + inForm, false, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`, &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", Resource: "wss://h/a", ClientCredentials: client}},
		{"the same id twice", "/oauth2/token", "grant_type=x&client_id=" + url.QueryEscape(id), true, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`, &oauth2v1.IssueTokenRequest{GrantType: "x", ClientCredentials: client}},
		{"revocation", "/oauth2/revoke", "token=abc&token_type_hint=refresh_token", true, "", &oauth2v1.RevokeTokenRequest{Token: "abc", ClientCredentials: client}},
		{"active", "/oauth2/introspect", "token=abc" + inForm, false, `{"active":true,"scope":"default","client_id":"id","token_type":"Bearer","exp":20,"iat":10,"sub":"id","aud":["https://localhost/gateway"],"iss":"https://localhost","jti":"j"}`, &oauth2v1.IntrospectTokenRequest{Token: "abc", ClientCredentials: client}},
		{"not active", "/oauth2/introspect", "token=abd", true, `{"active":false}`, &oauth2v1.IntrospectTokenRequest{Token: "abd", ClientCredentials: client}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := []string{"Content-Type", formType + "; charset=utf-8", "Traceparent", "00-1-2-01", "Cookie", "x=y"}
			if tt.basic {
				headers = append(headers, "Authorization", basic(id, secret))
			}
			got := s.do(t, "POST", tt.path, tt.body, headers...)
			if got.status != 200 || got.body != tt.want {
				t.Errorf("POST %s = %d %s, want 200 %s", tt.path, got.status, got.body, tt.want)
			}
			if cc, pragma := got.header.Get("Cache-Control"), got.header.Get("Pragma"); cc != "no-store" || pragma != "no-cache" {
				t.Errorf("Cache-Control = %q, Pragma = %q, want no-store and no-cache", cc, pragma)
			}
			c, _ := s.last()
			if !proto.Equal(c.request, tt.called) {
				t.Errorf("POST %s called %v, want %v", tt.path, c.request, tt.called)
			}
			if len(c.metadata.Get("authorization")) > 0 || len(c.metadata.Get("cookie")) > 0 || len(c.metadata.Get("traceparent")) != 1 {
				t.Errorf("metadata = %v, want the trace and no authorization", c.metadata)
			}
		})
	}
}

// TestOAuth2Documents reads the keys and the metadata.
func TestOAuth2Documents(t *testing.T) {
	s := start(t)
	const metadata = `{"issuer":"ISSUER","token_endpoint":"ISSUER/oauth2/token","token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],` +
		`"revocation_endpoint":"ISSUER/oauth2/revoke","revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],` +
		`"introspection_endpoint":"ISSUER/oauth2/introspect","introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],` +
		`"jwks_uri":"ISSUER/oauth2/jwks","grant_types_supported":["client_credentials"],"response_types_supported":[]}`
	const wellKnown = "/.well-known/oauth-authorization-server"
	tests := []struct {
		name, issuer, path string
		status             int
		kind, cache, want  string
	}{
		{"keys", "https://localhost:9443", "/oauth2/jwks", 200, "application/jwk-set+json", "public, max-age=60", `{"keys":[{"kty":"EC","kid":"k","use":"sig","alg":"ES256","crv":"P-256","x":"__4B","y":"AAI"},{"kty":"RSA","kid":"l","n":"AQ","e":"AQAB"}]}`},
		{"keys of identities", "https://localhost:9443", "/oauth2/identity-jwks", 200, "application/jwk-set+json", "public, max-age=60", `{"keys":[{"kty":"EC","kid":"identity","crv":"P-256","x":"__4B","y":"AAI"}]}`},
		{"metadata", "https://localhost:9443", wellKnown, 200, jsonType, "public, max-age=300", strings.ReplaceAll(metadata, "ISSUER", "https://localhost:9443")},
		{"metadata of an issuer with a path", "https://example.com/ws", wellKnown + "/ws", 200, jsonType, "public, max-age=300", strings.ReplaceAll(metadata, "ISSUER", "https://example.com/ws")},
		{"metadata of another path", "https://example.com/ws", wellKnown, 404, jsonType, "no-store", `{"error":"invalid_request","error_description":"the issuer has no such path"}`},
		{"keys without the service", "", "/oauth2/jwks", 503, jsonType, "no-store", `{"error":"temporarily_unavailable","error_description":"no keys yet"}`},
		{"metadata without the service", "", wellKnown, 503, jsonType, "no-store", `{"error":"temporarily_unavailable","error_description":"no keys yet"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.on(oauth2v1.OAuth2Service_GetJsonWebKeySet_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
				if tt.issuer == "" {
					return nil, fault.Unavailable("no keys yet")
				}
				if req, _ := m.(*oauth2v1.GetJsonWebKeySetRequest); req.GetPurpose() == oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY {
					return &oauth2v1.JsonWebKeySet{Issuer: tt.issuer, Keys: []*oauth2v1.JsonWebKey{{Kty: "EC", Kid: "identity", Crv: "P-256", X: "__4B", Y: "AAI"}}}, nil
				}
				return &oauth2v1.JsonWebKeySet{Issuer: tt.issuer, Keys: []*oauth2v1.JsonWebKey{
					{Kty: "EC", Kid: "k", Use: "sig", Alg: "ES256", Crv: "P-256", X: "__4B", Y: "AAI"}, {Kty: "RSA", Kid: "l", N: "AQ", E: "AQAB"},
				}}, nil
			})
			got := s.do(t, "GET", tt.path, "")
			if got.status != tt.status || got.body != tt.want || got.header.Get("Content-Type") != tt.kind || got.header.Get("Cache-Control") != tt.cache {
				t.Errorf("GET %s = %d %q %q %s, want %d %q %q %s", tt.path, got.status, got.header.Get("Content-Type"),
					got.header.Get("Cache-Control"), got.body, tt.status, tt.kind, tt.cache, tt.want)
			}
		})
	}
}

// TestOAuth2Client gets a token with the client that Go programs use.
func TestOAuth2Client(t *testing.T) {
	s := start(t)
	s.on(oauth2v1.OAuth2Service_IssueToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*oauth2v1.IssueTokenRequest)
		if req.GetClientCredentials().GetClientSecret() != "right/+ %" {
			return nil, fault.WithReason(fault.Unauthenticated("wrong secret"), "INVALID_CLIENT")
		}
		return &oauth2v1.IssueTokenResponse{AccessToken: "abc", TokenType: "Bearer", ExpiresIn: 3600}, nil
	})
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, s.client)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		cfg := clientcredentials.Config{ClientID: "i:d", ClientSecret: "right/+ %", TokenURL: s.url + "/oauth2/token", AuthStyle: style, Scopes: []string{"default"}}
		token, err := cfg.Token(ctx)
		if err != nil || token.AccessToken != "abc" || token.Type() != "Bearer" || token.Expiry.IsZero() {
			t.Errorf("style %d: Token() = %+v, %v, want abc that expires", style, token, err)
		}
		cfg.ClientSecret = "wrong"
		var refused *oauth2.RetrieveError
		if _, err := cfg.Token(ctx); !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" || refused.Response.StatusCode != http.StatusUnauthorized {
			t.Errorf("style %d: Token() with a wrong secret = %v, want 401 invalid_client", style, err)
		}
	}
}
