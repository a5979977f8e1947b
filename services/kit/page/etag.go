package page

import (
	"strconv"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Etag returns the text of a row's etag (AIP-154), which counts its changes.
func Etag(n int64) string { return strconv.FormatInt(n, 10) }

// CheckEtag returns why a caller who has read a row with the etag given may not
// write it, or nil: it must be that of the row now, or empty. The error is an
// Aborted fault.
func CheckEtag(given string, now int64) error { return checkEtag(given, Etag(now)) }

func checkEtag(given, now string) error {
	if given != "" && given != now {
		return fault.Aborted("etag: somebody else changed it first, read it again")
	}
	return nil
}
