package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// withStatus gives an error an HTTP status of its own.
func withStatus(httpStatus int, err error) error {
	return &runtime.HTTPStatusError{HTTPStatus: httpStatus, Err: err}
}

// handleError is the error handler of the mux.
func handleError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	relay(ctx, w)
	writeError(w, r, err)
}

// WriteNotFound answers a request for a path that does not exist.
func WriteNotFound(w http.ResponseWriter, r *http.Request) {
	writeError(w, r, fault.WithReason(
		fault.NotFound("the path %s was not found", short(strings.ToValidUTF8(r.URL.Path, "?"))), fault.ReasonPathNotFound))
}

// WriteMethodNotAllowed answers a request whose path has other methods.
func WriteMethodNotAllowed(w http.ResponseWriter, r *http.Request, allowed ...string) {
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	writeError(w, r, withStatus(http.StatusMethodNotAllowed, fault.WithReason(
		fault.Unimplemented("the method %s is not allowed here, only %s", r.Method, list), fault.ReasonMethodNotAllowed)))
}

// WriteInvalid answers a request that is wrong as a whole; err says how.
func WriteInvalid(w http.ResponseWriter, r *http.Request, err error) {
	writeError(w, r, fault.Invalid("", "%s", err))
}

// WriteInternal answers a request whose handler failed.
func WriteInternal(w http.ResponseWriter, r *http.Request) {
	writeError(w, r, status.Error(codes.Internal, "internal error"))
}

// writeError answers with a google.rpc.Status.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	custom, ok := errors.AsType[*runtime.HTTPStatusError](err)
	if ok {
		err = custom.Err
	}
	st, known := status.FromError(err)
	if !known {
		st = status.New(codes.Internal, "internal error")
	}
	st = routeOf(r.Context()).status(fault.Complete(st))
	httpStatus := runtime.HTTPStatusFromCode(st.Code())
	if ok {
		httpStatus = custom.HTTPStatus
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Del("Content-Length")
	if httpStatus == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(r))
	}
	if wait := fault.RetryDelay(st.Err()); wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(httpStatus)
	_, _ = w.Write(statusJSON(st.Proto()))
}

// challenge returns the WWW-Authenticate header. It tells a request that had a token
// that the token is not valid (RFC 6750 section 3).
func challenge(r *http.Request) string {
	const realm = `Bearer realm="tidegate"`
	if r.Header.Get("Authorization") == "" {
		return realm
	}
	return realm + `, error="invalid_token"`
}

// statusJSON returns a status as JSON, without details of unknown types.
func statusJSON(st *spb.Status) []byte {
	opts := protojson.MarshalOptions{EmitDefaultValues: true}
	out, err := opts.Marshal(st)
	if err == nil {
		return out
	}
	st = proto.CloneOf(st)
	st.Details = slices.DeleteFunc(st.Details, func(d *anypb.Any) bool {
		_, err := d.UnmarshalNew()
		return err != nil
	})
	out, err = opts.Marshal(st)
	if err != nil {
		return []byte(`{"code":13,"message":"internal error","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INTERNAL","domain":"tidegate"}]}`)
	}
	return out
}
