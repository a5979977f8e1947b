package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// refreshGrace is how long after a refresh the refresh token that was spent may be used
// again, because the answer may have been lost, or another tab was quicker.
const refreshGrace = 30 * time.Second

// maxSpent is how many spent refresh tokens of a sign-in are remembered.
const maxSpent = 32

// spent are the times, in microseconds, at which the newest refresh tokens of a sign-in
// were spent, oldest first: without a gap, and the last is that of the generation before
// the newest.
type spent []int64

func readSpent(text string) (all spent, err error) {
	for word := range strings.FieldsSeq(text) {
		at, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read when refresh tokens were spent: %w", err)
		}
		all = append(all, at)
	}
	return all, nil
}

// String returns the text that readSpent reads.
func (s spent) String() string {
	words := make([]string, len(s))
	for i, at := range s {
		words[i] = strconv.FormatInt(at, 10)
	}
	return strings.Join(words, " ")
}

// and returns the times with that of the newest token, which is spent now, and without
// those that are remembered no longer.
func (s spent) and(now time.Time) spent {
	for len(s) > 0 && (len(s) >= maxSpent || now.Sub(sqldb.Time(s[0])) > refreshGrace) {
		s = s[1:]
	}
	return append(s, now.UnixMicro())
}

// lately reports whether the token so many generations before the newest was spent in the
// last 30 s.
func (s spent) lately(age int64, now time.Time) bool {
	return age > 0 && age <= int64(len(s)) && now.Sub(sqldb.Time(s[int64(len(s))-age])) <= refreshGrace
}
