package rest

import (
	"cmp"
	"context"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Services name fields as the gRPC request has them: version.max_session_age. A client
// of REST has sent the version as the body, and knows the field as maxSessionAge.

// routeKey is that of the route in a request's context.
type routeKey struct{}

// routeOf returns the route of a request, or nil where it has none.
func routeOf(ctx context.Context) *route {
	rt, _ := ctx.Value(routeKey{}).(*route)
	return rt
}

// filterField is the field of a list that says which items it has. Its fields have the
// names of the protos in REST too.
const filterField = "filter"

// theBody is what messages call the body as a whole.
const theBody = "the body"

// status returns a status with REST's names of fields in its message and violations.
func (rt *route) status(st *status.Status) *status.Status {
	if rt == nil {
		return st
	}
	out := proto.CloneOf(st.Proto())
	out.Message = rt.message(st.Message())
	out.Details = nil
	var details []protoadapt.MessageV1
	for _, d := range st.Details() {
		m, ok := d.(proto.Message)
		if !ok {
			continue // of a type that is not known here
		}
		bad, ok := m.(*errdetails.BadRequest)
		if !ok {
			details = append(details, protoadapt.MessageV1Of(m))
			continue
		}
		var texts []string
		bad = proto.CloneOf(bad)
		for _, v := range bad.GetFieldViolations() {
			texts = append(texts, rt.message(strings.TrimPrefix(v.GetField()+": "+v.GetDescription(), ": ")))
			v.Description = rt.description(v.GetField(), v.GetDescription())
			v.Field = rt.field(v.GetField())
		}
		out.Message = strings.Join(texts, "; ")
		details = append(details, protoadapt.MessageV1Of(bad))
	}
	with, err := status.FromProto(out).WithDetails(details...)
	if err != nil {
		return st
	}
	return with
}

// field returns REST's name of the field at a path in the request: relative to the body
// if the body is a field of it, "" for the body itself. A path that leads nowhere is
// returned as far as it does, and then as it is.
func (rt *route) field(path string) string {
	desc := rt.input
	if rt.bodyField != nil {
		body := string(rt.bodyField.Name())
		if path == body {
			return ""
		}
		if rest, ok := strings.CutPrefix(path, body+"."); ok {
			desc, path = rt.bodyField.Message(), rest
		}
	}
	parts := strings.Split(path, ".")
	for i, part := range parts {
		name, index, indexed := strings.Cut(part, "[")
		fd := desc.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			break
		}
		parts[i] = fd.JSONName()
		if indexed {
			parts[i] += "[" + index
		}
		if desc = fd.Message(); desc == nil {
			break
		}
	}
	return strings.Join(parts, ".")
}

// message returns a message that begins with a field and a colon, or is a sentence, with
// REST's names.
func (rt *route) message(text string) string {
	field, rest, ok := strings.Cut(text, ": ")
	if ok && rt.has(field) {
		return cmp.Or(rt.field(field), theBody) + ": " + rt.description(field, rest)
	}
	return rt.description("", text)
}

// has reports whether a path begins with a field of the request.
func (rt *route) has(path string) bool {
	first := path
	if end := strings.IndexAny(path, ".["); end >= 0 {
		first = path[:end]
	}
	return rt.input.Fields().ByName(protoreflect.Name(first)) != nil
}

// names finds what may be the name or path of a field, and quoted texts, which are what
// somebody has sent, and names of resources, so that nothing in these is found.
var names = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[a-zA-Z]*[/{][^\s,;]*|[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+`)

// description returns what is wrong with a field, with REST's names of others.
func (rt *route) description(field, text string) string {
	switch field {
	case filterField:
		return text
	case maskField:
		return snakeCase.ReplaceAllStringFunc(text, camel)
	}
	return names.ReplaceAllStringFunc(text, func(name string) string {
		switch {
		case strings.Contains(name, ".") && rt.has(name):
			return rt.field(name)
		case rt.known[name]:
			return camel(name)
		}
		return name
	})
}

var snakeCase = regexp.MustCompile(`[a-z][a-z0-9]*(?:_[a-z0-9]+)+`)

// camel turns the name of a field into its JSON name.
func camel(name string) string {
	parts := strings.Split(name, "_")
	for i, part := range parts[1:] {
		parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
	}
	return strings.Join(parts, "")
}

// collect adds the names of the fields of a message, and of the messages in it.
func collect(m protoreflect.MessageDescriptor, known map[string]bool, seen map[protoreflect.FullName]bool) {
	if seen[m.FullName()] {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		known[string(fd.Name())] = strings.Contains(string(fd.Name()), "_")
		if fd.Message() != nil {
			collect(fd.Message(), known, seen)
		}
	}
}
