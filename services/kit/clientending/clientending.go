// Package clientending writes what clients get at ends of sessions as users do, on the
// command line and in pages:
//
//	CAUSE=CODE          this close code
//	CAUSE=CODE:TEXT     and before it this text message
//	CAUSE=:TEXT         the text message alone, and the close code that is by default
package clientending

import (
	"errors"
	"strconv"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Forms says how endings are written, for messages.
const Forms = "CAUSE=CODE, CAUSE=CODE:TEXT or CAUSE=:TEXT, with the CAUSE drain, backend-gone, revoked, expired, blocked or throttled"

// ErrForm means that a text is no ending.
var ErrForm = errors.New("must be " + Forms)

// Parse reads an ending. The error is ErrForm. Whether it can be had, the catalog says.
func Parse(text string) (*catalogv1.ClientEnding, error) {
	cause, rest, _ := strings.Cut(text, "=")
	number, words, _ := strings.Cut(rest, ":")
	e := &catalogv1.ClientEnding{
		Cause: catalogv1.ClientEnding_Cause(catalogv1.ClientEnding_Cause_value["CAUSE_"+strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(cause), "-", "_"))]),
		Text:  words,
	}
	if number = strings.TrimSpace(number); number != "" {
		code, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return nil, ErrForm
		}
		e.Code = int32(code)
	}
	if e.GetCause() == 0 || e.GetCode() == 0 && e.GetText() == "" {
		return nil, ErrForm
	}
	return e, nil
}

// Text returns an ending as Parse reads it.
func Text(e *catalogv1.ClientEnding) string {
	text := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(e.GetCause().String(), "CAUSE_")), "_", "-") + "="
	if e.GetCode() != 0 {
		text += strconv.Itoa(int(e.GetCode()))
	}
	if e.GetText() != "" {
		text += ":" + e.GetText()
	}
	return text
}
