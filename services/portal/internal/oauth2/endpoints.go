package oauth2

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

// How long caches may keep public answers. A new signing key is published well before
// it signs.
const (
	keysCache     = "public, max-age=60"
	metadataCache = "public, max-age=300"
)

// tokenBody is an issued token (RFC 6749 section 5.1).
type tokenBody struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope,omitempty"`
}

func (h *Handler) token(r *http.Request, f *form) (answer, error) {
	resp, err := h.oauth.IssueToken(r.Context(), &oauth2v1.IssueTokenRequest{
		GrantType: f.get("grant_type"), ClientCredentials: f.credentials, Scope: f.get("scope"), Resource: f.get("resource"),
	})
	if err != nil {
		return nil, err
	}
	return tokenBody{
		AccessToken: resp.GetAccessToken(), TokenType: resp.GetTokenType(),
		ExpiresIn: resp.GetExpiresIn(), Scope: resp.GetScope(),
	}, nil
}

func (h *Handler) revoke(r *http.Request, f *form) (answer, error) {
	_, err := h.oauth.RevokeToken(r.Context(), &oauth2v1.RevokeTokenRequest{Token: f.get("token"), ClientCredentials: f.credentials})
	return nil, err
}

// introspectionBody describes a token (RFC 7662 section 2.2).
type introspectionBody struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expiry    int64    `json:"exp,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
}

func (h *Handler) introspect(r *http.Request, f *form) (answer, error) {
	resp, err := h.oauth.IntrospectToken(r.Context(), &oauth2v1.IntrospectTokenRequest{Token: f.get("token"), ClientCredentials: f.credentials})
	if err != nil {
		return nil, err
	}
	if !resp.GetActive() {
		return introspectionBody{}, nil
	}
	return introspectionBody{
		Active: true, Scope: resp.GetScope(), ClientID: resp.GetClientId(), TokenType: "Bearer",
		Expiry: resp.GetExpireTime().GetSeconds(), IssuedAt: resp.GetIssueTime().GetSeconds(),
		Subject: resp.GetSubject(), Audience: resp.GetAudience(), Issuer: resp.GetIssuer(), ID: resp.GetTokenId(),
	}, nil
}

// keySetBody is a JWK set (RFC 7517 section 5).
type keySetBody struct {
	Keys []keyBody `json:"keys"`
}

// keyBody is a public key (RFC 7517 section 4, RFC 7518 section 6).
type keyBody struct {
	Type      string `json:"kty"`
	ID        string `json:"kid"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	Modulus   string `json:"n,omitempty"`
	Exponent  string `json:"e,omitempty"`
}

// keySet serves the keys of a purpose.
func (h *Handler) keySet(purpose oauth2v1.SigningKey_Purpose) func(http.ResponseWriter, *http.Request) (answer, error) {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		resp, err := h.oauth.GetJsonWebKeySet(r.Context(), &oauth2v1.GetJsonWebKeySetRequest{Purpose: purpose})
		if err != nil {
			return nil, err
		}
		body := keySetBody{Keys: []keyBody{}}
		for _, k := range resp.GetKeys() {
			body.Keys = append(body.Keys, keyBody{
				Type: k.GetKty(), ID: k.GetKid(), Use: k.GetUse(), Algorithm: k.GetAlg(),
				Curve: k.GetCrv(), X: k.GetX(), Y: k.GetY(), Modulus: k.GetN(), Exponent: k.GetE(),
			})
		}
		w.Header().Set("Cache-Control", keysCache)
		w.Header().Set("Content-Type", "application/jwk-set+json")
		return body, nil
	}
}

// metadataBody describes the server (RFC 8414 section 2).
type metadataBody struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	TokenMethods          []string `json:"token_endpoint_auth_methods_supported"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RevocationMethods     []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	KeysURI               string   `json:"jwks_uri"`
	GrantTypes            []string `json:"grant_types_supported"`
	// ResponseTypes is required, and empty: there is no authorization endpoint.
	ResponseTypes []string `json:"response_types_supported"`
}

func (h *Handler) metadata(w http.ResponseWriter, r *http.Request) (answer, error) {
	resp, err := h.oauth.GetJsonWebKeySet(r.Context(), &oauth2v1.GetJsonWebKeySetRequest{})
	if err != nil {
		return nil, err
	}
	issuer := resp.GetIssuer()
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("read the issuer: %w", err)
	}
	if strings.TrimPrefix(r.URL.Path, MetadataPath) != u.Path {
		return nil, &refusal{http.StatusNotFound, oauthcode.InvalidRequest, "the issuer has no such path"}
	}
	if issuer == "" {
		return nil, fault.Unavailable("the issuer is not known yet")
	}
	methods := []string{"client_secret_basic", "client_secret_post"}
	w.Header().Set("Cache-Control", metadataCache)
	return metadataBody{
		Issuer:        issuer,
		TokenEndpoint: issuer + TokenPath, TokenMethods: methods,
		RevocationEndpoint: issuer + RevokePath, RevocationMethods: methods,
		IntrospectionEndpoint: issuer + IntrospectPath, IntrospectionMethods: methods,
		KeysURI:       issuer + KeysPath,
		GrantTypes:    []string{"client_credentials"},
		ResponseTypes: []string{},
	}, nil
}
