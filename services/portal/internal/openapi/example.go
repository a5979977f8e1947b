package openapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v3"
)

// addExamples gives an example to each schema of a resource or a request: that of
// examples.yaml, with the fields that it leaves out as an answer has them when they
// are not set. What a request may hold of a resource has the resource's example.
func (d *document) addExamples() error {
	given := map[string]map[string]any{}
	if err := yaml.Unmarshal(examples, &given); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		s, err := d.schema(name)
		if err != nil {
			return fmt.Errorf("examples.yaml: %w", err)
		}
		s.Example = d.complete(s, given[name])
	}
	for name, ref := range d.Components.Schemas {
		of, isInput := strings.CutSuffix(name, "Input")
		if !isInput {
			of, isInput = strings.CutSuffix(name, "Patch")
		}
		if isInput && given[of] != nil {
			ref.Value.Example = d.only(ref.Value, given[of])
		}
	}
	for _, item := range d.Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				if p.Value.In == openapi3.ParameterInPath {
					p.Value.Example = pathExample(p.Value.Name)
				}
			}
		}
	}
	return nil
}

// pathExample is an example of an id in a path, from the names in examples.yaml.
func pathExample(parameter string) string {
	switch parameter {
	case "service":
		return "catalog"
	case "change":
		return "42"
	case "signingKey":
		return "2"
	case "gateway":
		return "gateway-1"
	case "plan":
		return "gold"
	case "user":
		return "me"
	}
	return "7fkq3c2m9x"
}

// deref follows references.
func (d *document) deref(ref *openapi3.SchemaRef) *openapi3.Schema {
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name].Value
	}
	if len(ref.Value.AllOf) == 1 {
		return d.deref(ref.Value.AllOf[0])
	}
	return ref.Value
}

// complete adds the required properties that an example lacks.
func (d *document) complete(s *openapi3.Schema, example map[string]any) map[string]any {
	whole := maps.Clone(example)
	for name, value := range whole {
		if nested, ok := value.(map[string]any); ok && s.Properties[name] != nil {
			whole[name] = d.complete(d.deref(s.Properties[name]), nested)
		}
	}
	for _, name := range s.Required {
		if _, ok := whole[name]; !ok {
			whole[name] = unset(d.deref(s.Properties[name]))
		}
	}
	return whole
}

// unset is how an answer shows a field that is not set.
func unset(s *openapi3.Schema) any {
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is(openapi3.TypeArray):
		return []any{}
	case s.Type.Is(openapi3.TypeObject): // a map
		return map[string]any{}
	case s.Type.Is(openapi3.TypeBoolean):
		return false
	case s.Type.Is(openapi3.TypeInteger):
		return 0
	case s.Format == "int64" || s.Format == "uint64":
		return "0"
	}
	return ""
}

// only leaves out what s does not have.
func (d *document) only(s *openapi3.Schema, example map[string]any) map[string]any {
	part := map[string]any{}
	for name, value := range example {
		if property := s.Properties[name]; property != nil {
			if nested, ok := value.(map[string]any); ok {
				value = d.only(d.deref(property), nested)
			}
			part[name] = value
		}
	}
	return part
}
