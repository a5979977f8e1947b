package change

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

// Bounds of what the log says of one change: the number of fields, and the length of
// a value in characters.
const (
	maxFields = 64
	maxValue  = 256
)

// unsaid reports whether a field of a resource says nothing of its own: the change
// has the name and the time, and an etag is a number.
func unsaid(name protoreflect.Name) bool {
	switch name {
	case "name", "etag", "create_time", "update_time":
		return true
	}
	return false
}

// fieldChanges returns what differs between two states of a resource, either of which
// may be nil for one that does not exist. Fields with the option debug_redact are
// secret.
func fieldChanges(before, after proto.Message) ([]*changev1.FieldChange, error) {
	d := differ{}
	var err error
	switch {
	case before == nil && after == nil:
		return nil, nil
	case before == nil:
		m := after.ProtoReflect()
		err = d.messages("", m.Type().Zero(), m)
	case after == nil:
		m := before.ProtoReflect()
		err = d.messages("", m, m.Type().Zero())
	default:
		err = d.messages("", before.ProtoReflect(), after.ProtoReflect())
	}
	return d.all[:min(len(d.all), maxFields)], err
}

// differ collects differences.
type differ struct{ all []*changev1.FieldChange }

// messages compares two messages of one type, whose path begins with prefix.
func (d *differ) messages(prefix string, before, after protoreflect.Message) error {
	if before.Descriptor() != after.Descriptor() {
		return fmt.Errorf("a %s became a %s", before.Descriptor().FullName(), after.Descriptor().FullName())
	}
	fields := before.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if prefix == "" && unsaid(f.Name()) || before.Has(f) == after.Has(f) && before.Get(f).Equal(after.Get(f)) {
			continue
		}
		if err := d.field(prefix+string(f.Name()), f, before, after); err != nil {
			return err
		}
	}
	return nil
}

// field adds the difference of one field.
func (d *differ) field(path string, f protoreflect.FieldDescriptor, before, after protoreflect.Message) error {
	secret := isSecret(f, nil)
	single := f.Message() != nil && !f.IsList() && !f.IsMap() && f.Message().ParentFile().Package() != "google.protobuf"
	switch {
	case single && !redacted(f):
		return d.messages(path+".", before.Get(f).Message(), after.Get(f).Message())
	case secret:
		d.all = append(d.all, &changev1.FieldChange{Field: path, Secret: true})
		return nil
	}
	old, err := value(f, before)
	if err != nil {
		return err
	}
	next, err := value(f, after)
	if err != nil {
		return err
	}
	d.all = append(d.all, &changev1.FieldChange{Field: path, OldValue: old, NewValue: next})
	return nil
}

// redacted reports whether a field has the option debug_redact.
func redacted(f protoreflect.FieldDescriptor) bool {
	opts, ok := f.Options().(*descriptorpb.FieldOptions)
	return ok && opts.GetDebugRedact()
}

// isSecret reports whether a field, or one below it, is redacted. above has the
// messages that contain it.
func isSecret(f protoreflect.FieldDescriptor, above []protoreflect.FullName) bool {
	if redacted(f) {
		return true
	}
	m := f.Message()
	if m == nil {
		return false
	}
	for _, name := range above {
		if name == m.FullName() {
			return false
		}
	}
	above = append(above, m.FullName())
	for i := range m.Fields().Len() {
		if isSecret(m.Fields().Get(i), above) {
			return true
		}
	}
	return false
}

// value returns a field's value as the log shows it.
func value(f protoreflect.FieldDescriptor, m protoreflect.Message) (string, error) {
	if !m.Has(f) {
		return "", nil
	}
	alone := m.Type().New()
	alone.Set(f, m.Get(f))
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(alone.Interface())
	if err != nil {
		return "", fmt.Errorf("show %s: %w", f.FullName(), err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", fmt.Errorf("show %s: %w", f.FullName(), err)
	}
	raw := fields[string(f.Name())]
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		return shorten(plain), nil
	}
	var compact bytes.Buffer // protojson's spaces differ from build to build
	if err := json.Compact(&compact, raw); err != nil {
		return "", fmt.Errorf("show %s: %w", f.FullName(), err)
	}
	return shorten(compact.String()), nil
}

// shorten cuts a value that is too long.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxValue {
		return s
	}
	return string([]rune(s)[:maxValue]) + "…"
}
