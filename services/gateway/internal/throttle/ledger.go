// Package throttle holds what plans promise: it makes the limits of the plans that are
// given to subscriptions, applications and versions, and gives each session its own.
package throttle

import (
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// QuotaKey says what a quota counts, as backplane.v1.QuotaKey does.
type QuotaKey struct {
	Place       limits.Place
	Application string // with the places Subscription and Application
	Version     string // with the places Subscription and Version
	Unit        limits.Unit
	Window      catalogv1.Quota_Window
	Observe     bool
}

// QuotaTerms are what a plan says about a quota.
type QuotaTerms struct {
	Plan, Limit string // plans/{plan}, and the limit's name in it
	Amount      int64
	Refuse      bool // what has no slice while the service is away, else let it pass
}

// Ledger keeps quotas supplied with slices. Its methods do not wait.
type Ledger interface {
	// Open returns the account of a key, which nobody else has open.
	Open(key QuotaKey, terms QuotaTerms) Account
}

// Account is a quota that is kept supplied.
type Account interface {
	// Quota returns what limits are made with; always the same.
	Quota() *limits.Quota
	// SetTerms sets other terms.
	SetTerms(terms QuotaTerms)
	// SetLimits says whose lines are served when there is more to spend.
	SetLimits(all []*limits.Limit)
	// Close gives back what is not spent.
	Close()
}
