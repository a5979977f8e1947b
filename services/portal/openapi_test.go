package portal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/gen"
	"github.com/tidegatehq/tidegate/services/portal/internal/oauth2"
	"github.com/tidegatehq/tidegate/services/portal/openapitest"
)

func openAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapitest.Document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpenAPIHasEveryMethod finds the operation of each method that REST has, and no
// other under /v1.
func TestOpenAPIHasEveryMethod(t *testing.T) {
	doc := openAPI(t)
	if doc.OpenAPI != "3.0.3" || doc.Info.Title != "Tidegate" || doc.Info.Version != "v1" {
		t.Errorf("the document is %s %s %s, want 3.0.3 Tidegate v1", doc.OpenAPI, doc.Info.Title, doc.Info.Version)
	}
	known := map[string]bool{}
	for name, inREST := range served() {
		methods := service(t, name).Methods()
		for i := range methods.Len() {
			if m := methods.Get(i); inREST {
				known[checkOperation(t, doc, m)] = true
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if strings.HasPrefix(path, "/v1/") && !known[op.OperationID] {
				t.Errorf("%s has the operation %s, which is no method", path, op.OperationID)
			}
		}
	}
}

// checkOperation checks the operation of a method and returns its id.
func checkOperation(t *testing.T, doc *openapi3.T, m protoreflect.MethodDescriptor) string {
	t.Helper()
	verb, path, body := request(t, m)
	path, _, _ = strings.Cut(path, "?")
	route := openapitest.Route(doc, verb, path)
	id := string(m.Parent().Name()) + "_" + string(m.Name())
	if route == nil {
		t.Errorf("%s %s is not in the document", verb, path)
		return id
	}
	op := route.Operation
	if op.OperationID != id || op.Summary == "" || len(op.Tags) != 1 || doc.Tags.Get(op.Tags[0]) == nil || doc.Tags.Get(op.Tags[0]).Description == "" {
		t.Errorf("%s %s is %q, summary %q, tags %v; want %q, a summary and a tag that is described", verb, route.Path, op.OperationID, op.Summary, op.Tags, id)
	}
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInPath && (!strings.Contains(route.Path, "{"+p.Value.Name+"}") || p.Value.Description == "") {
			t.Errorf("%s %s has a parameter %q (%q), want one of the path that is described", verb, route.Path, p.Value.Name, p.Value.Description)
		}
	}
	if takes := op.RequestBody != nil; takes != (body != "") {
		t.Errorf("%s %s takes a body: %v, want %v", verb, route.Path, takes, body != "")
	}
	if op.RequestBody != nil && verb == http.MethodPatch && op.RequestBody.Value.Content["application/json"].Schema.Value.Required != nil {
		t.Errorf("%s %s needs %v, want no field", verb, route.Path, op.RequestBody.Value.Content["application/json"].Schema.Value.Required)
	}
	return id
}

// TestOpenAPIIsServed asks for every path of the document: none may be unknown.
func TestOpenAPIIsServed(t *testing.T) {
	s := start(t)
	got := s.do(t, "GET", "/openapi.json", "")
	if got.status != 200 || got.header.Get("Content-Type") != jsonType || got.body != gen.OpenAPI() {
		t.Fatalf("GET /openapi.json = %d %q, want the document", got.status, got.header.Get("Content-Type"))
	}
	inYAML := s.do(t, "GET", "/openapi.yaml", "")
	var one, other any
	err1, err2 := json.Unmarshal([]byte(got.body), &one), yaml.Unmarshal([]byte(inYAML.body), &other)
	text1, err3 := json.Marshal(one)
	text2, err4 := json.Marshal(other)
	if err := errors.Join(err1, err2, err3, err4); err != nil || !bytes.Equal(text1, text2) || strings.HasPrefix(inYAML.body, "{") || inYAML.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("GET /openapi.yaml = %d %q, %v, want the same in YAML", inYAML.status, inYAML.header.Get("Content-Type"), err)
	}
	for path, item := range openAPI(t).Paths.Map() {
		concrete := strings.Replace(path, "/services/{service}/", "/services/catalog/", 1)
		concrete = regexp.MustCompile(`\{[a-zA-Z]+\}`).ReplaceAllString(concrete, "x1")
		for method, op := range item.Operations() {
			if got := s.do(t, method, concrete, ""); got.status == 404 || got.status == 405 {
				t.Errorf("%s %s (%s) = %d %s, want that it is served", method, concrete, op.OperationID, got.status, got.body)
			}
		}
	}
	for path := range oauth2.New(nil, nil).Routes() {
		// The last is for issuers with a path of several segments, which OpenAPI cannot say.
		if openAPI(t).Paths.Value(path) == nil && path != oauth2.MetadataPath+"/" {
			t.Errorf("the document lacks %s", path)
		}
	}
}

// TestOpenAPIExamples has an example for every body, of a list in what it lists, and
// every field of an answer described.
func TestOpenAPIExamples(t *testing.T) {
	doc := openAPI(t)
	for path, item := range doc.Paths.Map() {
		for verb, op := range item.Operations() {
			bodies := map[string]openapi3.Content{}
			for code, r := range op.Responses.Map() {
				bodies[code] = r.Value.Content
			}
			if op.RequestBody != nil {
				bodies["request"] = op.RequestBody.Value.Content
			}
			for of, content := range bodies {
				for _, m := range content {
					if m.Example == nil && !exemplified(m.Schema.Value) {
						t.Errorf("%s %s: %s has no example", verb, path, of)
					}
				}
			}
		}
	}
}

// exemplified reports whether tools can show an example of a schema.
func exemplified(s *openapi3.Schema) bool {
	if s.Example != nil || len(s.Properties) == 0 {
		return true
	}
	for name, p := range s.Properties {
		if p.Value.Items != nil && p.Value.Items.Value.Example != nil {
			return true
		}
		if name == "etag" && len(s.Properties) == 1 {
			return true
		}
	}
	return false
}
