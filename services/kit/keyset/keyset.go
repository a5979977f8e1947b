// Package keyset has the page tokens of the lists that the portal merges:
// changes of all services, live sessions of all gateways. Services and portal
// read and write the same tokens, so that the portal can ask each of them for
// what follows the same place. What a page holds belongs to those who list.
package keyset

import (
	"math"
	"strconv"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// ChangesToken returns the token of a page of the changes of one service or
// several. below has for each of them, in a fixed order, the number below which
// the page begins.
func ChangesToken(parent string, below ...uint64) string {
	keys := make([]string, len(below))
	for i, n := range below {
		keys[i] = strconv.FormatUint(n, 10)
	}
	return page.Token(page.Scope("changes", parent), keys...)
}

// ParseChangesToken returns the numbers below which a page of the changes of n
// services begins. For an empty token, that of the first page, they are greater
// than that of any change.
func ParseChangesToken(token, parent string, n int) ([]uint64, error) {
	keys, err := page.Keys(token, page.Scope("changes", parent), n)
	if err != nil {
		return nil, err
	}
	below := make([]uint64, n)
	for i := range below {
		below[i] = math.MaxInt64
		if keys == nil {
			continue
		}
		number, err := parse(keys[i])
		if err != nil {
			return nil, err
		}
		below[i] = uint64(number)
	}
	return below, nil
}

// parse reads a key that is a number and not negative.
func parse(key string) (int64, error) {
	n, err := strconv.ParseInt(key, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return n, nil
}
