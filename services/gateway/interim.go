package gateway

import (
	"math"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
)

// lines is the engine, before its relays wait in lines.
type lines struct{ *relay.Engine }

func (lines) Serve(*limits.Limit)   {}
func (lines) Release(*limits.Limit) {}

// allowing is a ledger before there is one: it lets all pass.
type allowing struct{}

func (allowing) Open(throttle.QuotaKey, throttle.QuotaTerms) throttle.Account {
	q := limits.NewQuota(limits.Window{End: math.MaxInt64})
	q.SetLack(limits.LackAllows)
	return account{q}
}

type account struct{ quota *limits.Quota }

func (a account) Quota() *limits.Quota       { return a.quota }
func (account) SetTerms(throttle.QuotaTerms) {}
func (account) SetLimits([]*limits.Limit)    {}
func (account) Close()                       {}
