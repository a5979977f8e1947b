package page

import (
	"strconv"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Etag returns a row's etag (AIP-154). n counts the row's changes.
func Etag(n int64) string { return strconv.FormatInt(n, 10) }

// CheckEtag returns nil if given is empty or is the row's current etag, and an
// Aborted fault otherwise: the row has changed since the caller read it.
func CheckEtag(given string, now int64) error { return checkEtag(given, Etag(now)) }

func checkEtag(given, now string) error {
	if given != "" && given != now {
		return fault.WithReason(fault.Aborted("etag: somebody else changed it first, read it again"), fault.ReasonEtagMismatch)
	}
	return nil
}
