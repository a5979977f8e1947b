package credential

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
	"github.com/tidegatehq/tidegate/services/kit/cookiename"
)

// Remove removes whatever is recognizably a credential of this installation from what
// a backend would get, wherever the client put it: header lines from h, cookies from
// its Cookie lines, and from the values that are returned sub-protocols and pieces of
// the query. Cookies whose names are reserved for Tidegate's pages go too. What is
// left is as it was, byte for byte and in order; the path and messages are not
// searched. protocols is not changed.
func (r *Recognizer) Remove(h http.Header, protocols []string, query string) (restProtocols []string, restQuery string) {
	for name, lines := range h {
		switch {
		case name == "Cookie":
			if slices.ContainsFunc(lines, func(line string) bool { return pieces.Any(line, pieces.OfCookies, r.inCookie) }) {
				keep(h, name, withoutCookies(lines, r.inCookie))
			}
		case slices.ContainsFunc(lines, r.inLine):
			keep(h, name, slices.DeleteFunc(slices.Clone(lines), r.inLine))
		}
	}
	if slices.ContainsFunc(protocols, r.Holds) {
		protocols = slices.DeleteFunc(slices.Clone(protocols), r.Holds)
	}
	return protocols, pieces.Cut(query, pieces.OfQuery, r.inPiece)
}

// keep sets what is left of a header's lines.
func keep(h http.Header, name string, lines []string) {
	if len(lines) == 0 {
		delete(h, name)
		return
	}
	h[name] = lines
}

// inLine reports whether a header line holds a credential of ours, whole or as one
// of the values in a list: proxies join lines with commas (RFC 9110 section 5.3).
func (r *Recognizer) inLine(line string) bool {
	if len(line) < r.shortest {
		return false
	}
	if r.Holds(line) {
		return true
	}
	if strings.IndexByte(line, ',') < 0 {
		return false
	}
	for element := range strings.SplitSeq(line, ",") {
		if r.Holds(element) {
			return true
		}
	}
	return false
}

// inPiece reports whether a piece of a query or of cookies, NAME=VALUE, has a
// credential of ours for a value, or for a name.
func (r *Recognizer) inPiece(piece string) bool {
	if len(piece) < r.shortest {
		return false
	}
	name, value, _ := strings.Cut(piece, "=")
	return r.Holds(value) || r.Holds(name)
}

// Hide returns text that is shown to users, such as a path, with "…" for each piece of it
// that is recognizably a credential of this installation.
func (r *Recognizer) Hide(text string) string {
	if len(text) < r.shortest {
		return text
	}
	return r.hide(text, "/ ,;=&()\"'")
}

// hide is Hide for the pieces between some characters. Those between colons are looked at
// after the whole, as API keys of a format may have colons.
func (r *Recognizer) hide(text, between string) string {
	const colon = ":"
	var shown strings.Builder
	for text != "" {
		end := strings.IndexAny(text, between)
		if end < 0 {
			end = len(text)
		}
		piece := text[:end]
		switch {
		case r.Holds(piece):
			piece = "…"
		case between != colon:
			piece = r.hide(piece, colon)
		}
		shown.WriteString(piece)
		shown.WriteString(text[end:min(end+1, len(text))])
		text = text[min(end+1, len(text)):]
	}
	return shown.String()
}

// inCookie reports whether a cookie must not reach a backend.
func (r *Recognizer) inCookie(cookie string) bool {
	name, _, _ := strings.Cut(cookie, "=")
	return cookiename.Reserved(strings.Trim(name, " \t")) || r.inPiece(cookie)
}
