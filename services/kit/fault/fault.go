// Package fault gives errors a kind that callers may see. A function that
// knows why something failed returns a fault; the interceptors of this package
// turn it into a gRPC status with details. Every other error is "internal
// error" outside and complete in the log. What a fault means to a user (an
// HTTP status, an exit code) is left to those who show it.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// domain is that of every ErrorInfo that Tidegate returns.
const domain = "tidegate"

// Violation says what is wrong with one field of a request.
type Violation struct {
	// Field is the path of the field, for example "version.endpoints[0].url".
	Field string
	// Message says what is right, for example "must be a ws:// or wss:// URL".
	Message string
}

// fault is an error whose kind and message callers may see.
type fault struct {
	code    codes.Code
	message string
	details []protoadapt.MessageV1
	cause   error
}

// Error returns the message, and the cause where there is one: it is for the log.
func (f *fault) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

// Unwrap returns what the fault was made of.
func (f *fault) Unwrap() error { return f.cause }

// GRPCStatus returns what the caller sees.
func (f *fault) GRPCStatus() *status.Status {
	s := status.New(f.code, f.message)
	if len(f.details) == 0 {
		return s
	}
	with, err := s.WithDetails(f.details...)
	if err != nil {
		return s
	}
	return with
}

func newf(code codes.Code, format string, a []any) *fault {
	f := &fault{code: code, message: fmt.Sprintf(format, a...)}
	return f
}

// NotFound says that a thing does not exist or may not be seen by the caller.
// The format names the thing; " not found" is added where it is not said.
func NotFound(format string, a ...any) error {
	f := newf(codes.NotFound, format, a)
	if !strings.HasSuffix(f.message, "not found") {
		f.message += " not found"
	}
	return f
}

// AlreadyExists says that a unique value is taken.
func AlreadyExists(format string, a ...any) error { return newf(codes.AlreadyExists, format, a) }

// Denied says that the caller is known and lacks the right.
func Denied(format string, a ...any) error { return newf(codes.PermissionDenied, format, a) }

// Unauthenticated says that the caller has to say who it is.
func Unauthenticated(format string, a ...any) error { return newf(codes.Unauthenticated, format, a) }

// Precondition says that the state of the thing does not allow the action.
func Precondition(format string, a ...any) error { return newf(codes.FailedPrecondition, format, a) }

// Aborted says that somebody else was first: a stale etag.
func Aborted(format string, a ...any) error { return newf(codes.Aborted, format, a) }

// Exhausted says that a limit is reached.
func Exhausted(format string, a ...any) error { return newf(codes.ResourceExhausted, format, a) }

// Unavailable says that asking again later may work.
func Unavailable(format string, a ...any) error { return newf(codes.Unavailable, format, a) }

// Unimplemented says that there is no such method.
func Unimplemented(format string, a ...any) error { return newf(codes.Unimplemented, format, a) }

// Invalid says what is wrong with one field of the request.
func Invalid(field, format string, a ...any) error {
	return InvalidAll(Violation{Field: field, Message: fmt.Sprintf(format, a...)})
}

// InvalidAll says what is wrong with several fields at once; nil when there is
// no violation.
func InvalidAll(violations ...Violation) error {
	if len(violations) == 0 {
		return nil
	}
	bad := &errdetails.BadRequest{}
	var texts []string
	for _, v := range violations {
		bad.FieldViolations = append(bad.FieldViolations,
			&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Message})
		text := v.Message
		if v.Field != "" {
			text = v.Field + ": " + v.Message
		}
		texts = append(texts, text)
	}
	return &fault{
		code:    codes.InvalidArgument,
		message: strings.Join(texts, "; "),
		details: []protoadapt.MessageV1{protoadapt.MessageV1Of(bad)},
	}
}

// WithReason adds a google.rpc.ErrorInfo to a fault: reason is UPPER_SNAKE, meta
// are keys and values in turn. An error that is no fault is returned as it is.
func WithReason(err error, reason string, meta ...string) error {
	f := find(err)
	if f == nil {
		return err
	}
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain}
	for i := 0; i+1 < len(meta); i += 2 {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[meta[i]] = meta[i+1]
	}
	details := append(slices.Clip(f.details), protoadapt.MessageV1Of(info))
	return &fault{code: f.code, message: f.message, details: details, cause: f.cause}
}

// Wrap gives a fault the error that it comes from. The cause is for the log
// and for errors.Is; callers never see it. An error that is no fault is
// returned as it is.
func Wrap(err, cause error) error {
	f := find(err)
	if f == nil {
		return err
	}
	with := *f
	with.cause = cause
	return &with
}

// Forward gives a status that was received from another service its own kind:
// code, message and details reach the caller as they came. Only for a handler
// that forwards a call; elsewhere a received status is an ordinary error.
func Forward(err error) error {
	if err == nil || find(err) != nil {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return &forwarded{status: s}
}

// forwarded is a status of another service on its way to the caller.
type forwarded struct{ status *status.Status }

// Error returns the text of the status.
func (f *forwarded) Error() string { return f.status.Err().Error() }

// GRPCStatus returns the status as it came.
func (f *forwarded) GRPCStatus() *status.Status { return f.status }

// Is reports whether err is a fault or a received status of this kind.
func Is(err error, c codes.Code) bool {
	if err == nil {
		return false
	}
	if f := find(err); f != nil {
		return f.code == c
	}
	s, ok := status.FromError(err)
	return ok && s.Code() == c
}

// Reason returns the reason of an error's first ErrorInfo of this domain, or
// "". It reads faults and received statuses alike.
func Reason(err error) string {
	s, ok := status.FromError(err)
	if !ok {
		return ""
	}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == domain {
			return info.Reason
		}
	}
	return ""
}

func find(err error) *fault {
	f, _ := errors.AsType[*fault](err)
	return f
}
