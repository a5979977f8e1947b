// Package openapitest compares requests and answers with the OpenAPI document, in tests.
package openapitest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/tidegatehq/tidegate/gen"
)

// Document reads the OpenAPI document.
var Document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData([]byte(gen.OpenAPI()))
})

// Route finds the operation of doc that a request is for, or nil.
func Route(doc *openapi3.T, method, path string) *routers.Route {
	for template, item := range doc.Paths.Map() {
		pattern := "^" + regexp.MustCompile(`\\\{[a-zA-Z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "([^/:]+)") + "$"
		if op := item.GetOperation(method); op != nil && regexp.MustCompile(pattern).MatchString(path) {
			return &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: op}
		}
	}
	return nil
}

// find is Route for a request.
func find(req *http.Request) (*routers.Route, error) {
	doc, err := Document()
	if err != nil {
		return nil, err
	}
	path, err := url.PathUnescape(req.URL.EscapedPath())
	if err != nil {
		return nil, nil //nolint:nilerr // what has no path is no operation
	}
	return Route(doc, req.Method, path), nil
}

// Request says in what a request and its body differ from the document.
func Request(req *http.Request, body []byte) error {
	route, err := find(req)
	if err != nil {
		return err
	}
	if route == nil {
		return fmt.Errorf("%s %s is no operation of the document", req.Method, req.URL.Path)
	}
	sent := req.Clone(req.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	err = openapi3filter.ValidateRequest(req.Context(), &openapi3filter.RequestValidationInput{
		Request: sent, Route: route, PathParams: parameters(route.Path, req.URL.Path),
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
	if err != nil {
		return fmt.Errorf("the document does not allow the request %s %s %s: %w", req.Method, req.URL, body, err)
	}
	return nil
}

// parameters are the values that a path has for those of its template.
func parameters(template, path string) map[string]string {
	names := regexp.MustCompile(`\{([a-zA-Z]+)\}`).FindAllStringSubmatch(template, -1)
	pattern := regexp.MustCompile(`\\\{[a-zA-Z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "([^/:]+)")
	values := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(path)
	all := map[string]string{}
	for i, name := range names {
		all[name[1]] = values[i+1]
	}
	return all
}

// Answer says in what an answer differs from what the document says of it: status,
// headers and body. Of a request that is no operation of the document, and of a HEAD,
// it says nothing.
func Answer(req *http.Request, status int, header http.Header, body []byte) error {
	route, err := find(req)
	if route == nil || err != nil {
		return err
	}
	wrong := func(err error) error {
		return fmt.Errorf("%s %s: the document does not know the answer %d %v %s: %w", req.Method, req.URL.Path, status, header, body, err)
	}
	err = openapi3filter.ValidateResponse(context.WithoutCancel(req.Context()), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, Route: route},
		Status:                 status, Header: header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		return wrong(err)
	}
	ref := route.Operation.Responses.Status(status)
	if ref == nil {
		ref = route.Operation.Responses.Default()
	}
	if len(ref.Value.Content) == 0 && len(body) > 0 {
		return wrong(fmt.Errorf("it has no body there"))
	}
	known := slices.Collect(maps.Keys(ref.Value.Headers))
	for _, name := range []string{gen.ChangeHeader, "WWW-Authenticate", "Retry-After", "Location", "Link"} {
		if header.Get(name) != "" && !slices.ContainsFunc(known, func(n string) bool { return strings.EqualFold(n, name) }) {
			return wrong(fmt.Errorf("it has no header %s there", name))
		}
	}
	return nil
}
