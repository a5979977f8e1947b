package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// viewer is who lists are read for.
func viewer(c identity.Caller) store.Viewer {
	return store.Viewer{All: c.User.Has(identity.RoleAdmin), User: c.User.Name}
}

// visibleAPI returns an API, or NotFound where the user may not see it.
func visibleAPI(ctx context.Context, st *store.Store, c identity.Caller, id string) (store.API, error) {
	row, err := st.API(ctx, id)
	if err == nil && !row.Published && !c.Sees(row.Owner) {
		err = fault.NotFound("%s", apiName(id))
	}
	if err != nil {
		return store.API{}, err
	}
	return row, nil
}

// editableAPI returns an API that the user may change, read with this etag.
func editableAPI(ctx context.Context, st *store.Store, c identity.Caller, id, etag string) (store.API, error) {
	row, err := visibleAPI(ctx, st, c, id)
	if err != nil {
		return store.API{}, err
	}
	if err := c.MayChange(row.Owner); err != nil {
		return store.API{}, err
	}
	return row, checkEtag(etag, row.Etag)
}

// visibleVersion returns a version, or NotFound where the user may not see it.
func visibleVersion(ctx context.Context, st *store.Store, c identity.Caller, name string) (store.Version, error) {
	api, id := versionIDs(name)
	row, err := st.Version(ctx, api, id)
	if err == nil && row.State != store.Published && !c.Sees(row.Owner) {
		err = fault.NotFound("%s", name)
	}
	if err != nil {
		return store.Version{}, err
	}
	return row, nil
}

// checkEtag returns an Aborted fault unless the etag is empty or the current one.
func checkEtag(given string, current int64) error {
	if given != "" && given != etag(current) {
		return store.Stale()
	}
	return nil
}

// checkAPI checks an API that old becomes.
func checkAPI(ctx context.Context, st *store.Store, old store.API, next *catalogv1.Api) error {
	if err := validate.Message(&catalogv1.CreateApiRequest{Api: next}); err != nil {
		return err
	}
	if old.Published && next.GetContext() != old.Context {
		return fault.Precondition("api.context: is fixed while the API has a published version")
	}
	id, ok := defaultID(old.ID, next.GetDefaultVersion())
	if ok && id != "" {
		_, err := st.Version(ctx, old.ID, id)
		if fault.Is(err, codes.NotFound) {
			ok = false
		} else if err != nil {
			return err
		}
	}
	if !ok {
		return fault.Invalid("api.default_version", "must be a version of this API, or empty")
	}
	return nil
}

// defaultID returns the id of a version from its name, if it is one of this API
// or empty.
func defaultID(api, name string) (string, bool) {
	if name == "" {
		return "", true
	}
	n, err := resource.ParseVersion("default_version", name)
	return n.Version, err == nil && n.API == api
}

// maxOrigins is how many characters all origins of a version have at most: an API
// with the most versions still fits in one message of the watch.
const maxOrigins = 8192

// checkVersion checks what the proto's rules do not say.
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
	for _, w := range checkSecurity(filledIn(v.GetSecurity())) {
		add(w.Field, errors.New(w.Message))
	}
	return fault.InvalidAll(wrong...)
}

// checkPlans checks that plans exist.
func checkPlans(ctx context.Context, st *store.Store, ids []string) error {
	var wrong []fault.Violation
	for i, id := range ids {
		_, err := st.Plan(ctx, id)
		switch {
		case fault.Is(err, codes.NotFound):
			wrong = append(wrong, fault.Violation{
				Field: fmt.Sprintf("version.plans[%d]", i), Message: "there is no " + planName(id),
			})
		case err != nil:
			return err
		}
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

// checkSecurity returns what is wrong with the alternatives of a version, whose
// defaults are filled in, by field.
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

// ownerTerm is the owner of a filter, nil where it has none; users/me is the
// caller.
func ownerTerm(terms map[string]string, c identity.Caller) (*string, error) {
	owner := term(terms, "owner")
	if owner == nil {
		return nil, nil
	}
	n, err := resource.ParseUser("filter", *owner)
	if err != nil {
		return nil, fault.Invalid("filter", "owner must be users/{id}")
	}
	if n.User == resource.Me {
		owner = &c.User.Name
	}
	return owner, nil
}
