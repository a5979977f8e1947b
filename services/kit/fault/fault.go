// Package fault is for errors that callers may see. A function that knows why
// something failed returns a fault, and the interceptors of this package turn it
// into a gRPC status with details. Callers see any other error as "internal
// error"; the log has all of it. What a fault becomes for a user, an HTTP status
// or an exit code, is decided where it is shown.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Violation says what is wrong with one field of a request.
type Violation struct {
	// Field is the path of the field, for example "version.endpoints[0].url".
	Field string
	// Message says what would be right, for example "must be a ws:// or wss:// URL".
	Message string
}

// fault is an error whose kind and message callers may see.
type fault struct {
	code    codes.Code
	message string
	details []protoadapt.MessageV1
	cause   error
}

// Error returns the message and, for the log, the cause.
func (f *fault) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

// Unwrap returns the cause, or nil.
func (f *fault) Unwrap() error { return f.cause }

// GRPCStatus returns what the caller sees.
func (f *fault) GRPCStatus() *status.Status {
	s := status.New(f.code, f.message)
	with, err := s.WithDetails(f.details...)
	if err != nil {
		with = s
	}
	return Complete(with)
}

func newf(code codes.Code, format string, a []any) *fault {
	return &fault{code: code, message: fmt.Sprintf(format, a...)}
}

// NotFound says that a thing does not exist, or that the caller may not see it.
// The format names the thing; " not found" is appended where it is missing.
func NotFound(format string, a ...any) error {
	f := newf(codes.NotFound, format, a)
	if !strings.HasSuffix(f.message, "not found") {
		f.message += " not found"
	}
	return f
}

// AlreadyExists says that a value that must be unique is taken.
func AlreadyExists(format string, a ...any) error { return newf(codes.AlreadyExists, format, a) }

// Denied says that the caller is known but not permitted.
func Denied(format string, a ...any) error { return newf(codes.PermissionDenied, format, a) }

// Unauthenticated says that the caller must authenticate first.
func Unauthenticated(format string, a ...any) error { return newf(codes.Unauthenticated, format, a) }

// Precondition says that the thing is in the wrong state for the action.
func Precondition(format string, a ...any) error { return newf(codes.FailedPrecondition, format, a) }

// PreconditionOf is a Precondition that one field of the thing does not meet; the field is
// named as Invalid names one.
func PreconditionOf(field, format string, a ...any) error {
	f := find(Invalid(field, format, a...))
	f.code = codes.FailedPrecondition
	return f
}

// Aborted says that somebody else changed the thing first, as a stale etag shows.
func Aborted(format string, a ...any) error { return newf(codes.Aborted, format, a) }

// Exhausted says that a limit has been reached.
func Exhausted(format string, a ...any) error { return newf(codes.ResourceExhausted, format, a) }

// Unavailable says that the same call may succeed later.
func Unavailable(format string, a ...any) error { return newf(codes.Unavailable, format, a) }

// Unimplemented says that there is no such method.
func Unimplemented(format string, a ...any) error { return newf(codes.Unimplemented, format, a) }

// Invalid says what is wrong with one field of the request.
func Invalid(field, format string, a ...any) error {
	return InvalidAll(Violation{Field: field, Message: fmt.Sprintf(format, a...)})
}

// InvalidAll says what is wrong with several fields at once. Without violations
// it returns nil.
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

// WithReason gives a fault a reason of its own instead of its code's. The reason is
// one of Reasons, and meta alternates keys and values. An error that is not a fault is
// returned unchanged.
func WithReason(err error, reason string, meta ...string) error {
	f := find(err)
	if f == nil {
		return err
	}
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	for i := 0; i+1 < len(meta); i += 2 {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[meta[i]] = meta[i+1]
	}
	details := slices.DeleteFunc(slices.Clone(f.details), func(d protoadapt.MessageV1) bool {
		_, old := d.(*errdetails.ErrorInfo)
		return old
	})
	details = append(details, protoadapt.MessageV1Of(info))
	return &fault{code: f.code, message: f.message, details: details, cause: f.cause}
}

// RetryAfter adds a google.rpc.RetryInfo to a fault: the same call may succeed after the
// wait, and before that it will not (AIP-194). Over REST it is the header Retry-After. An
// error that is not a fault is returned unchanged.
func RetryAfter(err error, wait time.Duration) error {
	f := find(err)
	if f == nil {
		return err
	}
	with := *f
	with.details = append(slices.Clip(f.details), protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}))
	return &with
}

// RetryDelay returns the wait that RetryAfter gave, 0 without one. It works for faults and
// for received statuses.
func RetryDelay(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// Wrap gives a fault its cause, for the log and for errors.Is; callers never see
// it. An error that is not a fault is returned unchanged.
func Wrap(err, cause error) error {
	f := find(err)
	if f == nil {
		return err
	}
	with := *f
	with.cause = cause
	return &with
}

// Forward lets a status from another service reach the caller as it came: code,
// message and details, and a reason where it has none. It is only for handlers that
// forward a call; anywhere else a received status is an ordinary error.
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

// forwarded is another service's status on its way to the caller.
type forwarded struct{ status *status.Status }

// Error returns the text of the status.
func (f *forwarded) Error() string { return f.status.Err().Error() }

// GRPCStatus returns the status, with a reason.
func (f *forwarded) GRPCStatus() *status.Status { return Complete(f.status) }

// Is reports whether err is a fault or a received status with this code.
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

func find(err error) *fault {
	f, _ := errors.AsType[*fault](err)
	return f
}
