package cli

import (
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// securityFlags say how the clients of a version prove who they are.
type securityFlags struct {
	Security string   `enum:"oauth2,none," default:"" placeholder:"KIND" help:"How clients prove who they are: oauth2, with an access token (the default), or none."`
	Place    []string `sep:"none" placeholder:"PLACE" help:"Where the access token may be: header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol, ticket or first-message; can be repeated, in the order of the search. Default: header:Authorization, then query:access_token."`
}

// schemes returns the security schemes that the flags describe, nil for none given.
func (f *securityFlags) schemes() ([]*catalogv1.SecurityScheme, error) {
	if len(f.Place) > 0 && f.Security == "none" {
		return nil, usagef("--place: is for --security oauth2, not for none")
	}
	if f.Security == "none" {
		return []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}, nil
	}
	if f.Security == "" && len(f.Place) == 0 {
		return nil, nil
	}
	oauth2 := &catalogv1.OAuth2Scheme{}
	for _, text := range f.Place {
		place, err := credentialplace.Parse(text)
		if err != nil {
			return nil, usagef("--place: %q: %v", text, err)
		}
		oauth2.Places = append(oauth2.Places, place)
	}
	return []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: oauth2}}}, nil
}

// schemeLabel is a security scheme in words.
func schemeLabel(s *catalogv1.SecurityScheme) string {
	switch s.GetScheme().(type) {
	case *catalogv1.SecurityScheme_Oauth2:
		var places []string
		for _, p := range s.GetOauth2().GetPlaces() {
			places = append(places, credentialplace.Text(p))
		}
		return strings.TrimSuffix("oauth2 in "+strings.Join(places, ", "), " in ")
	case *catalogv1.SecurityScheme_None:
		return "none"
	}
	return "of a kind that this program does not know"
}
