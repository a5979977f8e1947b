// Package openapi makes the OpenAPI document of the portal: what is generated
// from the protos, and the OAuth2 endpoints, which no proto describes.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegatehq/tidegate/gen"
)

//go:embed oauth2.json
var oauth2 []byte

// document is an OpenAPI 2.0 document; parts that are not needed here stay raw.
type document struct {
	Swagger             string                     `json:"swagger"`
	Info                json.RawMessage            `json:"info"`
	Schemes             []string                   `json:"schemes"`
	Consumes            []string                   `json:"consumes"`
	Produces            []string                   `json:"produces"`
	SecurityDefinitions json.RawMessage            `json:"securityDefinitions"`
	Security            json.RawMessage            `json:"security"`
	Tags                []tag                      `json:"tags"`
	Paths               map[string]path            `json:"paths"`
	Definitions         map[string]json.RawMessage `json:"definitions"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// path has the operations of a path by HTTP method.
type path map[string]json.RawMessage

// Document returns the document, JSON.
func Document() ([]byte, error) {
	var doc, more document
	if err := json.Unmarshal([]byte(gen.OpenAPI()), &doc); err != nil {
		return nil, fmt.Errorf("read the generated OpenAPI document: %w", err)
	}
	if err := json.Unmarshal(oauth2, &more); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document of OAuth2: %w", err)
	}
	if err := doc.correct(); err != nil {
		return nil, err
	}
	maps.Copy(doc.Paths, more.Paths)
	maps.Copy(doc.Definitions, more.Definitions)
	used, err := doc.usedTags()
	if err != nil {
		return nil, err
	}
	doc.Tags = slices.DeleteFunc(append(doc.Tags, more.Tags...), func(t tag) bool { return !used[t.Name] })
	out, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return out, nil
}

// correct adds what the generator cannot know: an update requires no field of the
// resource.
func (d *document) correct() error {
	for name, operations := range d.Paths {
		for method, raw := range operations {
			var op map[string]any
			if err := json.Unmarshal(raw, &op); err != nil {
				return fmt.Errorf("read the OpenAPI operation %s %s: %w", method, name, err)
			}
			parameters, _ := op["parameters"].([]any)
			for _, p := range parameters {
				correctParameter(method, p)
			}
			var err error
			if operations[method], err = json.Marshal(op); err != nil {
				return fmt.Errorf("write the OpenAPI operation %s %s: %w", method, name, err)
			}
		}
	}
	return nil
}

func correctParameter(method string, parameter any) {
	p, _ := parameter.(map[string]any)
	if schema, ok := p["schema"].(map[string]any); ok && method == "patch" {
		delete(schema, "required")
	}
}

// usedTags returns the tags that operations use. The generator also makes tags for
// services without REST.
func (d *document) usedTags() (map[string]bool, error) {
	used := map[string]bool{}
	for name, operations := range d.Paths {
		for method, raw := range operations {
			var op struct{ Tags []string }
			if err := json.Unmarshal(raw, &op); err != nil {
				return nil, fmt.Errorf("read the OpenAPI operation %s %s: %w", method, name, err)
			}
			for _, t := range op.Tags {
				used[t] = true
			}
		}
	}
	return used, nil
}
