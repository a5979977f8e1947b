package ui

import (
	"strings"
)

// Filters restrict a list: a form that is sent with GET, so that the list has an address.
// What a service says of them is shown in it as in other forms; fields have the path
// "filter" for that, or the field of the request.
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
			terms = append(terms, name+` = "`+escape.Replace(value)+`"`)
		}
	}
	return strings.Join(terms, " AND ")
}

// Any reports whether one of the entries has a value.
func (f *Filters) Any() bool {
	for _, field := range f.Fields {
		if field.Value != "" {
			return true
		}
	}
	return false
}
