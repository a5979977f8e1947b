package api

import (
	"context"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Prefixes of resource names.
const (
	usersPrefix         = "users/"
	applicationsPrefix  = "applications/"
	subscriptionsPrefix = "subscriptions/"
	recordsPrefix       = "sessionRecords/"
	grantsPrefix        = "grants/"
)

// idOf returns the id in a name with a prefix, and whether it is one.
func idOf(prefix, name string) (string, bool) {
	id, ok := strings.CutPrefix(name, prefix)
	return id, ok && validID(id)
}

// validID reports whether an id has the form that the protos ask for.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// nameOf returns the id in the name of a resource that a request's field has;
// protos check most of these.
func nameOf(field, prefix, name string) (string, error) {
	id, ok := idOf(prefix, name)
	if !ok {
		return "", fault.Invalid(field, "must be %s{id}", prefix)
	}
	return id, nil
}

// me is the alias of the caller's own name.
const me = "me"

// userID returns the id in users/{user}, that of the caller for users/me.
func userID(ctx context.Context, field, name string) (string, error) {
	id, err := nameOf(field, usersPrefix, name)
	if err == nil && id == me {
		id = viewer(ctx).User
	}
	return id, err
}

// viewer is who asks.
func viewer(ctx context.Context) store.Viewer {
	p := identity.From(ctx).User
	return store.Viewer{
		User:  strings.TrimPrefix(p.Name, usersPrefix),
		Admin: p.Has(identity.RoleAdmin),
	}
}

// optionalName returns a name, or nothing where there is no id.
func optionalName(prefix, id string) string {
	if id == "" {
		return ""
	}
	return prefix + id
}
