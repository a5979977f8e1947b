// Package upstream calls the services behind the portal. It gives every call a
// deadline and sends only the metadata that services need. What the client library
// says about addresses and transports goes to the log and not to the caller. A
// service's answer is passed on unchanged.
package upstream

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Timeout is how long a call may take at most, whatever the caller's deadline.
const Timeout = 30 * time.Second

// TraceHeaders are the headers that propagate a trace (W3C Trace Context).
func TraceHeaders() []string { return []string{"traceparent", "tracestate"} }

// WithTrace returns a context whose calls carry the trace of a request.
func WithTrace(ctx context.Context, h http.Header) context.Context {
	for _, name := range TraceHeaders() {
		for _, v := range h.Values(name) {
			if isMetadata(v) {
				ctx = metadata.AppendToOutgoingContext(ctx, name, v)
			}
		}
	}
	return ctx
}

// Forwarded returns the context of a call on behalf of the caller of ctx: with the
// caller's deadline, token and trace, and nothing else.
func Forwarded(ctx context.Context) context.Context {
	md := metadata.MD{}
	for _, name := range append(TraceHeaders(), "authorization") {
		md.Append(name, metadata.ValueFromIncomingContext(ctx, name)...)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// isMetadata reports whether gRPC accepts a value as metadata.
func isMetadata(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Conn is a connection to a service. It does unary calls only.
type Conn struct {
	name string
	cc   grpc.ClientConnInterface
	log  *slog.Logger
}

// New returns a connection to a service. Errors call it name, such as "the catalog
// service".
func New(name string, cc grpc.ClientConnInterface, log *slog.Logger) *Conn {
	return &Conn{name: name, cc: cc, log: log}
}

// Invoke does one call, and passes on the address of the client of ctx. Its error has the
// service's status, or one of the portal's own if no answer came.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if client := clientaddr.From(ctx); client.IsValid() {
		ctx = metadata.AppendToOutgoingContext(ctx, clientaddr.Metadata, client.String())
	}
	var header, trailer metadata.MD
	opts = append(slices.Clip(opts), grpc.Header(&header), grpc.Trailer(&trailer))
	err := c.cc.Invoke(ctx, method, args, reply, opts...)
	if err == nil || answered(header) || answered(trailer) {
		return err
	}
	return c.unanswered(ctx, method, err)
}

// NewStream refuses: no method that the portal serves is a stream.
func (c *Conn) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.Unimplemented("%s is a stream, which is not served here", method)
}

// answered reports whether a service sent this metadata: an answer always has a
// content type.
func answered(md metadata.MD) bool { return len(md.Get("content-type")) > 0 }

// unanswered returns the status of a call that no service answered.
func (c *Conn) unanswered(ctx context.Context, method string, err error) error {
	code, level := status.Code(err), slog.LevelWarn
	message := "internal error"
	switch code {
	case codes.Canceled:
		level, message = slog.LevelDebug, "the caller went away"
	case codes.DeadlineExceeded:
		message = c.name + " did not answer in time"
	case codes.Unavailable:
		message = c.name + " cannot be reached, try again"
	default:
		code = codes.Internal
	}
	c.log.Log(ctx, level, "call was not answered", "by", c.name, "method", method, "error", err)
	if code == codes.Unavailable {
		return fault.WithReason(fault.Unavailable("%s", message), fault.ReasonServiceUnreachable)
	}
	return fault.Complete(status.New(code, message)).Err()
}
