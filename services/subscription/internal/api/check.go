package api

import (
	"context"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// needRole returns why the caller lacks a role, or nil.
func needRole(ctx context.Context, role string) error {
	if !identity.From(ctx).User.Has(role) {
		return fault.Denied("this needs the role %s", role)
	}
	return nil
}

// administer returns why the caller may not administer a user: others are not
// seen, and nobody administers themselves without the role.
func administer(ctx context.Context, id string) error {
	v := viewer(ctx)
	switch {
	case v.Admin:
		return nil
	case v.User != id:
		return fault.NotFound("%s", store.UserName(id))
	}
	return needRole(ctx, identity.RoleAdmin)
}

// see returns why the caller may not see a user, or nil.
func see(ctx context.Context, id string) error {
	if v := viewer(ctx); !v.Admin && v.User != id {
		return fault.NotFound("%s", store.UserName(id))
	}
	return nil
}
