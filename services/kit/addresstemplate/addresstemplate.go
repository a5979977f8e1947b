// Package addresstemplate has the variables that the URL of an endpoint may have in its path
// and in its query: {uri.path.N}, the N-th segment of the client's path after the version's
// address, and {uri.query.NAME}, a parameter of the client's query. The catalog checks
// them when they are saved, and gateways fill them in.
package addresstemplate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a URL's variables.
const (
	MaxVariables = 10
	MaxSegment   = 20
	maxName      = 100
)

// Variable is one of the fields that is set.
type Variable struct {
	Segment   int    // of the client's path, from 1 on
	Parameter string // of the client's query
}

// String returns the variable as URLs have it.
func (v Variable) String() string {
	if v.Segment > 0 {
		return "{uri.path." + strconv.Itoa(v.Segment) + "}"
	}
	return "{uri.query." + v.Parameter + "}"
}

// Part is some text, and the variable behind it.
type Part struct {
	Text     string
	Variable Variable // the zero value at the end of the last part
}

// Template is a path or a query, in its parts.
type Template []Part

// errSyntax says what braces may be.
var errSyntax = fmt.Errorf("must have { and } only for variables: {uri.path.N} with N from 1 to %d, or {uri.query.NAME} with a NAME of A-Z a-z 0-9 . _ ~ -", MaxSegment)

// Has reports whether a URL has braces, and so variables.
func Has(url string) bool { return strings.ContainsAny(url, "{}") }

// Parse reads a path or a query with variables.
func Parse(text string) (t Template, err error) {
	for {
		before, rest, found := strings.Cut(text, "{")
		if strings.Contains(before, "}") {
			return nil, errSyntax
		}
		if !found {
			return append(t, Part{Text: before}), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		v, ok := parseVariable(name)
		if !closed || !ok {
			return nil, errSyntax
		}
		t, text = append(t, Part{before, v}), after
	}
}

func parseVariable(name string) (v Variable, ok bool) {
	if text, is := strings.CutPrefix(name, "uri.path."); is {
		n, err := strconv.Atoi(text)
		v.Segment = n
		return v, err == nil && n >= 1 && n <= MaxSegment && v.String() == "{"+name+"}"
	}
	v.Parameter, ok = strings.CutPrefix(name, "uri.query.")
	return v, ok && v.Parameter != "" && len(v.Parameter) <= maxName && !strings.ContainsFunc(v.Parameter, func(c rune) bool { return c > 0x7f || !unreserved(byte(c)) })
}

// Split returns what of a URL is before its path, its path and its query.
func Split(url string) (before, path, query string) {
	at := strings.Index(url, "://") + len("://")
	end := strings.IndexAny(url[at:], "/?")
	if end < 0 {
		return url, "", ""
	}
	path, query, _ = strings.Cut(url[at+end:], "?")
	return url[:at+end], path, query
}

// Check says what is wrong with the variables of an endpoint's URL; nil where it has none.
func Check(url string) error {
	if !Has(url) {
		return nil
	}
	before, path, query := Split(url)
	if Has(before) {
		return errors.New("must have variables in its path and query only")
	}
	n := 0
	for _, text := range []string{path, query} {
		t, err := Parse(text)
		if err != nil {
			return err
		}
		n += len(t) - 1
	}
	if n > MaxVariables {
		return fmt.Errorf("must have at most %d variables", MaxVariables)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if name, _, _ := strings.Cut(segment, ";"); isDots(name) {
			return errors.New("must have no . or .. for a segment, beside variables")
		}
	}
	for piece := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		if name, _, _ := strings.Cut(piece, "="); Has(name) {
			return errors.New("must have no variable in the name of a parameter")
		}
	}
	return nil
}

// isDots reports whether a segment is . or .., escaped or not.
func isDots(s string) bool {
	s = strings.ReplaceAll(strings.ToLower(s), "%2e", ".")
	return s == "." || s == ".."
}

// Expand appends a template to dst, with what value returns, each escaped so that it is
// nothing but a value: it begins no segment, no parameter and no fragment. It ends at the
// first error of value.
func (t Template) Expand(dst []byte, value func(Variable) (string, error)) ([]byte, error) {
	for _, p := range t {
		dst = append(dst, p.Text...)
		if p.Variable == (Variable{}) {
			continue
		}
		v, err := value(p.Variable)
		if err != nil {
			return nil, err
		}
		dst = appendEscaped(dst, v)
	}
	return dst, nil
}

func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// unreserved reports whether a character stands for itself wherever it is (RFC 3986, section
// 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
