package rest

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// routes has the route of each HTTP method and path template, such as
// "GET /v1/{name=apis/*}".
type routes map[string]*route

// route says how an HTTP request becomes a gRPC request.
type route struct {
	input protoreflect.MessageDescriptor
	// path has the fields in the path, by their name there.
	path map[string]protoreflect.FieldDescriptor
	// query has the fields that may be in the query, by both of their names.
	query map[string]protoreflect.FieldDescriptor
	// hasBody says whether there is a body; bodyField is the field that it sets, or
	// nil if it is the whole message.
	hasBody   bool
	bodyField protoreflect.FieldDescriptor
	// known has the names of two words and more that fields in the input have.
	known map[string]bool
}

// newRoutes reads the routes of all services of files.
func newRoutes(files ...protoreflect.FileDescriptor) (routes, error) {
	all := routes{}
	for _, file := range files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if err := all.add(methods.Get(j)); err != nil {
					return nil, fmt.Errorf("%s: %w", methods.Get(j).FullName(), err)
				}
			}
		}
	}
	return all, nil
}

// add reads the route of one method, if it has one.
func (all routes) add(m protoreflect.MethodDescriptor) error {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return nil
	}
	method, template := verb(rule)
	if method == "" || len(rule.GetAdditionalBindings()) > 0 {
		return fmt.Errorf("its HTTP rule is of a kind that is not served")
	}
	rt := &route{
		input: m.Input(),
		path:  map[string]protoreflect.FieldDescriptor{},
		query: map[string]protoreflect.FieldDescriptor{},
		known: map[string]bool{},
	}
	collect(rt.input, rt.known, map[protoreflect.FullName]bool{})
	if err := rt.bind(rule.GetBody(), variables(template)); err != nil {
		return err
	}
	all[method+" "+template] = rt
	return nil
}

// verb returns the HTTP method and the path template of a rule.
func verb(rule *annotations.HttpRule) (method, template string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return "", ""
}

// bind sets where each field of the input comes from.
func (rt *route) bind(body string, vars []string) error {
	fields := rt.input.Fields()
	taken := []string{body}
	for _, v := range vars {
		fd, err := find(rt.input, v)
		if err != nil {
			return err
		}
		rt.path[v] = fd
		first, _, _ := strings.Cut(v, ".")
		taken = append(taken, first)
	}
	rt.hasBody = body != ""
	if body == "*" {
		return nil
	}
	if body != "" {
		rt.bodyField = fields.ByName(protoreflect.Name(body))
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if slices.Contains(taken, string(fd.Name())) {
			continue
		}
		if !isParameter(fd) {
			return fmt.Errorf("its field %s cannot stand in a query", fd.Name())
		}
		rt.query[string(fd.Name())] = fd
		rt.query[fd.JSONName()] = fd
	}
	return nil
}

// find returns the field at a path such as "api.name".
func find(m protoreflect.MessageDescriptor, path string) (protoreflect.FieldDescriptor, error) {
	first, rest, nested := strings.Cut(path, ".")
	fd := m.Fields().ByName(protoreflect.Name(first))
	switch {
	case fd == nil:
		return nil, fmt.Errorf("%s has no field %s", m.FullName(), first)
	case nested && fd.Message() != nil:
		return find(fd.Message(), rest)
	case nested || fd.IsList() || !isParameter(fd):
		return nil, fmt.Errorf("its field %s cannot stand in a path", path)
	}
	return fd, nil
}

// variables are the names of a template's variables.
func variables(template string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`\{([a-z_.]+)=`).FindAllStringSubmatch(template, -1) {
		names = append(names, m[1])
	}
	return names
}

// probeKey marks a request that only finds out whether there is a route.
type probeKey struct{}

// handleRoutingError answers a request without a route. It names the methods that the
// path has, if there are any.
func (h *Handler) handleRoutingError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
	if ctx.Value(probeKey{}) != nil {
		return
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		var found bool
		probe := r.WithContext(context.WithValue(ctx, probeKey{}, &found))
		probe.Method = method
		h.mux.ServeHTTP(w, probe)
		if found {
			allowed = append(allowed, method)
		}
		if found && method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if len(allowed) == 0 {
		WriteNotFound(w, r)
		return
	}
	WriteMethodNotAllowed(w, r, allowed...)
}
