package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// object describes a JSON body.
type object struct {
	// bad is what is wrong with it.
	bad []fault.Violation
	// paths are the fields that it sets, and strings the values of the string
	// fields, by field name.
	paths   []string
	strings map[string]string
}

// readObject reads a body as the JSON of a message; path is the message's place
// in the request. Its error says why the body is not a JSON object at all.
func readObject(body []byte, desc protoreflect.MessageDescriptor, path string) (*object, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, malformed("the body is not valid JSON: syntax error at byte %d", syntax.Offset)
		}
		return nil, malformed("the body is not valid JSON")
	}
	o := &object{strings: map[string]string{}}
	members, ok := split(whole)
	if !ok {
		return nil, malformed("the body must be a JSON object")
	}
	o.message(desc, path, members, true)
	return o, nil
}

// member is a name and a value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// split returns the members of an object in the order sent, or false when the value,
// which is valid JSON, is not an object.
func split(raw json.RawMessage) ([]member, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		text, ok := name.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, false
		}
		members = append(members, member{text, value})
	}
	return members, true
}

// maxViolations is how many mistakes in one body are reported.
const maxViolations = 20

func (o *object) refuse(path, message string) {
	if len(o.bad) == maxViolations {
		return
	}
	o.bad = append(o.bad, fault.Violation{Field: path, Message: message})
}

// message checks the members of an object; top says that it is the body itself.
func (o *object) message(desc protoreflect.MessageDescriptor, path string, members []member, top bool) {
	seen := map[protoreflect.Name]bool{}
	for _, m := range members {
		fd := fieldOf(desc, m.name)
		if fd == nil {
			o.refuse(join(path, short(m.name)), "unknown field")
			continue
		}
		name := join(path, string(fd.Name()))
		if seen[fd.Name()] {
			o.refuse(name, "is given more than once")
			continue
		}
		seen[fd.Name()] = true
		if top {
			o.note(fd, m.value)
		}
		o.field(fd, name, m.value)
	}
}

// fieldOf returns the field that a member names, by either of its names.
func fieldOf(desc protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := desc.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return desc.Fields().ByTextName(name)
}

// note remembers a field of the body itself.
func (o *object) note(fd protoreflect.FieldDescriptor, value json.RawMessage) {
	o.paths = append(o.paths, paths(fd, value)...)
	var text string
	if json.Unmarshal(value, &text) == nil {
		o.strings[string(fd.Name())] = text
	}
}

// paths returns the mask paths of a member: for an object those of the fields that it
// sets, because the others stay as they are, else the whole field.
func paths(fd protoreflect.FieldDescriptor, value json.RawMessage) []string {
	name := string(fd.Name())
	if fd.Message() == nil || fd.IsList() || fd.IsMap() || fd.Message().ParentFile().Package() == "google.protobuf" {
		return []string{name}
	}
	members, _ := split(value)
	if len(members) == 0 {
		return []string{name}
	}
	var all []string
	for _, m := range members {
		// An unknown member is refused elsewhere.
		if part := fieldOf(fd.Message(), m.name); part != nil {
			for _, path := range paths(part, m.value) {
				all = append(all, name+"."+path)
			}
		}
	}
	return all
}

// field checks the value of a field; null means no value.
func (o *object) field(fd protoreflect.FieldDescriptor, path string, value json.RawMessage) {
	if string(value) == "null" {
		return
	}
	if fd.IsMap() {
		o.pairs(fd, path, value)
		return
	}
	if !fd.IsList() {
		o.value(fd, path, value)
		return
	}
	var items []json.RawMessage
	if json.Unmarshal(value, &items) != nil {
		o.refuse(path, "must be a list")
		return
	}
	for i, item := range items {
		o.value(fd, fmt.Sprintf("%s[%d]", path, i), item)
	}
}

// pairs checks the value of a map, whose keys are strings.
func (o *object) pairs(fd protoreflect.FieldDescriptor, path string, value json.RawMessage) {
	members, ok := split(value)
	if !ok {
		o.refuse(path, "must be an object")
		return
	}
	seen := map[string]bool{}
	for _, m := range members {
		name := fmt.Sprintf("%s[%q]", path, short(m.name))
		if seen[m.name] {
			o.refuse(name, "is given more than once")
			continue
		}
		seen[m.name] = true
		o.value(fd.MapValue(), name, m.value)
	}
}

// value checks one value.
func (o *object) value(fd protoreflect.FieldDescriptor, path string, value json.RawMessage) {
	var text string
	isText := value[0] == '"' && json.Unmarshal(value, &text) == nil
	switch fd.Kind() {
	case protoreflect.StringKind:
		if !isText {
			o.refuse(path, "must be a string")
		} else if torn(value) {
			o.refuse(path, "has half a character, as \\ud800")
		}
	case protoreflect.BoolKind:
		if s := string(value); s != "true" && s != "false" {
			o.refuse(path, "must be true or false")
		}
	case protoreflect.EnumKind:
		if !isText || fd.Enum().Values().ByName(protoreflect.Name(text)) == nil {
			o.refuse(path, "must be one of "+enumNames(fd.Enum()))
		}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind, protoreflect.Int64Kind, protoreflect.Uint64Kind:
		if !isText {
			text = string(value)
		}
		if message := checkNumber(fd.Kind(), text); message != "" {
			o.refuse(path, message)
		}
	case protoreflect.MessageKind:
		o.nested(fd.Message(), path, value)
	}
}

// torn reports whether a valid JSON string has an unpaired surrogate, which
// encoding/json would replace.
func torn(raw json.RawMessage) bool {
	high := false
	for i := 0; i < len(raw); i++ {
		var unit uint64
		if raw[i] == '\\' {
			i++
			if raw[i] == 'u' {
				unit, _ = strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
				i += 4
			}
		}
		low := 0xdc00 <= unit && unit < 0xe000
		if high != low {
			return true
		}
		high = 0xd800 <= unit && unit < 0xdc00
	}
	return false
}

// nested checks the value of a message.
func (o *object) nested(desc protoreflect.MessageDescriptor, path string, value json.RawMessage) {
	switch desc.FullName() {
	case "google.protobuf.Timestamp":
		if protojson.Unmarshal(value, &timestamppb.Timestamp{}) != nil {
			o.refuse(path, `must be a time, as "2026-01-31T23:59:59Z"`)
		}
		return
	case "google.protobuf.Duration":
		if protojson.Unmarshal(value, &durationpb.Duration{}) != nil {
			o.refuse(path, `must be a number of seconds, as "90s"`)
		}
		return
	}
	members, ok := split(value)
	if !ok {
		o.refuse(path, "must be an object")
		return
	}
	o.message(desc, path, members, false)
}

// mask returns the fields of the body, except the name and the etag. It includes
// fields that no update can change: the service refuses them unless their value is
// the current one. So a resource can be sent back as it was read, and no change is
// dropped silently.
func (o *object) mask() string {
	changed := slices.DeleteFunc(slices.Clone(o.paths), func(path string) bool { return path == "name" || path == "etag" })
	return strings.Join(changed, ",")
}

func enumNames(enum protoreflect.EnumDescriptor) string {
	var names []string
	for i := range enum.Values().Len() {
		if v := enum.Values().Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return strings.Join(names, ", ")
}

// join returns the path of a field of the message at path.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// short truncates a caller's invented name for an error message.
func short(name string) string {
	const most = 64
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}
