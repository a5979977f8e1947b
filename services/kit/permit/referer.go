package permit

import (
	"errors"
	"net/netip"
	"strings"
)

// Referer is a pattern of pages: a host, or with "*." before it every host below it, with
// a path or without, and "/*" at the end of the path for all below it. Without a scheme
// http and https match, without a port the scheme's own, without a path every page.
type Referer struct {
	scheme string // "" for http and https
	host   string // in lower case, in brackets where that is an address of IPv6
	below  bool   // the hosts below host, not host itself
	port   string // "" for the scheme's own
	path   string // with its slash at the beginning; "" for any
	under  bool   // the paths below path, which ends with a slash
}

var (
	errReferer = errors.New("must be a host such as shop.example.com, *.example.com for every host below it, each with https:// or a port where only that is meant, " +
		"and with a path such as /app/page or /app/* where only these pages are")
	errAnyReferer = errors.New("must name a host: leave the list empty to permit every page")
	errRefererURL = errors.New("must have no query, fragment or user")
	errDots       = errors.New("must have no . or .. as a segment of its path")
	errStar       = errors.New("must have * only as the first label of the host, *.example.com, and as the end of the path, /app/*")
)

// ParseReferer reads a pattern. The error says what it must be.
func ParseReferer(text string) (Referer, error) {
	if text == "*" || text == "*/*" {
		return Referer{}, errAnyReferer
	}
	if strings.ContainsAny(text, "?#@") {
		return Referer{}, errRefererURL
	}
	var r Referer
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		if r.scheme, rest = strings.ToLower(scheme), after; r.scheme != "http" && r.scheme != "https" {
			return Referer{}, errReferer
		}
	}
	host, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		r.path = "/" + path
	}
	host, r.below = strings.CutPrefix(strings.ToLower(host), "*.")
	var ok bool
	if r.host, r.port, ok = splitHost(host); !ok {
		if strings.Contains(host, "*") {
			return Referer{}, errStar
		}
		return Referer{}, errReferer
	}
	if r.below && isAddress(r.host) {
		return Referer{}, errReferer
	}
	if r.port == defaultPort(r.scheme) {
		r.port = ""
	}
	return r, r.checkPath()
}

// checkPath reads the end of the path, and returns why it is not good.
func (r *Referer) checkPath() error {
	if before, ok := strings.CutSuffix(r.path, "/*"); ok {
		r.path, r.under = before+"/", true
	}
	switch {
	case strings.Contains(r.path, "*"):
		return errStar
	case !printable(r.path):
		return errReferer
	case hasDots(r.path):
		return errDots
	}
	if r.under && r.path == "/" {
		r.path, r.under = "", false // every page
	}
	return nil
}

// String returns the pattern as it is shown.
func (r Referer) String() string {
	var b strings.Builder
	if r.scheme != "" {
		b.WriteString(r.scheme + "://")
	}
	if r.below {
		b.WriteString("*.")
	}
	b.WriteString(r.host)
	if r.port != "" {
		b.WriteString(":" + r.port)
	}
	b.WriteString(r.path)
	if r.under {
		b.WriteByte('*')
	}
	return b.String()
}

// permits reports whether a page matches the pattern.
func (r Referer) permits(p Page) bool {
	switch {
	case r.scheme != "" && r.scheme != p.scheme:
		return false
	case r.port != p.port && (r.port != "" || p.port != defaultPort(p.scheme)):
		return false
	case r.below && !strings.HasSuffix(p.host, "."+r.host), !r.below && p.host != r.host:
		return false
	case r.path == "":
		return true
	case p.path == "":
		return false // an origin does not say which page it is
	case r.under:
		return strings.HasPrefix(p.path, r.path)
	default:
		return p.path == r.path
	}
}

// Page is the page whose script opens a connection, as far as the handshake says it. The
// zero Page is none.
type Page struct {
	scheme, host, port string
	path               string // "" where only the origin is known
}

// PageOf returns the page of a handshake: by its lines of the header Referer, or where
// there is none by its lines of Origin, which say no path. A header that is repeated, that
// is longer than 2048 bytes or that is no address of a page, is no page. The Page keeps
// nothing of the lines.
func PageOf(referer, origin []string) Page {
	switch {
	case len(referer) == 1:
		p, _ := parsePage(referer[0])
		if p.host != "" && p.path == "" {
			p.path = "/"
		}
		return p
	case len(referer) == 0 && len(origin) == 1:
		if p, ok := parsePage(origin[0]); ok && p.path == "" {
			return p
		}
	}
	return Page{}
}

// maxPage is the longest address of a page, in bytes.
const maxPage = 2048

// Origin returns the origin of the page, such as https://example.com, without its port where
// that is the scheme's own; "" where there is no page.
func (p Page) Origin() string {
	switch {
	case p.host == "":
		return ""
	case p.port == defaultPort(p.scheme):
		return p.scheme + "://" + p.host
	}
	return p.scheme + "://" + p.host + ":" + p.port
}

func parsePage(text string) (Page, bool) {
	if len(text) > maxPage {
		return Page{}, false
	}
	text, _, _ = strings.Cut(text, "#")
	text, _, _ = strings.Cut(text, "?")
	text = strings.Clone(text)
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return Page{}, false
	}
	p := Page{scheme: scheme}
	host, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		p.path = "/" + path
	}
	if p.host, p.port, ok = splitHost(strings.ToLower(host)); !ok || !printable(p.path) || hasDots(p.path) {
		return Page{}, false
	}
	if p.port == "" {
		p.port = defaultPort(scheme)
	}
	return p, true
}

// Pages reports whether a page matches one of the patterns. Where there are none every
// page is permitted, and so is none.
func Pages(permitted []Referer, p Page) bool {
	if len(permitted) == 0 {
		return true
	}
	if p.host == "" {
		return false
	}
	for _, r := range permitted {
		if r.permits(p) {
			return true
		}
	}
	return false
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return "none"
}

// splitHost cuts the port off a host in lower case, and reports whether both are good.
func splitHost(text string) (host, port string, ok bool) {
	host = text
	if at := strings.LastIndexByte(text, ':'); at > strings.LastIndexByte(text, ']') {
		host, port = text[:at], text[at+1:]
		if !isPort(port) {
			return "", "", false
		}
	}
	return host, port, isHost(host)
}

func isPort(text string) bool {
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
		n = n*10 + int(text[i]-'0')
		if n > 65535 {
			return false
		}
	}
	return n > 0 && text[0] != '0'
}

// isHost reports whether a text is a name of a host, without a dot at its end, or an
// address.
func isHost(host string) bool {
	if strings.HasPrefix(host, "[") {
		return isAddress(host)
	}
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func isAddress(host string) bool {
	inner, bracket := strings.CutPrefix(host, "[")
	inner = strings.TrimSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	return err == nil && addr.Zone() == "" && addr.Is6() == bracket && (!bracket || strings.HasSuffix(host, "]"))
}

// printable reports whether a path has only characters that addresses have.
func printable(path string) bool {
	for i := range len(path) {
		if path[i] <= ' ' || path[i] > '~' || path[i] == '\\' {
			return false
		}
	}
	return true
}

// hasDots reports whether a path has a segment . or .., escaped or not.
func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return true
		}
	}
	return false
}
