package openapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// open are the methods that need no token: they sign in, up and out.
func open(id string) bool {
	switch id {
	case "SignInService_SignIn", "SignInService_RefreshSignIn", "SignInService_SignOut", "UserService_SignUp", "UserService_GetSignUpPolicy":
		return true
	}
	return false
}

// describeOperations completes the operations of all methods.
func (d *document) describeOperations() error {
	d.answers = map[string]bool{}
	for _, item := range d.Paths.Map() {
		for _, op := range item.Operations() {
			d.reach(op.Responses.Status(http.StatusOK).Value.Content["application/json"].Schema)
		}
	}
	for path, item := range d.Paths.Map() {
		for verb, op := range item.Operations() {
			m := d.methods[op.OperationID]
			if m == nil {
				return fmt.Errorf("%s %s: there is no method %s", verb, path, op.OperationID)
			}
			if err := d.describe(verb, op, m); err != nil {
				return fmt.Errorf("%s %s: %w", verb, path, err)
			}
		}
	}
	return nil
}

// reach notes the schemas that an answer has.
func (d *document) reach(ref *openapi3.SchemaRef) {
	if ref == nil {
		return
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		if d.answers[name] {
			return
		}
		d.answers[name] = true
		ref = d.Components.Schemas[name]
	}
	d.reach(ref.Value.Items)
	for _, s := range ref.Value.AllOf {
		d.reach(s)
	}
	for _, p := range ref.Value.Properties {
		d.reach(p)
	}
}

func (d *document) describe(verb string, op *openapi3.Operation, m protoreflect.MethodDescriptor) error {
	writes := verb != http.MethodGet
	op.Summary, op.Description = d.split(op.Summary + "\n\n" + op.Description)
	if open(op.OperationID) {
		op.Security = openapi3.NewSecurityRequirements()
	}
	if err := d.describeBody(verb, op, m); err != nil {
		return err
	}
	d.describePath(op, m)
	d.describeQuery(op, m)
	ok := op.Responses.Status(http.StatusOK).Value
	ok.Description = new(d.answer(m))
	ok.Headers = openapi3.Headers{"Cache-Control": {Ref: "#/components/headers/NoStore"}}
	if writes {
		ok.Headers["Tidegate-Change"] = &openapi3.HeaderRef{Ref: "#/components/headers/Tidegate-Change"}
	}
	refusals := map[string]string{
		"400": "InvalidArgument", "401": "Unauthenticated", "429": "Exhausted",
		"500": "Internal", "503": "Unavailable", "504": "DeadlineExceeded", "default": "Error",
	}
	if !open(op.OperationID) {
		refusals["403"] = "PermissionDenied"
	}
	if op.RequestBody != nil || strings.Contains(pathOf(m), "{") {
		refusals["404"] = "NotFound"
	}
	if writes && !open(op.OperationID) {
		refusals["409"] = "Conflict"
	}
	if op.RequestBody != nil {
		refusals["413"], refusals["415"] = "TooLarge", "NoJSON"
	}
	for code, name := range refusals {
		op.Responses.Set(code, &openapi3.ResponseRef{Ref: "#/components/responses/" + name})
	}
	return nil
}

// answer says what a method answers with.
func (d *document) answer(m protoreflect.MethodDescriptor) string {
	if m.Output().FullName() == "google.protobuf.Empty" {
		return "It is done; the answer is an empty object."
	}
	if strings.HasPrefix(string(m.Name()), "List") {
		return "A page of the list."
	}
	s, err := d.schema(schemaName(m.Output()))
	if err != nil {
		return "The answer."
	}
	first, _ := d.split(s.Description)
	return first
}

// pathOf is the path template of a method's HTTP rule.
func pathOf(m protoreflect.MethodDescriptor) string {
	r := rule(m)
	return r.GetGet() + r.GetPost() + r.GetPatch() + r.GetDelete()
}

// variable returns the field that a method's path sets, as api.name, and the pattern
// that it has there, as apis/*; "" where there is none.
func variable(m protoreflect.MethodDescriptor) (field, pattern string) {
	_, rest, _ := strings.Cut(pathOf(m), "{")
	inner, _, _ := strings.Cut(rest, "}")
	field, pattern, _ = strings.Cut(inner, "=")
	return field, pattern
}

// describePath says of each parameter in a path which part of which name it is.
func (d *document) describePath(op *openapi3.Operation, m protoreflect.MethodDescriptor) {
	_, pattern := variable(m)
	at := 0
	parts := strings.Split(pattern, "/")
	for _, p := range op.Parameters {
		if p.Value.In != openapi3.ParameterInPath {
			continue
		}
		for at < len(parts) && parts[at] != "*" {
			at++
		}
		if at == 0 || at >= len(parts) {
			continue
		}
		parts[at] = "{" + p.Value.Name + "}"
		p.Value.Description = "Part of the name " + strings.Join(parts[:at+1], "/") + "."
		p.Value.Schema.Value.Pattern = segmentPattern(parts[at-1])
	}
}

// describeQuery sets the bounds of parameters in the query.
func (d *document) describeQuery(op *openapi3.Operation, m protoreflect.MethodDescriptor) {
	for _, p := range op.Parameters {
		fd := m.Input().Fields().ByJSONName(p.Value.Name)
		if p.Value.In == openapi3.ParameterInQuery && fd != nil && !fd.IsList() {
			boundValue(p.Value.Schema.Value, rulesOf(fd))
		}
	}
}

// segmentPattern is the form of the ids of a collection (tidegate/rules).
func segmentPattern(collection string) string {
	switch collection {
	case "changes":
		return "^[1-9][0-9]{0,18}$"
	case "sessionRecords", "sessions":
		return "^[A-Za-z0-9-]{1,64}$"
	}
	return "^[a-z0-9-]{1,64}$"
}
