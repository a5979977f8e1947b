package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Classify returns the fault that an error is, when its own text says nothing to
// callers but its kind does, and nil for any other error.
type Classify func(error) error

// UnaryInterceptor turns what a handler returns into a status, and a panic into "internal
// error". It must come first in the chain, so that it sees what all others return.
// classify, if it is not nil, is asked about errors that are not faults.
func UnaryInterceptor(log *slog.Logger, classify Classify) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		err = guard(ctx, log, classify, info.FullMethod, func() error {
			resp, err = next(ctx, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// StreamInterceptor does for streams what UnaryInterceptor does for calls.
func StreamInterceptor(log *slog.Logger, classify Classify) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return guard(ss.Context(), log, classify, info.FullMethod, func() error {
			return next(srv, &stream{ServerStream: ss})
		})
	}
}

// guard runs a handler and turns its error, or its panic, into a status.
func guard(ctx context.Context, log *slog.Logger, classify Classify, method string, handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "call panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errInternal()
		}
	}()
	return statusOf(ctx, log, classify, method, handle())
}

func errInternal() error { return Complete(status.New(codes.Internal, "internal error")).Err() }

// statusOf returns err as the caller may see it, and logs what is left out.
func statusOf(ctx context.Context, log *slog.Logger, classify Classify, method string, err error) error {
	if err == nil {
		return nil
	}
	if f := find(err); f != nil {
		f = f.explained(classify)
		if f.cause != nil {
			log.DebugContext(ctx, "call refused", "method", method, "code", f.code.String(), "error", err)
		}
		return f.GRPCStatus().Err()
	}
	if p, ok := errors.AsType[*forwarded](err); ok {
		return p.GRPCStatus().Err()
	}
	if ctx.Err() != nil {
		return Complete(status.FromContextError(ctx.Err())).Err()
	}
	if f := classified(classify, err); f != nil {
		return f.GRPCStatus().Err()
	}
	log.WarnContext(ctx, "call failed", "method", method, "error", err)
	return errInternal()
}

// classified returns the fault that classify finds in an error, or nil.
func classified(classify Classify, err error) *fault {
	if classify == nil || err == nil {
		return nil
	}
	return find(classify(err))
}

// explained returns what says more than f, if f says only that something is not
// available and its cause says why.
func (f *fault) explained(classify Classify) *fault {
	if f.code != codes.Unavailable || infoOf(f.GRPCStatus()).GetReason() != nameOf(f.code) {
		return f
	}
	if cause := classified(classify, f.cause); cause != nil {
		return cause
	}
	return f
}

// stream makes the errors of gRPC itself, such as a message that is too large,
// visible to the caller when a handler returns them.
type stream struct{ grpc.ServerStream }

// RecvMsg receives the next message.
func (s *stream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return Forward(err)
}

// SendMsg sends a message.
func (s *stream) SendMsg(m any) error {
	return Forward(s.ServerStream.SendMsg(m))
}
