// Package throttletest has a ledger of quotas for tests, which gives what it is told to.
package throttletest

import (
	"math"
	"sync"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
)

// Ledger has one window, and gives each account the whole quota at once,
// unless Silent.
type Ledger struct {
	Silent bool  // give nothing, as a service that is away
	Ends   int64 // of the window, on the clock of decisions; 0: never

	mu       sync.Mutex
	accounts map[throttle.QuotaKey]*Account
	all      []*Account
}

// Account is an account of Ledger.
type Account struct {
	Key    throttle.QuotaKey
	Terms  throttle.QuotaTerms
	Limits []*limits.Limit
	Closed bool

	ledger *Ledger
	quota  *limits.Quota
}

// Open implements throttle.Ledger.
func (l *Ledger) Open(key throttle.QuotaKey, terms throttle.QuotaTerms) throttle.Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = map[throttle.QuotaKey]*Account{}
	}
	if l.accounts[key] != nil {
		panic("throttletest: an account is opened twice")
	}
	a := &Account{Key: key, Terms: terms, ledger: l, quota: limits.NewQuota(l.window())}
	l.accounts[key] = a
	l.all = append(l.all, a)
	if !l.Silent {
		a.Grant(terms.Amount)
	}
	return a
}

func (l *Ledger) window() limits.Window {
	if l.Ends == 0 {
		return limits.Window{Number: 1, End: math.MaxInt64}
	}
	return limits.Window{Number: 1, End: l.Ends}
}

// Get returns the open account of a key, nil if there is none.
func (l *Ledger) Get(key throttle.QuotaKey) *Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accounts[key]
}

// Opened returns how many accounts are open, and how many ever were.
func (l *Ledger) Opened() (now, ever int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accounts), len(l.all)
}

// Grant gives the account n more, after which there is no more for now.
func (a *Account) Grant(n int64) {
	a.quota.Grant(0, a.ledger.window(), n)
	a.quota.UsedUp(0, 1)
}

// Quota implements throttle.Account.
func (a *Account) Quota() *limits.Quota { return a.quota }

// SetTerms implements throttle.Account. What there is more or less of the quota is given or
// taken.
func (a *Account) SetTerms(terms throttle.QuotaTerms) {
	a.ledger.mu.Lock()
	more := terms.Amount - a.Terms.Amount
	a.Terms = terms
	a.ledger.mu.Unlock()
	a.Grant(more)
}

// SetLimits implements throttle.Account.
func (a *Account) SetLimits(all []*limits.Limit) {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.Limits = all
}

// Close implements throttle.Account.
func (a *Account) Close() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.Closed = true
	delete(a.ledger.accounts, a.Key)
}
