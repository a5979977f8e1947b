package cli

import (
	"slices"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// securityFlags say how the clients of a version prove who they are.
type securityFlags struct {
	Security []string `enum:"oauth2,api-key,none" placeholder:"KIND" help:"How clients prove who they are: oauth2, with an access token (the default), api-key, or both as oauth2,api-key, in the order of the search; or none."`
	Place    []string `sep:"none" placeholder:"PLACE" help:"Where the access token may be: header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol, ticket or first-message; can be repeated, in the order of the search. Default: header:Authorization, then query:access_token."`
	KeyPlace []string `sep:"none" placeholder:"PLACE" help:"Where the API key may be, as --place has it. Default: header:apikey, then query:apikey."`
}

// schemes returns the security schemes that the flags describe, nil for none given.
func (f *securityFlags) schemes() ([]*catalogv1.SecurityScheme, error) {
	return schemes("--", f.Security, f.Place, f.KeyPlace)
}

// schemes returns the security schemes of these kinds, whose credentials may be at these
// places, nil for none given. Flags begin with prefix.
func schemes(prefix string, kinds, atTokens, atKeys []string) ([]*catalogv1.SecurityScheme, error) {
	tokens, err := places(prefix+"place", atTokens)
	if err != nil {
		return nil, err
	}
	keys, err := places(prefix+"key-place", atKeys)
	if err != nil {
		return nil, err
	}
	if len(kinds) == 0 && len(tokens) > 0 {
		kinds = []string{"oauth2"}
	}
	switch {
	case len(tokens) > 0 && !slices.Contains(kinds, "oauth2"):
		return nil, usagef("%splace: is for %ssecurity oauth2, not for %s", prefix, prefix, strings.Join(kinds, ","))
	case len(keys) > 0 && !slices.Contains(kinds, "api-key"):
		return nil, usagef("%skey-place: is for %ssecurity api-key", prefix, prefix)
	}
	var all []*catalogv1.SecurityScheme
	for _, kind := range kinds {
		scheme := &catalogv1.SecurityScheme{}
		switch kind {
		case "oauth2":
			scheme.Scheme = &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: tokens}}
		case "api-key":
			scheme.Scheme = &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: keys}}
		case "socket":
			return nil, usagef("%ssecurity: socket stands alone, without places", prefix)
		default:
			scheme.Scheme = &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}
		}
		all = append(all, scheme)
	}
	return all, nil
}

// places reads the places that a flag gives.
func places(flag string, texts []string) (all []*catalogv1.CredentialPlace, err error) {
	for _, text := range texts {
		place, err := credentialplace.Parse(text)
		if err != nil {
			return nil, usagef("%s: %q: %v", flag, text, err)
		}
		all = append(all, place)
	}
	return all, nil
}

// anonymous reports whether clients need no credential.
func (f *securityFlags) anonymous() bool { return slices.Contains(f.Security, "none") }

// schemeLabels are security schemes in words.
func schemeLabels(all []*catalogv1.SecurityScheme) string {
	var words []string
	for _, s := range all {
		words = append(words, schemeLabel(s))
	}
	return strings.Join(words, ", ")
}

// schemeLabel is a security scheme in words.
func schemeLabel(s *catalogv1.SecurityScheme) string {
	switch s.GetScheme().(type) {
	case *catalogv1.SecurityScheme_Oauth2:
		return placesLabel("oauth2", s.GetOauth2().GetPlaces())
	case *catalogv1.SecurityScheme_ApiKey:
		return placesLabel("api-key", s.GetApiKey().GetPlaces())
	case *catalogv1.SecurityScheme_None:
		return "none"
	}
	return "of a kind that this program does not know"
}

// placesLabel is a scheme with its places in words.
func placesLabel(kind string, places []*catalogv1.CredentialPlace) string {
	var texts []string
	for _, p := range places {
		texts = append(texts, credentialplace.Text(p))
	}
	return strings.TrimSuffix(kind+" in "+strings.Join(texts, ", "), " in ")
}
