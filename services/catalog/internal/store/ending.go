package store

import catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"

// ClientEnding says what a client gets when its session ends for a cause.
type ClientEnding struct {
	// Cause is a value of the enum ClientEnding.Cause without its prefix.
	Cause string `json:"cause"`
	// Code is 0 for that by default, Text is empty for none.
	Code int32  `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

// clientEndings returns what clients get as the API and routes have it.
func clientEndings(rows []ClientEnding) (all []*catalogv1.ClientEnding) {
	for _, e := range rows {
		cause := catalogv1.ClientEnding_Cause(catalogv1.ClientEnding_Cause_value[CausePrefix+e.Cause])
		all = append(all, &catalogv1.ClientEnding{Cause: cause, Code: e.Code, Text: e.Text})
	}
	return all
}
