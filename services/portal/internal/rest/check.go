package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// MaxBody is the largest body, in bytes.
const MaxBody = 1 << 20

// check runs between the routing of a request and its call.
func (h *Handler) check(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		found, probing := r.Context().Value(probeKey{}).(*bool)
		if misled(r.URL, params) {
			h.handleRoutingError(r.Context(), h.mux, nil, w, r, http.StatusNotFound)
			return
		}
		if probing {
			*found = true
			return
		}
		pattern, _ := runtime.HTTPPattern(r.Context())
		rt := h.routes[r.Method+" "+pattern.String()]
		if rt == nil {
			WriteInternal(w, r)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), routeKey{}, rt))
		checked, err := rt.check(w, r, params)
		if err != nil {
			writeError(w, r, err)
			return
		}
		next(w, checked, params)
	}
}

// misled reports whether the mux has matched a path that does not exist: ids have no
// slash and no colon, so what follows a colon is a verb that is not served.
func misled(u *url.URL, params map[string]string) bool {
	if strings.Contains(strings.ToUpper(u.RawPath), "%2F") {
		return true
	}
	for _, v := range params {
		if strings.Contains(v, ":") {
			return true
		}
	}
	return false
}

// check returns the request in the form that the mux needs, or what is wrong with it.
func (rt *route) check(w http.ResponseWriter, r *http.Request, params map[string]string) (*http.Request, error) {
	var bad []fault.Violation
	for name, value := range params {
		if message := checkParameter(rt.path[name], value); message != "" {
			bad = append(bad, fault.Violation{Field: name, Message: message})
		}
	}
	query, wrong, err := rt.checkQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	bad = append(bad, wrong...)
	body, wrong, err := rt.checkBody(w, r, query, params)
	if err != nil {
		return nil, err
	}
	bad = append(bad, wrong...)
	if len(bad) > 0 {
		return nil, fault.InvalidAll(bad...)
	}
	checked := r.WithContext(r.Context())
	checked.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	checked.Body = io.NopCloser(bytes.NewReader(body))
	return checked, nil
}

// checkBody reads the body and says what is wrong with it. For a PATCH without
// an update mask it adds one to the query.
func (rt *route) checkBody(w http.ResponseWriter, r *http.Request, query url.Values, params map[string]string) ([]byte, []fault.Violation, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, nil, withStatus(http.StatusRequestEntityTooLarge,
			fault.WithReason(fault.Invalid("", "the body must have at most %d bytes", MaxBody), fault.ReasonBodyTooLarge))
	case err != nil:
		return nil, nil, malformed("the body could not be read to its end")
	case len(body) == 0:
		return nil, nil, nil
	case !rt.hasBody:
		return nil, nil, fault.Invalid("", "this method takes no body")
	}
	if err := checkContentType(r.Header); err != nil {
		return nil, nil, err
	}
	if !utf8.Valid(body) {
		return nil, nil, malformed("the body is not UTF-8")
	}
	desc, path := rt.input, ""
	if rt.bodyField != nil {
		desc, path = rt.bodyField.Message(), string(rt.bodyField.Name())
	}
	found, err := readObject(body, desc, path)
	if err != nil {
		return nil, nil, err
	}
	bad := found.bad
	for name, value := range params {
		field, inBody := strings.CutPrefix(name, path+".")
		if path == "" {
			field, inBody = name, true
		}
		if sent, ok := found.strings[field]; inBody && ok && sent != "" && sent != value {
			bad = append(bad, fault.Violation{Field: name, Message: "differs from the one in the path"})
		}
	}
	if mask := found.mask(); r.Method == http.MethodPatch && query.Get(maskField) == "" && mask != "" {
		query.Set(maskField, mask)
	}
	return body, bad, nil
}

// malformed is the fault of a body that is no JSON object.
func malformed(format string, a ...any) error {
	return fault.WithReason(fault.Invalid("", format, a...), fault.ReasonMalformedBody)
}

// unsupported is the fault of a body that is said to be something else than JSON.
func unsupported(format string, a ...any) error {
	return withStatus(http.StatusUnsupportedMediaType, fault.WithReason(fault.Invalid("", format, a...), fault.ReasonUnsupportedMediaType))
}

// checkContentType allows only JSON.
func checkContentType(h http.Header) error {
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return unsupported("the body must be sent without a Content-Encoding")
	}
	sent := h.Values("Content-Type")
	if len(sent) != 1 {
		return unsupported("the body needs one Content-Type: application/json")
	}
	kind, params, err := mime.ParseMediaType(sent[0])
	charset, ok := params["charset"]
	if err != nil || kind != "application/json" || ok && !strings.EqualFold(charset, "utf-8") {
		return unsupported("the Content-Type must be application/json, not %.100q", sent[0])
	}
	return nil
}
