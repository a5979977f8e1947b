package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Form is a form with what the user has typed. A handler makes it anew for each request:
//
//	form := ui.NewForm(r, ui.Field{Name: "name", Label: "Name", Paths: []string{"api.display_name"}})
//	if r.Submitted() {
//		err := p.create(r, form)
//		if err == nil {
//			return ui.Done("/publisher", "Created."), nil
//		}
//		if err = form.Explain(err); err != nil {
//			return nil, err
//		}
//	}
//	return t.Page(ui.Head{Title: "Create", Status: form.Status()}, view{Form: form}), nil
//
// After a conflict, Compare shows what is stored now.
type Form struct {
	// Fields are in the order of the page.
	Fields []*Field
	// Problem says what is wrong with the form as a whole, or is empty.
	Problem string
	// Warning says what happens when the form is sent again, or is empty.
	Warning string
	// Conflict says that somebody else has changed the thing meanwhile.
	Conflict bool

	refused bool
}

// Field is one entry of a form.
type Field struct {
	// Name is that of the entry, Label what stands above it.
	Name, Label string
	// Hint says below what it is for, or is empty.
	Hint string
	// Kind is that of an input, such as "text", which is the default, "password",
	// "number" or "hidden"; or "textarea"; or "select", "choices" or "radio", which have
	// Options; or "check", which is "on" or nothing.
	Kind string
	// Value is the entry. Values are those of "choices".
	Value  string
	Values []string
	// Options are what can be chosen.
	Options []Option
	// Required says that it must not be empty: the browser says so before it is sent.
	Required bool
	// Max is how many characters there may be, 0 for any number.
	Max int
	// Autocomplete is the attribute; empty means "off".
	Autocomplete string
	// Placeholder is an example.
	Placeholder string
	// Secret has what was typed into a textarea not shown again.
	Secret bool
	// Code has the entry in the script of code.
	Code bool
	// Focus puts the cursor here.
	Focus bool
	// Paths are the fields of requests that the entry is sent in, such as
	// "api.context". What services say of these, and of what is below them, is said here.
	Paths []string
	// Error says what is wrong, or is empty.
	Error string
	// Stored is what is stored now, where that is something else after a conflict.
	Stored *string
}

// Option is one that can be chosen.
type Option struct {
	// Value is sent, Text is shown, with Hint below if there is one.
	Value, Text, Hint string
}

// NewForm returns the form of a request: fields with their values, and in their place
// what the user has typed, if that is known; without a request nothing is. Passwords are
// not shown again.
func NewForm(r *Request, fields ...Field) *Form {
	f := &Form{}
	var typed url.Values
	if r != nil {
		typed = r.Entries()
	}
	for _, field := range fields {
		if typed != nil {
			switch field.Kind {
			case "choices":
				field.Values = typed[field.Name]
			case "password":
				field.Value = typed.Get(field.Name)
			case "textarea": // browsers end lines with both
				field.Value = strings.TrimSpace(strings.ReplaceAll(typed.Get(field.Name), "\r\n", "\n"))
			default:
				field.Value = strings.TrimSpace(typed.Get(field.Name))
			}
		}
		f.Fields = append(f.Fields, &field)
	}
	return f
}

// Field returns the field of a name. The name is one of the program's own, so that none
// is a panic.
func (f *Form) Field(name string) *Field {
	i := slices.IndexFunc(f.Fields, func(field *Field) bool { return field.Name == name })
	if i < 0 {
		panic("the form has no field " + name)
	}
	return f.Fields[i]
}

// Get returns an entry.
func (f *Form) Get(name string) string { return f.Field(name).Value }

// All returns the entries of "choices".
func (f *Form) All(name string) []string { return f.Field(name).Values }

// Lines returns the lines of an entry that are not empty, which are the entry then: what
// services say of one of them names the line.
func (f *Form) Lines(name string) []string {
	var lines []string
	for line := range strings.Lines(f.Get(name)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	f.Set(name, strings.Join(lines, "\n"))
	return lines
}

// Bytes returns an entry that is a size, 0 for none. What is no size is said at the entry.
func (f *Form) Bytes(name string) int64 { return entry(f, name, ParseBytes) }

// Number returns an entry that is a whole number, 0 for none. What is none is said at the
// entry.
func (f *Form) Number(name string) int64 { return entry(f, name, ParseNumber) }

// Decimal returns an entry that is a number, 0 for none. What is none is said at the entry.
func (f *Form) Decimal(name string) float64 { return entry(f, name, ParseDecimal) }

// Span returns an entry that is a length of time, nil for none. What is none is said at
// the entry.
func (f *Form) Span(name string) *durationpb.Duration {
	if d := entry(f, name, ParseSpan); f.Get(name) != "" {
		return durationpb.New(d)
	}
	return nil
}

// entry reads an entry, and says at it what is wrong with it. An empty one is the zero.
func entry[V any](f *Form, name string, parse func(string) (V, error)) (v V) {
	if f.Get(name) == "" {
		return v
	}
	v, err := parse(f.Get(name))
	if err != nil {
		f.Wrong(name, err.Error())
	}
	return v
}

// Good reports whether nothing is wrong with the entries so far.
func (f *Form) Good() bool { return !f.refused }

// Set changes an entry, such as a hidden etag.
func (f *Form) Set(name, value string) { f.Field(name).Value = value }

// Wrong says what is wrong with an entry. That is for what no service is asked.
func (f *Form) Wrong(name, message string) {
	f.refused = true
	f.Field(name).Error = sentence(message)
}

// Complete reports whether all required entries are there, and says of the others that
// they are missing.
func (f *Form) Complete() bool {
	for _, field := range f.Fields {
		if field.Required && field.Value == "" && len(field.Values) == 0 {
			f.Wrong(field.Name, "is needed")
		}
	}
	return !f.refused
}

// Status is the HTTP status of a page with this form: 422 if it was refused, which htmx
// shows.
func (f *Form) Status() int {
	switch {
	case f.Conflict:
		return http.StatusConflict
	case f.refused:
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

// Explain says at the fields, or above them, why a call has failed, and returns nil. It
// returns the error if the form can do nothing about it: the user must sign in, or what
// the form is about is not there.
func (f *Form) Explain(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unauthenticated, codes.NotFound, codes.Internal, codes.Unknown, codes.Canceled, codes.Unimplemented:
		return err
	case codes.Aborted:
		f.Conflict = true
	}
	f.refused = true
	var left []string
	for _, v := range violations(err) {
		if field := f.of(v.GetField()); field != nil {
			field.Error = joined(field.Error, field.line(v.GetField())+sentence(v.GetDescription()))
		} else {
			left = append(left, strings.TrimPrefix(v.GetField()+": ", ": ")+v.GetDescription())
		}
	}
	if path, rest, ok := strings.Cut(s.Message(), ": "); ok && len(left) == 0 && !f.hasErrors() {
		// Some say the field in the message alone, where its value is taken.
		if field := f.of(path); field != nil {
			field.Error = sentence(rest)
		}
	}
	f.renewRequest()
	switch {
	case f.Problem != "":
	case len(left) > 0:
		f.Problem = sentence(strings.Join(left, "; "))
	case !f.hasErrors() && !f.Conflict:
		p := problemOf(err)
		f.Problem = joined(p.Text, p.Advice)
	}
	return nil
}

// violations are what a call said of the fields of its request.
func violations(err error) []*errdetails.BadRequest_FieldViolation {
	var all []*errdetails.BadRequest_FieldViolation
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			all = append(all, bad.GetFieldViolations()...)
		}
	}
	return all
}

// Names reports whether a call failed because of the field at a path.
func Names(err error, path string) bool {
	return slices.ContainsFunc(violations(err), func(v *errdetails.BadRequest_FieldViolation) bool { return v.GetField() == path })
}

// Said is why a call failed, for a page that has no entry for the field that it is about.
func Said(err error) string {
	if status.Code(err) == codes.Aborted {
		return "somebody else has changed it meanwhile. This page has what is there now"
	}
	var texts []string
	for _, v := range violations(err) {
		texts = append(texts, v.GetDescription())
	}
	if len(texts) == 0 {
		return status.Convert(err).Message()
	}
	return strings.Join(texts, "; ")
}

// requestID is the name of the entry that makes a form one that can be sent twice.
const requestID = "request_id"

// RequestID is the hidden entry for the request_id of a call that creates something
// (AIP-155): a form that is sent twice makes one thing.
func RequestID() Field {
	return Field{Name: requestID, Kind: "hidden", Value: uuid.NewString(), Paths: []string{requestID}}
}

// renewRequest gives the form another request_id where the one that it had has made
// something else, as after a way back in the browser.
func (f *Form) renewRequest() {
	if field := f.of(requestID); field != nil && field.Error != "" {
		field.Error, field.Value = "", uuid.NewString()
		f.Problem = "This form was sent before, with other entries, and what it made then is there. Send it again to make another."
	}
}

// of returns the field that a path of a request is sent in, the first that has the longest
// part of it, or nil.
func (f *Form) of(path string) *Field {
	var found *Field
	longest := 0
	for _, field := range f.Fields {
		for _, p := range field.Paths {
			if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || strings.ContainsAny(rest[:1], ".[")) && len(p) > longest {
				found, longest = field, len(p)
			}
		}
	}
	return found
}

// line names the line of a textarea that the path of a violation is about, as "Line 2: ": by
// the last index in it.
func (f *Field) line(path string) string {
	number, _, _ := strings.Cut(path[strings.LastIndexByte(path, '[')+1:], "]")
	n, err := strconv.Atoi(number)
	if err != nil || f.Kind != "textarea" {
		return ""
	}
	return fmt.Sprintf("Line %d: ", n+1)
}

func (f *Form) hasErrors() bool {
	return slices.ContainsFunc(f.Fields, func(field *Field) bool { return field.Error != "" })
}

// Compare shows beside each entry what is stored now, where that is something else. The
// etag of what is stored goes into the hidden field "etag", so that the form can be sent
// again.
func (f *Form) Compare(etag string, stored url.Values) {
	f.Set("etag", etag)
	for name, values := range stored {
		field := f.Field(name)
		typed := field.Values
		if field.Kind != "choices" {
			typed = []string{field.Value}
		}
		if now := strings.Join(field.texts(values), ", "); now != strings.Join(field.texts(typed), ", ") {
			field.Stored = &now
		}
	}
}

// texts returns what is shown for values.
func (f *Field) texts(values []string) []string {
	var out []string
	for _, v := range values {
		for _, o := range f.Options {
			if o.Value == v {
				v = o.Text
				break
			}
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// Has reports whether there is a field of a name.
func (f *Form) Has(name string) bool {
	return slices.ContainsFunc(f.Fields, func(field *Field) bool { return field.Name == name })
}

// Changed are the paths, below prefix, of the entries that differ from what is stored,
// which fields have. An entry changes the first of its paths.
func (f *Form) Changed(fields []Field, prefix string) []string {
	var paths []string
	for i := range fields {
		was := &fields[i]
		if len(was.Paths) == 0 {
			continue
		}
		is, path := f.Field(was.Name), strings.TrimPrefix(was.Paths[0], prefix)
		if (is.Value != was.Value || !slices.Equal(is.Values, was.Values)) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// Stored are the entries that fields have, for Compare.
func Stored(fields []Field) url.Values {
	values := url.Values{}
	for _, field := range fields {
		switch field.Kind {
		case "hidden":
		case "choices":
			values[field.Name] = field.Values
		default:
			values.Set(field.Name, field.Value)
		}
	}
	return values
}

// Leave empties an entry that belongs to another choice than is made now, where it is only
// left over from what is stored. What was typed is for the service to refuse.
func (f *Form) Leave(name, stored string) {
	if f.Get(name) == stored {
		f.Set(name, "")
	}
}

// EnumEntry is a value of an enum as an entry has it: without the prefix, and empty for the
// one that holds by default.
func EnumEntry(value interface{ String() string }, prefix, byDefault string) string {
	name := strings.TrimPrefix(value.String(), prefix)
	if name == byDefault || name == "UNSPECIFIED" {
		return ""
	}
	return name
}

// Enum is the number of an enum's value that an entry names, 0 for none. What is none is
// said at the entry.
func (f *Form) Enum(name, prefix string, values map[string]int32) int32 {
	if f.Get(name) == "" {
		return 0
	}
	n, ok := values[prefix+f.Get(name)]
	if !ok {
		f.Wrong(name, "must be one of the list")
	}
	return n
}

// Chosen reports whether an option is.
func (f *Field) Chosen(value string) bool {
	if f.Kind == "choices" {
		return slices.Contains(f.Values, value)
	}
	return f.Value == value
}

// Describes are the ids of the texts about the field.
func (f *Field) Describes() string {
	var ids []string
	for id, there := range map[string]bool{"-error": f.Error != "", "-hint": f.Hint != "", "-stored": f.Stored != nil} {
		if there {
			ids = append(ids, "f-"+f.Name+id)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// InputType is the type of an input.
func (f *Field) InputType() string {
	if f.Kind == "" {
		return "text"
	}
	return f.Kind
}

// sentence makes a sentence of a message: services begin theirs without a capital and end
// them without a stop.
func sentence(message string) string {
	if message == "" {
		return ""
	}
	message = strings.ToUpper(message[:1]) + message[1:]
	if !strings.ContainsAny(message[len(message)-1:], ".?!") {
		message += "."
	}
	return message
}

func joined(a, b string) string { return strings.TrimSpace(a + " " + b) }
