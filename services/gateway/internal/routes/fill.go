package routes

import (
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
	"github.com/tidegatehq/tidegate/services/kit/addresstemplate"
)

// template is what an endpoint's URL has of variables.
type template struct {
	path, query addresstemplate.Template
	segments    int      // of the client's path, up to the last that is used
	parameters  []string // of the client's query that are used
}

// newTemplate returns the template of an endpoint's URL. Braces that are no variables, which
// the catalog did not refuse once, stand for themselves: it is nil.
func newTemplate(url string) *template {
	if !addresstemplate.Has(url) || addresstemplate.Check(url) != nil {
		return nil
	}
	_, path, query := addresstemplate.Split(url)
	t := &template{}
	t.path, _ = addresstemplate.Parse(path)
	t.query, _ = addresstemplate.Parse(query)
	for _, parts := range []addresstemplate.Template{t.path, t.query} {
		for _, p := range parts {
			t.segments = max(t.segments, p.Variable.Segment)
			if p.Variable.Parameter != "" {
				t.parameters = append(t.parameters, p.Variable.Parameter)
			}
		}
	}
	return t
}

// FillError says why a request does not fill in a variable of an endpoint's URL.
type FillError struct {
	Variable addresstemplate.Variable
	Missing  bool // it has no value; else one that cannot be there
}

// Error says what the request would need, for whoever sent it.
func (e *FillError) Error() string {
	where := "the parameter " + e.Variable.Parameter
	if e.Variable.Segment > 0 {
		where = "each segment of the path"
	}
	switch {
	case e.Missing && e.Variable.Segment > 0:
		return "the path has too few segments after the version's address"
	case e.Missing:
		return "the query must have " + where + ", once and with a value"
	default:
		return where + " must be percent-encoded, and must not be . or .. or have a slash, a backslash or a NUL"
	}
}

// Templated reports whether only a client's request says what the endpoint's URL is.
func (e *Endpoint) Templated() bool { return e.template != nil }

// Fill returns the endpoint with the variables of its URL filled in from a client's request,
// and what is left of the path and of the query for the backend: not the segments up to the
// last that is used, and not the parameters that are. An endpoint without variables is
// returned as it is. The error is a *FillError.
func (e *Endpoint) Fill(suffix, query string) (filled *Endpoint, restSuffix, restQuery string, err error) {
	t := e.template
	if t == nil {
		return e, suffix, query, nil
	}
	segments := strings.Split(strings.TrimPrefix(suffix, "/"), "/")
	inPath := true
	value := func(v addresstemplate.Variable) (string, error) {
		text, ok := "", true
		if v.Segment > 0 {
			if v.Segment <= len(segments) {
				text, ok = pieces.Unescape(segments[v.Segment-1])
			}
		} else {
			text, ok = parameter(query, v.Parameter)
		}
		switch {
		case ok && text == "":
			return "", &FillError{Variable: v, Missing: true}
		case !ok || inPath && (strings.ContainsAny(text, "/\\\x00")):
			return "", &FillError{Variable: v}
		}
		return text, nil
	}
	path, err := t.path.Expand(nil, value)
	if err != nil {
		return nil, "", "", err
	}
	for segment := range strings.SplitSeq(string(path), "/") {
		if name, _, _ := strings.Cut(segment, ";"); isDots(name) { // many leave parameters out
			return nil, "", "", &FillError{Variable: t.first()}
		}
	}
	inPath = false
	expanded, err := t.query.Expand(nil, value)
	if err != nil {
		return nil, "", "", err
	}
	next := *e
	next.template, next.Path, next.Query = nil, string(path), string(expanded)
	if t.segments > 0 {
		if suffix = ""; len(segments) > t.segments {
			suffix = "/" + strings.Join(segments[t.segments:], "/")
		}
	}
	if len(t.parameters) > 0 {
		query = pieces.Cut(query, pieces.OfQuery, t.uses)
	}
	return &next, suffix, query, nil
}

// first returns the first variable of the path, which has one where it can become a dot
// segment.
func (t *template) first() addresstemplate.Variable { return t.path[0].Variable }

// uses reports whether a piece of a query is a parameter that is used.
func (t *template) uses(piece string) bool {
	for _, name := range t.parameters {
		if isParameter(piece, name) {
			return true
		}
	}
	return false
}

// isParameter reports whether a piece of a query is the parameter of a name, as a backend would
// read it.
func isParameter(piece, name string) bool {
	own, _, _ := strings.Cut(piece, "=")
	if strings.IndexByte(own, '%') < 0 {
		return own == name
	}
	decoded, ok := pieces.Unescape(own)
	return ok && decoded == name
}

// parameter returns the value of a parameter, "" where there is none or more than one, and
// false where it is not well escaped. A plus is a space.
func parameter(query, name string) (value string, ok bool) {
	n := 0
	for _, piece := range pieces.All(query, pieces.OfQuery) {
		if isParameter(piece, name) {
			_, value, _ = strings.Cut(piece, "=")
			n++
		}
	}
	if n != 1 {
		return "", true
	}
	return pieces.Unescape(strings.ReplaceAll(value, "+", " "))
}
