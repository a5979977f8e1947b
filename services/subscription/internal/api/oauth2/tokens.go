package oauth2

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// clientCredentials is the only grant type.
const clientCredentials = "client_credentials"

// IssueToken issues an access token. It writes nothing.
func (a *API) IssueToken(ctx context.Context, req *oauth2v1.IssueTokenRequest) (*oauth2v1.IssueTokenResponse, error) {
	if req.GetGrantType() == "" {
		return nil, oauthcode.With(oauthcode.InvalidRequest, fault.Invalid("grant_type", "is missing"))
	}
	c, secret, err := a.oauthClient(ctx, req.GetClientCredentials())
	if err != nil {
		return nil, err
	}
	if req.GetGrantType() != clientCredentials {
		return nil, oauthcode.With(oauthcode.UnsupportedGrantType, fault.Invalid("grant_type", "must be %s", clientCredentials))
	}
	scopes, err := readScopes(req.GetScope())
	if err != nil {
		return nil, err
	}
	resource, err := a.readResource(ctx, req.GetResource())
	if err != nil {
		return nil, err
	}
	raw, t, err := a.issuer.SignApplication(token.ApplicationClaims{
		ClientID: c.ClientID, Secret: secret.ID, Issued: secret.AsOf, Scopes: scopes, Resource: resource,
	})
	if err != nil {
		return nil, err
	}
	return &oauth2v1.IssueTokenResponse{
		AccessToken: raw, TokenType: "Bearer",
		ExpiresIn: int64(t.ExpiresAt.Sub(t.IssuedAt).Seconds()), Scope: strings.Join(t.Scopes, " "),
	}, nil
}

// readScopes reads the requested scopes; an empty text means the default.
func readScopes(text string) ([]string, error) {
	if text == "" {
		return []string{token.DefaultScope}, nil
	}
	scopes := strings.Split(text, " ")
	if slices.ContainsFunc(scopes, func(s string) bool { return s != token.DefaultScope }) {
		return nil, oauthcode.With(oauthcode.InvalidScope, fault.Invalid("scope", "no API asks for a scope: leave it out or ask for %s", token.DefaultScope))
	}
	return slices.Compact(scopes), nil
}

// readResource returns the address that a token is to be narrowed to, as it is
// advertised, or "" for none.
func (a *API) readResource(ctx context.Context, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	address, err := a.store.AdvertisedAddress(ctx, text)
	if err == nil && address == "" {
		err = oauthcode.With(oauthcode.InvalidTarget, fault.Invalid("resource",
			"must be an address as it is advertised: of a published version, wss://HOST/CONTEXT/VERSION, or of its API, wss://HOST/CONTEXT"))
	}
	return address, err
}

// oauthClient returns the OAuth client that the proof authenticates, and its secret there.
func (a *API) oauthClient(ctx context.Context, proof *oauth2v1.ClientCredentials) (store.OAuthClient, store.SecretHash, error) {
	c, secret, err := a.prove(ctx, proof)
	if oauthcode.Of(err) == oauthcode.InvalidClient {
		// Who it is has not been shown: what was said must not pass for a name.
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.ClientRefused, What: proof.GetClientId(), Why: status.Convert(err).Message(),
		})
	}
	return c, secret, err
}

func (a *API) prove(ctx context.Context, proof *oauth2v1.ClientCredentials) (store.OAuthClient, store.SecretHash, error) {
	hash, ok := token.Hash(madesecret.ClientSecret, proof.GetClientSecret())
	if !ok || proof.GetClientId() == "" {
		return store.OAuthClient{}, store.SecretHash{}, errClient()
	}
	c, hashes, err := a.store.ClientSecrets(ctx, proof.GetClientId())
	if err != nil {
		return store.OAuthClient{}, store.SecretHash{}, err
	}
	i := slices.IndexFunc(hashes, func(want store.SecretHash) bool { return token.Same(hash, want.Hash) })
	if i < 0 {
		return store.OAuthClient{}, store.SecretHash{}, errClient()
	}
	return c, hashes[i], nil
}

func errClient() error {
	return oauthcode.With(oauthcode.InvalidClient, fault.Unauthenticated("the OAuth client is not known, or its secret is wrong"))
}

// readToken authenticates an OAuth client and reads the token that it asks about. The
// bool is false when the token is invalid or expired; revocations, and whose token it
// is, are not checked.
func (a *API) readToken(ctx context.Context, raw string, proof *oauth2v1.ClientCredentials) (store.OAuthClient, token.ApplicationClaims, bool, error) {
	c, _, err := a.oauthClient(ctx, proof)
	if err != nil {
		return store.OAuthClient{}, token.ApplicationClaims{}, false, err
	}
	if raw == "" {
		return store.OAuthClient{}, token.ApplicationClaims{}, false, oauthcode.With(oauthcode.InvalidRequest, fault.Invalid("token", "is missing"))
	}
	t, err := a.issuer.ReadApplication(ctx, raw)
	switch {
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrExpired):
		return c, token.ApplicationClaims{}, false, nil
	case err != nil:
		return store.OAuthClient{}, token.ApplicationClaims{}, false, err
	}
	return c, t, true, nil
}

// RevokeToken revokes a token (RFC 7009). A token that is invalid or has ended needs
// no revocation, whoever asks; another OAuth client's is refused (section 2.1).
func (a *API) RevokeToken(ctx context.Context, req *oauth2v1.RevokeTokenRequest) (*emptypb.Empty, error) {
	c, t, valid, err := a.readToken(ctx, req.GetToken(), req.GetClientCredentials())
	switch {
	case err != nil:
		return nil, err
	case !valid:
		return &emptypb.Empty{}, nil
	case t.ClientID != c.ClientID:
		return &emptypb.Empty{}, a.refuseForeign(ctx, c, t)
	}
	if err := a.store.Revoke(ctx, c, t.ID, t.ExpiresAt); err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, Who: c.Name.String(), What: store.GrantName(t.ID)})
	return &emptypb.Empty{}, nil
}

// tokenOf returns what a token says of itself, wherever it is used.
func tokenOf(t token.ApplicationClaims) store.Token {
	return store.Token{ID: t.ID, ClientID: t.ClientID, SignIn: t.SignIn, Secret: t.Secret, Issued: t.Issued}
}

// refuseForeign refuses to revoke a token of another OAuth client than c, unless it
// has ended.
func (a *API) refuseForeign(ctx context.Context, c store.OAuthClient, t token.ApplicationClaims) error {
	st, err := a.store.TokenState(ctx, tokenOf(t), "")
	if err != nil || !st.Known || st.Revoked || st.Over {
		return err
	}
	const why = "was issued to another OAuth client"
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.ClientRefused, Who: c.Name.String(), What: store.GrantName(t.ID), Why: "the token " + why})
	return oauthcode.With(oauthcode.InvalidGrant, fault.Invalid("token", why))
}

// IntrospectToken describes a token (RFC 7662).
func (a *API) IntrospectToken(ctx context.Context, req *oauth2v1.IntrospectTokenRequest) (*oauth2v1.IntrospectTokenResponse, error) {
	c, t, valid, err := a.readToken(ctx, req.GetToken(), req.GetClientCredentials())
	if err != nil {
		return nil, err
	}
	if !valid || t.ClientID != c.ClientID {
		return &oauth2v1.IntrospectTokenResponse{}, nil
	}
	st, err := a.store.TokenState(ctx, tokenOf(t), "")
	if err != nil || st.Revoked || st.Over {
		return &oauth2v1.IntrospectTokenResponse{}, err
	}
	return &oauth2v1.IntrospectTokenResponse{
		Active: true, Scope: strings.Join(t.Scopes, " "), ClientId: t.ClientID,
		ExpireTime: timestamppb.New(t.ExpiresAt), IssueTime: timestamppb.New(t.IssuedAt),
		Subject: t.Subject(), Audience: []string{a.issuer.AudienceOf(t)}, Issuer: a.issuer.URL(), TokenId: t.ID,
	}, nil
}

// GetJsonWebKeySet returns the issuer and its keys of a purpose.
func (a *API) GetJsonWebKeySet(_ context.Context, req *oauth2v1.GetJsonWebKeySetRequest) (*oauth2v1.JsonWebKeySet, error) {
	resp := &oauth2v1.JsonWebKeySet{Issuer: a.issuer.URL()}
	for _, k := range a.keys.of(req.GetPurpose()).Public() {
		key, err := identity.JSONWebKey(k.ID, k.Key)
		if err != nil {
			return nil, err
		}
		resp.Keys = append(resp.Keys, key)
	}
	return resp, nil
}
