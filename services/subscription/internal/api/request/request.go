// Package request has what the packages that serve the methods share: who calls,
// and what a list request asks for.
package request

import (
	"context"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Viewer returns on whose behalf rows are read.
func Viewer(ctx context.Context) store.Viewer {
	v := identity.From(ctx).Viewer()
	return store.Viewer{User: v.User, Admin: v.All}
}

// MayChange returns why the caller may not do what the method does, or nil: the
// caller, to whom the store shows only what is their own, needs the OwnerRole of
// the method's rule.
func MayChange(ctx context.Context) error {
	c := identity.From(ctx)
	return c.MayChange(c.User.ID())
}
