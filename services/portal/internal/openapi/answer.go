package openapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// describeAnswers says which fields an answer always has: all but messages that are
// not set. Schemas that nothing refers to any more are removed.
func (d *document) describeAnswers() error {
	for name := range d.answers {
		m := d.messages[name]
		s, err := d.schema(name)
		if err != nil {
			return err
		}
		if m == nil {
			continue // an enum, or google.rpc.Status
		}
		s.Required = nil
		for i := range m.Fields().Len() {
			if fd := m.Fields().Get(i); !fd.HasPresence() {
				s.Required = append(s.Required, fd.JSONName())
			}
		}
		slices.Sort(s.Required)
	}
	used := map[string]bool{"Status": true}
	for _, item := range d.Paths.Map() {
		for _, op := range item.Operations() {
			for _, r := range op.Responses.Map() {
				if r.Value != nil && r.Value.Content["application/json"] != nil {
					d.use(used, r.Value.Content["application/json"].Schema)
				}
			}
			if op.RequestBody != nil {
				d.use(used, op.RequestBody.Value.Content["application/json"].Schema)
			}
		}
	}
	maps.DeleteFunc(d.Components.Schemas, func(name string, _ *openapi3.SchemaRef) bool { return !used[name] })
	return nil
}

// use notes the schemas that ref refers to.
func (d *document) use(used map[string]bool, ref *openapi3.SchemaRef) {
	if ref == nil {
		return
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		if used[name] || d.Components.Schemas[name] == nil {
			return
		}
		used[name] = true
		ref = d.Components.Schemas[name]
	}
	d.use(used, ref.Value.Items)
	for _, s := range ref.Value.AllOf {
		d.use(used, s)
	}
	for _, p := range ref.Value.Properties {
		d.use(used, p)
	}
}
