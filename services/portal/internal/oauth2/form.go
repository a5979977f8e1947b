package oauth2

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

// Limits of a form.
const (
	maxForm       = 64 << 10
	maxCredential = 128
	maxToken      = 8192
	maxParameter  = 1024
)

// form is a request's parameters, and the credentials of the OAuth client that
// sent it.
type form struct {
	values      url.Values
	credentials *oauth2v1.ClientCredentials
}

// get returns a parameter; one without a value counts as missing (RFC 6749 section
// 3.2).
func (f *form) get(name string) string { return f.values.Get(name) }

// readForm reads a request's form and the OAuth client's credentials.
func readForm(w http.ResponseWriter, r *http.Request) (*form, error) {
	if r.URL.RawQuery != "" {
		return nil, invalid("parameters belong in the body, not in the address")
	}
	sent := r.Header.Values("Content-Type")
	kind := ""
	if len(sent) == 1 {
		kind, _, _ = mime.ParseMediaType(sent[0])
	}
	if kind != "application/x-www-form-urlencoded" {
		return nil, invalid("the Content-Type must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &refusal{http.StatusRequestEntityTooLarge, oauthcode.InvalidRequest, fmt.Sprintf("the body must have at most %d bytes", maxForm)}
	}
	if err != nil {
		return nil, invalid("the body could not be read to its end")
	}
	f := &form{}
	if f.values, err = url.ParseQuery(string(body)); err != nil {
		return nil, invalid("the body is not a form")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	f.credentials, err = f.readCredentials(r)
	return f, err
}

// parameters are those that an endpoint uses, and how long they may be.
func parameters() map[string]int {
	return map[string]int{
		"grant_type": maxCredential, "scope": maxParameter, "client_id": maxCredential, "client_secret": maxCredential,
		"token": maxToken, "token_type_hint": maxParameter, "resource": maxParameter,
	}
}

// check refuses parameters that are repeated, too long, not UTF-8 or contain a NUL.
// Parameters that no endpoint uses are refused only if they are repeated.
func (f *form) check() error {
	bounds := parameters()
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		values := f.values[name]
		known := name
		if bounds[name] == 0 {
			known = "a parameter"
		}
		if len(values) > 1 && name == "resource" {
			// RFC 8707 allows several, and a server to refuse what it does not give.
			return &refusal{http.StatusBadRequest, oauthcode.InvalidTarget, "resource is given more than once: a token is for one, get a token for each"}
		}
		if len(values) > 1 {
			return invalid(known + " is given more than once")
		}
		if bounds[name] == 0 {
			continue
		}
		if !utf8.ValidString(values[0]) {
			return invalid(name + " is not UTF-8")
		}
		if strings.ContainsRune(values[0], 0) {
			return invalid(name + " must not have the character NUL")
		}
		if utf8.RuneCountInString(values[0]) > bounds[name] {
			return invalid(fmt.Sprintf("%s must have at most %d characters", name, bounds[name]))
		}
	}
	return nil
}

// readCredentials returns the OAuth client's credentials, from one place.
func (f *form) readCredentials(r *http.Request) (*oauth2v1.ClientCredentials, error) {
	id, secret := f.get("client_id"), f.get("client_secret")
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) > 1:
		return nil, invalid("the request carries more than one Authorization header")
	case len(headers) == 1 && secret != "":
		return nil, invalid("the OAuth client proves itself in two ways: give the Authorization header or client_secret, not both")
	case len(headers) == 1:
		c, err := basic(r)
		if err == nil && id != "" && id != c.GetClientId() {
			return nil, invalid("client_id differs from the one in the Authorization header")
		}
		return c, err
	case id == "" && secret == "":
		return nil, unknownClient("the OAuth client must prove itself: by HTTP Basic, or with client_id and client_secret")
	case id == "":
		return nil, invalid("client_id is missing")
	case secret == "":
		return nil, unknownClient("client_secret is missing")
	}
	return &oauth2v1.ClientCredentials{ClientId: id, ClientSecret: secret}, nil
}

// basic reads the Authorization header. Both parts are form-encoded in it (RFC
// 6749 section 2.3.1).
func basic(r *http.Request) (*oauth2v1.ClientCredentials, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil, unknownClient("the Authorization header is not one of HTTP Basic")
	}
	id, err := url.QueryUnescape(user)
	if err != nil {
		return nil, unknownClient("the client_id in the Authorization header is not form-encoded")
	}
	secret, err := url.QueryUnescape(password)
	if err != nil {
		return nil, unknownClient("the client_secret in the Authorization header is not form-encoded")
	}
	for _, part := range []string{id, secret} {
		if part == "" || len(part) > maxCredential || !utf8.ValidString(part) || strings.ContainsRune(part, 0) {
			return nil, unknownClient("the OAuth client is not known, or its secret is wrong")
		}
	}
	return &oauth2v1.ClientCredentials{ClientId: id, ClientSecret: secret}, nil
}
