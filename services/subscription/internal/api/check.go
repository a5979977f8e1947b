package api

import (
	"context"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// needRole returns why the caller lacks a role, or nil.
func needRole(ctx context.Context, role string) error {
	if !identity.From(ctx).Person.Has(role) {
		return fault.Denied("this needs the role %s", role)
	}
	return nil
}

// administer returns why the caller may not administer a person: others are not
// seen, and nobody administers themselves without the role.
func administer(ctx context.Context, id string) error {
	v := viewer(ctx)
	switch {
	case v.Admin:
		return nil
	case v.Person != id:
		return fault.NotFound("%s", store.PersonName(id))
	}
	return needRole(ctx, identity.RoleAdmin)
}

// see returns why the caller may not see a person, or nil.
func see(ctx context.Context, id string) error {
	if v := viewer(ctx); !v.Admin && v.Person != id {
		return fault.NotFound("%s", store.PersonName(id))
	}
	return nil
}
