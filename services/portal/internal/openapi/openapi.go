// Package openapi makes the OpenAPI document of the REST interface, at `make gen`. It
// starts from what protoc-gen-openapiv2 says of the protos, in OpenAPI 2.0, and adds
// what that cannot know:
//
//	tidegate.swagger.json ─► convert to 3.0 ─► operations: responses, headers, texts
//	                                        ─► inputs:     what a request may hold, and its bounds
//	                                        ─► answers:    which fields are always there
//	base.yaml (errors, security, OAuth2) ───► merge ─► examples ─► check ─► tidegate.json
//
// The portal serves the result as it is (package gen), and needs nothing of this.
package openapi

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1" // the protos that have REST
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

//go:embed base.yaml
var base []byte

//go:embed examples.yaml
var examples []byte

// document is the document in the making.
type document struct {
	*openapi3.T
	// methods are those of the services, by the operationId that the generator gives.
	methods map[string]protoreflect.MethodDescriptor
	// messages are those of the protos, by the name of their schema.
	messages map[string]protoreflect.MessageDescriptor
	// answers are the schemas that answers have, directly or in others.
	answers map[string]bool
	// words are the names of fields in texts, and how JSON spells them.
	words map[string]string
}

// Generate returns the document for what protoc-gen-openapiv2 has written: indented
// JSON, the same for the same input.
func Generate(swagger []byte) ([]byte, error) {
	var tree any
	if err := json.Unmarshal(swagger, &tree); err != nil {
		return nil, fmt.Errorf("read the generated document: %w", err)
	}
	swagger, err := json.Marshal(describedRefs(tree))
	if err != nil {
		return nil, err
	}
	var old openapi2.T
	if err := json.Unmarshal(swagger, &old); err != nil {
		return nil, fmt.Errorf("read the generated document: %w", err)
	}
	converted, err := openapi2conv.ToV3(&old)
	if err != nil {
		return nil, fmt.Errorf("convert the generated document: %w", err)
	}
	d := &document{T: converted}
	d.know()
	steps := []struct {
		doing string
		do    func() error
	}{
		{"describe operations", d.describeOperations},
		{"describe what answers have", d.describeAnswers},
		{"describe texts", d.describeTexts},
		{"merge base.yaml", d.merge},
		{"add examples", d.addExamples},
		{"check", d.check},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.doing, err)
		}
	}
	return d.write()
}

// describedRefs puts references that have a description or are read-only into an allOf:
// beside a reference, tools ignore both.
func describedRefs(tree any) any {
	switch v := tree.(type) {
	case []any:
		for i := range v {
			v[i] = describedRefs(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = describedRefs(v[name])
		}
		ref, isRef := v["$ref"].(string)
		if isRef && (v["description"] != nil || v["readOnly"] != nil) {
			delete(v, "$ref")
			delete(v, "type")
			v["allOf"] = []any{map[string]any{"$ref": ref}}
		}
	}
	return tree
}

// know reads the methods, messages and field names of the protos.
func (d *document) know() {
	d.methods = map[string]protoreflect.MethodDescriptor{}
	d.messages = map[string]protoreflect.MessageDescriptor{}
	d.words = map[string]string{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "tidegate.") {
			return true
		}
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				d.methods[string(m.Parent().Name())+"_"+string(m.Name())] = m
			}
		}
		d.knowMessages(file.Messages())
		return true
	})
}

func (d *document) knowMessages(all protoreflect.MessageDescriptors) {
	for i := range all.Len() {
		m := all.Get(i)
		d.messages[schemaName(m)] = m
		for j := range m.Fields().Len() {
			fd := m.Fields().Get(j)
			d.words[string(fd.Name())] = fd.JSONName()
		}
		d.knowMessages(m.Messages())
	}
}

// schemaName is the name that the generator gives to the schema of a message.
func schemaName(m protoreflect.MessageDescriptor) string {
	return strings.TrimPrefix(string(m.FullName()), string(m.ParentFile().Package())+".")
}

// schema returns a schema of the document.
func (d *document) schema(name string) (*openapi3.Schema, error) {
	ref := d.Components.Schemas[name]
	if ref == nil || ref.Value == nil {
		return nil, fmt.Errorf("there is no schema %s", name)
	}
	return ref.Value, nil
}

// refTo refers to a schema of the document.
func refTo(name string) *openapi3.SchemaRef {
	return openapi3.NewSchemaRef("#/components/schemas/"+name, nil)
}

// copyOf is a copy that shares nothing with s.
func copyOf(s *openapi3.SchemaRef) (*openapi3.SchemaRef, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	c := &openapi3.SchemaRef{}
	return c, json.Unmarshal(raw, c)
}

// merge adds what base.yaml says.
func (d *document) merge() error {
	loader := openapi3.NewLoader()
	loader.IncludeOrigin = false
	more, err := loader.LoadFromData(base)
	if err != nil {
		return err
	}
	d.OpenAPI, d.Info, d.Servers, d.Security = more.OpenAPI, more.Info, more.Servers, more.Security
	d.Tags = append(d.usedTags(), more.Tags...)
	d.Extensions = nil
	for path, item := range more.Paths.Map() {
		d.Paths.Set(path, item)
	}
	d.Components.SecuritySchemes = more.Components.SecuritySchemes
	d.Components.Headers = more.Components.Headers
	d.Components.Responses = more.Components.Responses
	delete(d.Components.Schemas, "Any")
	maps.Copy(d.Components.Schemas, more.Components.Schemas)
	return nil
}

// usedTags are the tags that operations have. The generator also makes tags for
// services without REST.
func (d *document) usedTags() openapi3.Tags {
	used := map[string]bool{}
	for _, item := range d.Paths.Map() {
		for _, op := range item.Operations() {
			for _, t := range op.Tags {
				used[t] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(d.Tags), func(t *openapi3.Tag) bool { return !used[t.Name] })
}

// check resolves all references, and reports what OpenAPI does not allow, examples
// that do not fit their schemas included.
func (d *document) check() error {
	raw, err := d.write()
	if err != nil {
		return err
	}
	loader := openapi3.NewLoader()
	read, err := loader.LoadFromData(raw)
	if err != nil {
		return err
	}
	return read.Validate(context.Background(), openapi3.EnableExamplesValidation())
}

func (d *document) write() ([]byte, error) {
	raw, err := json.Marshal(d.T)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// rule is the HTTP rule of a method, or nil.
func rule(m protoreflect.MethodDescriptor) *annotations.HttpRule {
	r, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	return r
}

// has reports whether a field has one of the behaviors.
func has(fd protoreflect.FieldDescriptor, behaviors ...annotations.FieldBehavior) bool {
	all, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.ContainsFunc(all, func(b annotations.FieldBehavior) bool { return slices.Contains(behaviors, b) })
}

// ours reports whether a field holds a message of ours, not one that JSON writes as a
// string.
func ours(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsMap() && fd.Message().ParentFile().Package() != "google.protobuf"
}
