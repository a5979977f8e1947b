package api

import (
	"context"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// viewer is the user who asks, with the owners of versions as they are now.
// Administrators see all; others the sessions of versions that they own, and those of
// their applications. The owner of the one does not see what is only the other's: the
// version's plan and limits, the application's plan and limits.
type viewer struct {
	user  string // users/{user}
	admin bool
	table *routes.Table
}

// viewer returns the caller of the call that ctx belongs to.
func (a *API) viewer(ctx context.Context) viewer {
	user := identity.From(ctx).User
	return viewer{user: user.Name, admin: user.Has(identity.RoleAdmin), table: a.routes.Load()}
}

// isVersionOwner reports whether the viewer owns a version, or is an administrator.
func (v viewer) isVersionOwner(version string) bool {
	if v.admin {
		return true
	}
	r := v.table.Get(version)
	return r != nil && v.user != "" && r.Owner == v.user
}

// isApplicationOwner reports whether the viewer owns a session's application, or is an
// administrator.
func (v viewer) isApplicationOwner(s *session.Session) bool {
	return v.admin || v.user != "" && grantOf(s).User == v.user
}

// sees reports whether the viewer sees a session, and so may close it.
func (v viewer) sees(s *session.Session) bool {
	return v.isVersionOwner(s.Route().Version) || v.isApplicationOwner(s)
}

// seesLimit reports whether the viewer, who sees a session, sees what a limit of a place
// did to it.
func (v viewer) seesLimit(s *session.Session, place limits.Place) bool {
	switch place {
	case limits.Application:
		return v.isApplicationOwner(s)
	case limits.Version:
		return v.isVersionOwner(s.Route().Version)
	default:
		return true
	}
}

// plans returns those plans of a session that the viewer sees, who sees the session.
func (v viewer) plans(s *session.Session) session.Plans {
	info := s.Info()
	plans := info.AllPlans()
	if !v.seesLimit(s, limits.Application) {
		plans.ApplicationPlan = ""
	}
	if !v.seesLimit(s, limits.Version) {
		plans.TrafficPlan = ""
	}
	return plans
}

// grantOf returns a session's grant; under the scheme none it is empty.
func grantOf(s *session.Session) *grant.Grant {
	if g := s.Grant(); g != nil {
		return g
	}
	return noGrant
}

// noGrant is shared, so that what looks at all sessions makes none for each.
var noGrant = &grant.Grant{}
