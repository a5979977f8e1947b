package grpcserver

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// probes are the methods of health, whose calls are not logged: a probe comes every few
// seconds for ever.
const probes = "/grpc.health.v1.Health/"

// logUnary logs each call at debug.
func logUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		begin := time.Now()
		resp, err := next(ctx, req)
		logCall(ctx, log, info.FullMethod, begin, err)
		return resp, err
	}
}

// logStream logs each stream at debug when it ends.
func logStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		begin := time.Now()
		err := next(srv, ss)
		logCall(ss.Context(), log, info.FullMethod, begin, err)
		return err
	}
}

func logCall(ctx context.Context, log *slog.Logger, method string, begin time.Time, err error) {
	if strings.HasPrefix(method, probes) || !log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []any{"method", method, "code", status.Code(err).String(), "took", time.Since(begin)}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, "peer", p.Addr.String())
	}
	if err != nil {
		attrs = append(attrs, "error", status.Convert(err).Message())
	}
	log.DebugContext(ctx, "call", attrs...)
}
