// Package oauth is a client of Tidegate's OAuth2 endpoints, as an application
// uses them: it gets access tokens with client credentials and revokes them.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 64 << 10

// Client calls the endpoints of one portal.
type Client struct {
	// Portal is the portal's URL, such as https://localhost:9443.
	Portal string
	// HTTP makes the calls.
	HTTP *http.Client
}

// Credentials are what an OAuth client authenticates with.
type Credentials struct {
	ClientID, Secret string
}

// Token is an access token.
type Token struct {
	// AccessToken is what clients send.
	AccessToken string `json:"access_token"`
	// Type is "Bearer".
	Type string `json:"token_type"`
	// ExpiresIn is how many seconds the token is valid.
	ExpiresIn int64 `json:"expires_in"`
	// Scope has the scopes granted, separated by spaces.
	Scope string `json:"scope,omitempty"`
}

// Life returns how long the token is valid.
func (t Token) Life() time.Duration { return time.Duration(t.ExpiresIn) * time.Second }

// Error is a refusal of the token endpoint (RFC 6749 section 5.2).
type Error struct {
	// Code is the error code, such as "invalid_client".
	Code string `json:"error"`
	// Description is for users.
	Description string `json:"error_description"`
	// Status is the HTTP status.
	Status int `json:"-"`
}

// Error returns the code and the description.
func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Token gets an access token with client credentials. Unless resource is empty, the
// token is good for that address only (RFC 8707).
func (c *Client) Token(ctx context.Context, who Credentials, resource string) (Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if resource != "" {
		form.Set("resource", resource)
	}
	body, err := c.post(ctx, "/oauth2/token", who, form)
	if err != nil {
		return Token{}, fmt.Errorf("get a token: %w", err)
	}
	var token Token
	if err := json.Unmarshal(body, &token); err != nil || token.AccessToken == "" {
		return Token{}, fmt.Errorf("get a token: %s does not answer as a token endpoint", c.Portal)
	}
	return token, nil
}

// Revoke revokes a token. An unknown or expired token is not an error.
func (c *Client) Revoke(ctx context.Context, who Credentials, token string) error {
	if _, err := c.post(ctx, "/oauth2/revoke", who, url.Values{"token": {token}}); err != nil {
		return fmt.Errorf("revoke the token: %w", err)
	}
	return nil
}

// post sends a form with the credentials of who and returns the body of a 200.
func (c *Client) post(ctx context.Context, path string, who Credentials, form url.Values) ([]byte, error) {
	address := strings.TrimSuffix(c.Portal, "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(who.ClientID), url.QueryEscape(who.Secret))
	res, err := c.HTTP.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return nil, fmt.Errorf("call %s: %w", address, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if res.StatusCode == http.StatusOK {
		return body, nil
	}
	refusal := &Error{Status: res.StatusCode}
	if err := json.Unmarshal(body, refusal); err != nil || refusal.Code == "" {
		return nil, fmt.Errorf("%s answers %s", address, res.Status)
	}
	return nil, refusal
}
