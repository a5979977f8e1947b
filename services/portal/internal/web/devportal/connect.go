package devportal

import (
	"strconv"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// addressCopies are a version's addresses, to be copied.
func addressCopies(v *catalogv1.Version) []ui.Copy {
	var all []ui.Copy
	for i, address := range v.GetAddresses() {
		scheme, _, _ := strings.Cut(address, ":")
		all = append(all, ui.Copy{ID: "address-" + strconv.Itoa(i+1), What: "the " + scheme + " address", Value: address, Wrap: true})
	}
	return all
}

// securityWords say what clients of a version show, where they need to.
func securityWords(v *catalogv1.Version) string {
	var words []string
	for _, place := range snippet.Places(v) {
		if q := place.GetQuery(); q != nil {
			words = append(words, "the parameter "+q.GetName())
		} else {
			words = append(words, "the header "+place.GetHeader().GetName())
		}
	}
	return "an OAuth2 access token in " + strings.Join(words, " or ")
}

// wscat has the lines that connect to a version from a terminal: one for each address and
// place of a token, which is in the variable TOKEN there.
func (p *pages) wscat(v *catalogv1.Version) []ui.Copy {
	var lines []ui.Copy
	line := func(address, more string) {
		text := "wscat "
		if p.authority != "" && strings.HasPrefix(address, "wss:") {
			text += "--ca " + quote.Word(p.authority) + " "
		}
		n := strconv.Itoa(len(lines) + 1)
		lines = append(lines, ui.Copy{ID: "wscat-" + n, What: "wscat line " + n, Value: text + "-c " + more, Wrap: true})
	}
	with := snippet.Places(v)
	for _, address := range v.GetAddresses() {
		for _, place := range with {
			if q := place.GetQuery(); q != nil {
				line(address, `"`+address+"?"+q.GetName()+`=$TOKEN"`)
			} else {
				line(address, quote.Word(address)+` -H "`+place.GetHeader().GetName()+`: Bearer $TOKEN"`)
			}
		}
		if len(with) == 0 {
			line(address, quote.Word(address))
		}
	}
	return lines
}
