package api

import (
	"errors"
	"fmt"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// checkAPI checks the new values of old.
func checkAPI(old store.API, next *catalogv1.Api) error {
	if err := validate.Message(&catalogv1.CreateApiRequest{Api: next}); err != nil {
		return err
	}
	if old.Published && next.GetContext() != old.Context {
		return fault.Precondition("api.context: is fixed while the API has a published version")
	}
	return nil
}

// maxOrigins is the largest number of characters in all origins of a version. With it,
// an API with the most versions still fits in one message of the watch.
const maxOrigins = 8192

// checkVersion checks what the proto's rules do not.
func checkVersion(v *catalogv1.Version) error {
	var wrong []fault.Violation
	add := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, fault.Violation{Field: "version." + field, Message: err.Error()})
		}
	}
	for stage, endpoints := range map[string][]*catalogv1.Endpoint{
		"production": v.GetEndpoints().GetProduction(), "sandbox": v.GetEndpoints().GetSandbox(),
	} {
		for i, e := range endpoints {
			add(fmt.Sprintf("endpoints.%s[%d].url", stage, i), checkEndpoint(e.GetUrl()))
		}
	}
	size := 0
	for i, origin := range v.GetAllowedOrigins() {
		size += len(origin)
		add(fmt.Sprintf("allowed_origins[%d]", i), checkOrigin(origin))
	}
	if size > maxOrigins {
		add("allowed_origins", fmt.Errorf("must have at most %d characters together", maxOrigins))
	}
	add("backend_options.fixed_host", checkFixedHost(v.GetBackendOptions().GetFixedHost()))
	for _, w := range checkSecurity(filledIn(v.GetSecurity())) {
		add(w.Field, errors.New(w.Message))
	}
	return fault.InvalidAll(wrong...)
}

// checkPublished checks that a version, if it is published, can be subscribed to.
func checkPublished(v store.Version) error {
	if v.State == store.Published && len(v.Plans) == 0 && !v.Anonymous() {
		return fault.Precondition("version.plans: a published version needs a plan, unless its security is none")
	}
	return nil
}

// checkState reads the state of a filter.
func checkState(state *string) error {
	if state == nil || *state == store.Created || *state == store.Published {
		return nil
	}
	return fault.Invalid("filter", "no state %q: there are CREATED, PUBLISHED", *state)
}

// checkSecurity returns what is wrong with the alternatives of a version, by field.
// Their defaults are filled in.
func checkSecurity(schemes []*catalogv1.SecurityScheme) []fault.Violation {
	var wrong []fault.Violation
	taken := map[string]string{}
	for i, s := range schemes {
		field := fmt.Sprintf("security[%d]", i)
		if s.GetNone() != nil && len(schemes) > 1 {
			wrong = append(wrong, fault.Violation{Field: field, Message: "none stands alone"})
		}
		for j, place := range s.GetOauth2().GetPlaces() {
			place, where := placeRow(place), fmt.Sprintf("%s.oauth2.places[%d]", field, j)
			key := place.In + " " + strings.ToLower(place.Name)
			if other, ok := taken[key]; ok {
				wrong = append(wrong, fault.Violation{
					Field: where, Message: fmt.Sprintf("must differ from %s: the two could not be told apart", other),
				})
			}
			taken[key] = where
		}
	}
	return wrong
}

// ownerTerm returns the owner in a filter, the id of a user, or nil; users/me is the
// caller.
func ownerTerm(terms page.Terms, v identity.Viewer) (*string, error) {
	return page.Name(terms, "owner", resourcename.ParseUser, func(n resourcename.User) string {
		if n.User == resourcename.Me {
			return v.User
		}
		return n.User
	})
}
