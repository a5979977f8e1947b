// Package inprocess calls what the portal serves itself as if it were behind a
// connection, so that pages have clients for everything.
package inprocess

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Conn is a connection to servers of this process. It does unary calls only.
type Conn struct {
	methods map[string]method
}

// method is one that is served.
type method struct {
	server any
	handle grpc.MethodHandler
}

// New returns a connection to nothing; RegisterService adds to it.
func New() *Conn { return &Conn{methods: map[string]method{}} }

// RegisterService adds the methods of a server, as the generated functions call it.
func (c *Conn) RegisterService(desc *grpc.ServiceDesc, server any) {
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{server, m.Handler}
	}
}

// Invoke does one call: the server finds the outgoing metadata of ctx as incoming, and
// has copies of the messages.
func (c *Conn) Invoke(ctx context.Context, name string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := c.methods[name]
	if !ok {
		return fault.Unimplemented("%s is not served here", name)
	}
	request, out, err := messages(args, reply)
	if err != nil {
		return err
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	answer, err := m.handle(m.server, metadata.NewIncomingContext(ctx, md.Copy()), func(in any) error {
		into, _, err := messages(in, in)
		if err == nil {
			proto.Merge(into, request)
		}
		return err
	}, nil)
	if err != nil {
		return err
	}
	got, _, err := messages(answer, answer)
	if err == nil {
		proto.Merge(out, got)
	}
	return err
}

// NewStream refuses: no method that the portal serves itself is a stream.
func (c *Conn) NewStream(_ context.Context, _ *grpc.StreamDesc, name string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.Unimplemented("%s is a stream, which is not served here", name)
}

// messages returns two values as the messages that they are.
func messages(a, b any) (one, two proto.Message, err error) {
	one, ok1 := a.(proto.Message)
	two, ok2 := b.(proto.Message)
	if !ok1 || !ok2 {
		return nil, nil, fmt.Errorf("%T and %T are not both messages", a, b)
	}
	return one, two, nil
}
