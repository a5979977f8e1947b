package openapi

import (
	"fmt"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// describeBody gives an operation a schema of its own for its body: without the
// fields that only the server sets and the name, which is in the path, and with the
// bounds of the protos. That of an update requires nothing.
func (d *document) describeBody(verb string, op *openapi3.Operation, m protoreflect.MethodDescriptor) error {
	if op.RequestBody == nil {
		return nil
	}
	body := op.RequestBody.Value
	body.Extensions, op.Extensions = nil, nil
	content := body.Content["application/json"]
	message, name, from := m.Input(), string(m.Input().Name()), ""
	if field := rule(m).GetBody(); field != "*" {
		message = message.Fields().ByName(protoreflect.Name(field)).Message()
		from = schemaName(message)
		name = d.inputName(message)
		if verb == http.MethodPatch {
			name = from + "Patch"
		}
	} else {
		from = refName(content.Schema)
	}
	if from == "" {
		return fmt.Errorf("its body has no schema")
	}
	inPath, _ := variable(m)
	if err := d.input(message, from, name, inPath); err != nil {
		return err
	}
	s := d.Components.Schemas[name].Value
	if verb == http.MethodPatch {
		s.Required = nil
	}
	content.Schema = refTo(name)
	body.Required = len(s.Required) > 0
	body.Description = ""
	return nil
}

func refName(ref *openapi3.SchemaRef) string {
	const prefix = "#/components/schemas/"
	if len(ref.Ref) < len(prefix) {
		return ""
	}
	return ref.Ref[len(prefix):]
}

// inputName is the name of the schema of a message in requests: its own unless
// answers have it too.
func (d *document) inputName(m protoreflect.MessageDescriptor) string {
	if d.answers[schemaName(m)] {
		return schemaName(m) + "Input"
	}
	return schemaName(m)
}

// input makes the schema name of what a request may hold of message, whose schema is
// from. The field inPath is in the path.
func (d *document) input(message protoreflect.MessageDescriptor, from, name, inPath string) error {
	old, err := d.schema(from)
	if err != nil {
		return err
	}
	s := &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeObject}, Description: old.Description, Properties: openapi3.Schemas{}}
	d.Components.Schemas[name] = openapi3.NewSchemaRef("", s)
	for i := range message.Fields().Len() {
		fd := message.Fields().Get(i)
		if string(fd.Name()) == inPath || has(fd, annotations.FieldBehavior_OUTPUT_ONLY, annotations.FieldBehavior_IDENTIFIER) {
			continue
		}
		property, err := copyOf(old.Properties[fd.JSONName()])
		if err != nil {
			return fmt.Errorf("%s: %w", fd.FullName(), err)
		}
		if err := d.bound(property, fd); err != nil {
			return err
		}
		s.Properties[fd.JSONName()] = property
		if has(fd, annotations.FieldBehavior_REQUIRED) {
			s.Required = append(s.Required, fd.JSONName())
		}
	}
	return nil
}

// bound sets the bounds of a field on its schema, and makes it refer to the schema of
// a message in requests.
func (d *document) bound(property *openapi3.SchemaRef, fd protoreflect.FieldDescriptor) error {
	item := property
	if fd.IsList() {
		item = property.Value.Items
	}
	if ours(fd) {
		name := d.inputName(fd.Message())
		if name == schemaName(fd.Message()) || d.Components.Schemas[name] == nil {
			if err := d.input(fd.Message(), schemaName(fd.Message()), name, ""); err != nil {
				return err
			}
		}
		*item = *describedRef(name, item)
	}
	rules := rulesOf(fd)
	if fd.IsList() {
		list := rules.GetRepeated()
		if list.HasMaxItems() {
			property.Value.MaxItems = new(list.GetMaxItems())
		}
		property.Value.MinItems = list.GetMinItems()
		property.Value.UniqueItems = list.GetUnique()
		rules = list.GetItems()
	}
	if item.Value != nil {
		boundValue(item.Value, rules)
	}
	return nil
}

// describedRef refers to another schema, and keeps the description.
func describedRef(name string, old *openapi3.SchemaRef) *openapi3.SchemaRef {
	text := ""
	if old.Value != nil {
		text = old.Value.Description
	}
	if text == "" {
		return refTo(name)
	}
	return openapi3.NewSchemaRef("", &openapi3.Schema{Description: text, AllOf: openapi3.SchemaRefs{refTo(name)}})
}
