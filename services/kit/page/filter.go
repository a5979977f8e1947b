package page

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// maxFilter is the longest filter that is read.
const maxFilter = 4 << 10

// Terms are the values of a filter's fields.
type Terms map[string]string

// Value returns the value of a field, nil when the filter does not have the field.
func (t Terms) Value(field string) *string {
	value, ok := t[field]
	if !ok {
		return nil
	}
	return &value
}

// Name reads a field whose value is a resource name with parse, a function of
// package resourcename, and returns what part makes of it, such as the id. It is
// nil when the filter does not have the field.
func Name[N any](t Terms, field string, parse func(field, name string) (N, error), part func(N) string) (*string, error) {
	value := t.Value(field)
	if value == nil {
		return nil, nil
	}
	n, err := parse(field, *value)
	if err != nil {
		// The fault's "owner: must be …" becomes "filter: owner must be …".
		return nil, fault.Invalid("filter", "%s", strings.Replace(err.Error(), ": ", " ", 1))
	}
	text := part(n)
	return &text, nil
}

// Filter reads a filter: field = "value", joined by AND, each field once. In a
// value \" is a quote and \\ a backslash. It returns the value of each field. A
// field that is not known is a fault.
func Filter(text string, known ...string) (Terms, error) {
	values := Terms{}
	if strings.TrimSpace(text) == "" {
		return values, nil
	}
	if len(text) > maxFilter || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return nil, fault.Invalid("filter", "must be at most %d bytes of text", maxFilter)
	}
	s := scanner{rest: text}
	for {
		field, value, ok := s.term()
		if !ok {
			return nil, fault.Invalid("filter", `must be field = "value", joined by AND`)
		}
		if !slices.Contains(known, field) {
			return nil, unknown("filter", field, known)
		}
		if _, twice := values[field]; twice {
			return nil, fault.Invalid("filter", "has the field %q twice", field)
		}
		values[field] = value
		if s.done() {
			return values, nil
		}
		if !s.and() {
			return nil, fault.Invalid("filter", `must be field = "value", joined by AND`)
		}
	}
}

// unknown returns the fault for a field that does not exist.
func unknown(in, field string, known []string) error {
	if len(known) == 0 {
		return fault.Invalid(in, "no field %q: there is none to choose from", field)
	}
	return fault.Invalid(in, "no field %q: there are %s", field, strings.Join(known, ", "))
}

// scanner reads a filter from left to right.
type scanner struct{ rest string }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t\r\n") }

// done reports whether only spaces are left.
func (s *scanner) done() bool {
	s.space()
	return s.rest == ""
}

// term reads field = "value".
func (s *scanner) term() (field, value string, ok bool) {
	s.space()
	end := strings.IndexFunc(s.rest, func(r rune) bool {
		return r != '_' && r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	if end <= 0 {
		return "", "", false
	}
	field, s.rest = s.rest[:end], s.rest[end:]
	s.space()
	if s.rest, ok = strings.CutPrefix(s.rest, "="); !ok {
		return "", "", false
	}
	s.space()
	value, ok = s.quoted()
	return field, value, ok
}

// quoted reads "value".
func (s *scanner) quoted() (string, bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case '\\':
			i++
			if i == len(s.rest) || s.rest[i] != '"' && s.rest[i] != '\\' {
				return "", false
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// and reads the word AND with spaces around it.
func (s *scanner) and() bool {
	s.space()
	rest, ok := strings.CutPrefix(s.rest, "AND")
	if !ok || rest == strings.TrimLeft(rest, " \t\r\n") {
		return false
	}
	s.rest = rest
	return true
}
