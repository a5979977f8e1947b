package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

var errCause = errors.New("secret cause")

// call returns what a caller sees when a handler returns err, and the log.
func call(t *testing.T, ctx context.Context, handle func() error) (*status.Status, string) {
	t.Helper()
	var log bytes.Buffer
	unary := fault.UnaryInterceptor(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	_, err := unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, func(context.Context, any) (any, error) {
		return "answer", handle()
	})
	s, ok := status.FromError(err)
	if !ok {
		t.Errorf("Unary returned %v, want a status", err)
	}
	return s, log.String()
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		err     error
		code    codes.Code
		message string
	}{
		{fault.NotFound("api %q", "x"), codes.NotFound, `api "x" not found`},
		{fault.NotFound("no route not found"), codes.NotFound, "no route not found"},
		{fault.AlreadyExists("context %s is taken", "/a"), codes.AlreadyExists, "context /a is taken"},
		{fault.Invalid("display_name", "must not be empty"), codes.InvalidArgument, "display_name: must not be empty"},
		{fault.Invalid("", "must not be empty"), codes.InvalidArgument, "must not be empty"},
		{fault.Denied("no"), codes.PermissionDenied, "no"},
		{fault.Unauthenticated("who?"), codes.Unauthenticated, "who?"},
		{fault.Precondition("published"), codes.FailedPrecondition, "published"},
		{fault.PreconditionOf("plans", "must not be empty"), codes.FailedPrecondition, "plans: must not be empty"},
		{fault.Aborted("stale"), codes.Aborted, "stale"},
		{fault.Exhausted("full"), codes.ResourceExhausted, "full"},
		{fault.Unavailable("later"), codes.Unavailable, "later"},
		{fault.Unimplemented("what?"), codes.Unimplemented, "what?"},
		{fmt.Errorf("update api: %w", fault.Aborted("stale")), codes.Aborted, "stale"},
		{fault.Wrap(fault.Aborted("stale"), errCause), codes.Aborted, "stale"},
		{fault.Forward(status.Error(codes.DataLoss, "from afar")), codes.DataLoss, "from afar"},
		{fault.Forward(fault.Denied("no")), codes.PermissionDenied, "no"},
		{errCause, codes.Internal, "internal error"},
		{status.Error(codes.NotFound, "of another service"), codes.Internal, "internal error"},
		{fmt.Errorf("ask: %w", status.Error(codes.Unavailable, "of another service")), codes.Internal, "internal error"},
		{context.Canceled, codes.Internal, "internal error"},
		{io.EOF, codes.Internal, "internal error"},
	} {
		s, log := call(t, t.Context(), func() error { return tt.err })
		if s.Code() != tt.code || s.Message() != tt.message {
			t.Errorf("%v: caller sees %v %q, want %v %q", tt.err, s.Code(), s.Message(), tt.code, tt.message)
		}
		if logged := log != ""; logged != (tt.code == codes.Internal) {
			t.Errorf("%v: log = %q", tt.err, log)
		}
		if tt.code == codes.Internal && !strings.Contains(log, tt.err.Error()) {
			t.Errorf("%v: log = %q, want the cause in it", tt.err, log)
		}
	}
	if s, _ := call(t, t.Context(), func() error { return nil }); s.Code() != codes.OK {
		t.Errorf("nil: caller sees %v, want OK", s)
	}
}

func TestEndedCallIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, log := call(t, ctx, func() error { return fmt.Errorf("read: %w", context.Canceled) })
	if s.Code() != codes.Canceled || log != "" {
		t.Errorf("caller sees %v, log %q, want CANCELLED and no log", s, log)
	}
}

func TestPanicIsContained(t *testing.T) {
	s, log := call(t, t.Context(), func() error { panic("secret") })
	if s.Code() != codes.Internal || s.Message() != "internal error" || !strings.Contains(log, "secret") || !strings.Contains(log, "fault_test.go") {
		t.Errorf("caller sees %v, log %q, want internal error and the panic with its stack in the log", s, log)
	}
}

func TestDetails(t *testing.T) {
	err := fault.WithReason(fault.InvalidAll(
		fault.Violation{Field: "a", Message: "must be 1"},
		fault.Violation{Field: "b", Message: "must be 2"},
	), "BAD", "limit", "3")
	s, _ := call(t, t.Context(), func() error { return fmt.Errorf("wrapped: %w", err) })
	want := []any{
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "a", Description: "must be 1"}, {Field: "b", Description: "must be 2"}}},
		&errdetails.ErrorInfo{Reason: "BAD", Domain: "tidegate", Metadata: map[string]string{"limit": "3"}},
	}
	if diff := cmp.Diff(want, s.Details(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if s.Message() != "a: must be 1; b: must be 2" {
		t.Errorf("message = %q", s.Message())
	}
	if got := fault.Reason(s.Err()); got != "BAD" {
		t.Errorf("Reason of the received status = %q, want BAD", got)
	}
	if got := fault.Reason(err); got != "BAD" {
		t.Errorf("Reason of the fault = %q, want BAD", got)
	}
}

func TestHelpersLeaveOtherErrorsAlone(t *testing.T) {
	if got := fault.WithReason(errCause, "X"); !errors.Is(got, errCause) || fault.Reason(got) != "" {
		t.Errorf("WithReason = %v, want %v", got, errCause)
	}
	if got := fault.Wrap(errCause, io.EOF); errors.Is(got, io.EOF) {
		t.Errorf("Wrap = %v, want %v", got, errCause)
	}
	if err := fault.InvalidAll(); err != nil {
		t.Errorf("InvalidAll() = %v, want nil", err)
	}
	if err := fault.Forward(nil); err != nil {
		t.Errorf("Forward(nil) = %v, want nil", err)
	}
}

func TestIs(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code codes.Code
		want bool
	}{
		{fault.Aborted("x"), codes.Aborted, true},
		{fmt.Errorf("y: %w", fault.Aborted("x")), codes.Aborted, true},
		{fault.Aborted("x"), codes.NotFound, false},
		{status.Error(codes.NotFound, "x"), codes.NotFound, true},
		{errCause, codes.Unknown, false},
		{nil, codes.OK, false},
	} {
		if got := fault.Is(tt.err, tt.code); got != tt.want {
			t.Errorf("Is(%v, %v) = %v, want %v", tt.err, tt.code, got, tt.want)
		}
	}
	if !errors.Is(fault.Wrap(fault.Aborted("x"), errCause), errCause) {
		t.Error("a fault's cause is not found by errors.Is")
	}
}

// brokenStream is a stream on which gRPC reports a status.
type brokenStream struct {
	grpc.ServerStream
	ctx context.Context
	err error
}

func (b *brokenStream) Context() context.Context { return b.ctx }
func (b *brokenStream) RecvMsg(any) error        { return b.err }
func (b *brokenStream) SendMsg(any) error        { return b.err }

// What gRPC says about a stream passes; what a handler makes of io.EOF is its
// own matter.
func TestStreamPassesWhatGRPCSays(t *testing.T) {
	intercept := fault.StreamInterceptor(slog.New(slog.DiscardHandler), nil)
	for _, tt := range []struct {
		err  error
		want codes.Code
	}{
		{status.Error(codes.ResourceExhausted, "message too large"), codes.ResourceExhausted},
		{io.EOF, codes.OK},
	} {
		for name, use := range map[string]func(grpc.ServerStream) error{
			"RecvMsg": func(s grpc.ServerStream) error { return s.RecvMsg(nil) },
			"SendMsg": func(s grpc.ServerStream) error { return s.SendMsg(nil) },
		} {
			err := intercept(nil, &brokenStream{ctx: t.Context(), err: tt.err}, &grpc.StreamServerInfo{}, func(_ any, s grpc.ServerStream) error {
				if err := use(s); !errors.Is(err, io.EOF) {
					return fmt.Errorf("use stream: %w", err)
				}
				return nil
			})
			if status.Code(err) != tt.want {
				t.Errorf("%s that gives %v: %v, want %v", name, tt.err, err, tt.want)
			}
		}
	}
}

// TestEveryErrorHasAReason makes an error of each kind: its reason is one of Reasons,
// with that code, and each reason has the form of AIP-193.
func TestEveryErrorHasAReason(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithTimeout(t.Context(), 0)
	defer cancelLate()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), fault.NotFound("x"), "NOT_FOUND"},
		{t.Context(), fault.AlreadyExists("x"), "ALREADY_EXISTS"},
		{t.Context(), fault.Denied("x"), "PERMISSION_DENIED"},
		{t.Context(), fault.Unauthenticated("x"), "UNAUTHENTICATED"},
		{t.Context(), fault.Precondition("x"), "FAILED_PRECONDITION"},
		{t.Context(), fault.Aborted("x"), "ABORTED"},
		{t.Context(), fault.Exhausted("x"), "RESOURCE_EXHAUSTED"},
		{t.Context(), fault.Unavailable("x"), "UNAVAILABLE"},
		{t.Context(), fault.Unimplemented("x"), "UNIMPLEMENTED"},
		{t.Context(), fault.Invalid("a", "x"), "INVALID_ARGUMENT"},
		{t.Context(), errCause, "INTERNAL"},
		{ended, errCause, "CANCELLED"},
		{late, errCause, "DEADLINE_EXCEEDED"},
		{t.Context(), fault.Forward(status.Error(codes.NotFound, "of a service")), "NOT_FOUND"},
		{t.Context(), fault.WithReason(fault.WithReason(fault.Aborted("x"), fault.ReasonEtagMismatch), fault.ReasonServiceUnreachable), "SERVICE_UNREACHABLE"},
	} {
		s, _ := call(t, tt.ctx, func() error { return tt.err })
		infos := 0
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				infos++
				if info.GetReason() != tt.want || info.GetDomain() != fault.Domain {
					t.Errorf("%v: reason %s of %s, want %s of %s", tt.err, info.GetReason(), info.GetDomain(), tt.want, fault.Domain)
				}
			}
		}
		if infos != 1 {
			t.Errorf("%v has %d reasons, want 1", tt.err, infos)
		}
		if known(tt.want) == codes.OK {
			t.Errorf("%s is not one of Reasons", tt.want)
		}
	}
	if s, _ := call(t, t.Context(), func() error { panic("x") }); fault.Reason(s.Err()) != "INTERNAL" {
		t.Errorf("a panic has the reason %q, want INTERNAL", fault.Reason(s.Err()))
	}
	for _, k := range fault.Reasons() {
		if !regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$`).MatchString(k.Reason) {
			t.Errorf("%q does not have the form of a reason", k.Reason)
		}
	}
}

// known returns the code of a reason, OK for none.
func known(reason string) codes.Code {
	for _, k := range fault.Reasons() {
		if k.Reason == reason {
			return k.Code
		}
	}
	return codes.OK
}

// TestClassify shows when the kind of an error is asked for: of one that is no fault,
// and of one that says only that something is not available.
func TestClassify(t *testing.T) {
	classify := func(err error) error {
		if errors.Is(err, errCause) {
			return fault.WithReason(fault.Unavailable("away"), fault.ReasonServiceUnreachable)
		}
		return nil
	}
	unary := fault.UnaryInterceptor(slog.New(slog.DiscardHandler), classify)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("write: %w", errCause), fault.ReasonServiceUnreachable},
		{fault.Wrap(fault.Unavailable("the keys cannot be read"), errCause), fault.ReasonServiceUnreachable},
		{fault.Wrap(fault.Aborted("stale"), errCause), "ABORTED"},
		{fault.WithReason(fault.Wrap(fault.Unavailable("x"), errCause), fault.ReasonTooManyAPIs), fault.ReasonTooManyAPIs},
		{io.EOF, "INTERNAL"},
	} {
		_, err := unary(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return nil, tt.err })
		if got := fault.Reason(err); got != tt.want {
			t.Errorf("%v: reason %q, want %q", tt.err, got, tt.want)
		}
	}
}
