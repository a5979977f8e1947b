package ui

import (
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Filters restrict a list: a form that is sent with GET, so that the list has an address.
// Fields are named as the list names them in its filter, so that what a service says of
// one is shown there.
type Filters struct {
	Form
	// To is the address of the list.
	To string
}

// NewFilters returns the filters of a request, with what its query has.
func NewFilters(r *Request, fields ...Field) *Filters {
	f := &Filters{To: r.URL.Path}
	q := r.URL.Query()
	for _, field := range fields {
		field.Value = strings.TrimSpace(q.Get(field.Name))
		f.Fields = append(f.Fields, &field)
	}
	return f
}

// escape writes a value as filters of lists have it.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// Terms returns the filter of a list: of these entries those that are not empty. Entries
// are named as the fields of the list are.
func (f *Filters) Terms(names ...string) string {
	var terms []string
	for _, name := range names {
		if value := f.Get(name); value != "" {
			terms = append(terms, Term(name, value))
		}
	}
	return strings.Join(terms, " AND ")
}

// Term returns one term of a filter.
func Term(name, value string) string { return name + ` = "` + escape.Replace(value) + `"` }

// Any reports whether one of the entries has a value.
func (f *Filters) Any() bool {
	for _, field := range f.Fields {
		if field.Value != "" {
			return true
		}
	}
	return false
}

// Time returns an entry of the kind "datetime-local", which is in UTC, or nil for none. What
// is no time is said at the entry.
func (f *Form) Time(name string) *timestamppb.Timestamp {
	text := f.Get(name)
	if text == "" {
		return nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(at)
		}
	}
	f.Wrong(name, "must be a time such as 2026-03-01T14:30")
	return nil
}

// Explain is that of a form, for the call that lists: it says at the entry what is wrong
// with the filter.
func (f *Filters) Explain(err error) error {
	s := status.Convert(err)
	about, ok := strings.CutPrefix(s.Message(), "filter: ")
	if s.Code() != codes.InvalidArgument || !ok {
		return f.Form.Explain(err)
	}
	f.refused = true
	name, rest, _ := strings.Cut(about, " ")
	for _, field := range f.Fields {
		if field.Name == name {
			field.Error = sentence(rest)
			return nil
		}
	}
	f.Problem = sentence(about)
	return nil
}

// Filtered returns the address of a list with one of its filters set.
func Filtered(path, name, value string) string {
	return path + "?" + url.Values{name: {value}}.Encode()
}
