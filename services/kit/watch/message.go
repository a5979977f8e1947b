package watch

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// Open opens a stream of a watch. It is a method of a generated client.
type Open[Req, Resp any] func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Req, Resp], error)

// The messages of a watch belong to its service, but they all have the same form: a
// oneof "body" of messages, one of which is set:
//
//	request:   Hello | Ack
//	response:  Begin | SnapshotEnd | Heartbeat | a piece of a snapshot | a change
//
// A change is a message with a Position and an event. The types of the pieces, the
// events and the messages around them are the service's own.

// Body returns what is set in the body of m, a message of a watch, or nil.
func Body(m proto.Message) proto.Message {
	r := m.ProtoReflect()
	fd := r.WhichOneof(bodyOf(r))
	if fd == nil {
		return nil
	}
	return r.Get(fd).Message().Interface()
}

// SetBody makes part the body of m, a message of a watch. It panics if the body
// cannot hold such a part.
func SetBody(m, part proto.Message) {
	r, p := m.ProtoReflect(), part.ProtoReflect()
	fields := bodyOf(r).Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Message() == p.Descriptor() {
			r.Set(fd, protoreflect.ValueOfMessage(p))
			return
		}
	}
	panic(fmt.Sprintf("a watch's message %s has no part %s", r.Descriptor().FullName(), p.Descriptor().FullName()))
}

// SetChange makes a change the body of m, with a position and an encoded event; an
// empty event means none. It panics if the body cannot hold a change.
func SetChange(m proto.Message, at *backplanev1.Position, event []byte) error {
	r := m.ProtoReflect()
	fields := bodyOf(r).Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		position := fd.Message().Fields().ByName("position")
		if position == nil {
			continue
		}
		c := r.Mutable(fd).Message()
		c.Set(position, protoreflect.ValueOfMessage(at.ProtoReflect()))
		if len(event) == 0 {
			return nil
		}
		e := c.Mutable(fd.Message().Fields().ByName("event")).Message().Interface()
		if err := proto.Unmarshal(event, e); err != nil {
			return fmt.Errorf("decode event: %w", err)
		}
		return nil
	}
	panic(fmt.Sprintf("a watch's message %s has no change", r.Descriptor().FullName()))
}

// bodyOf returns the oneof "body" of a watch's message.
func bodyOf(m protoreflect.Message) protoreflect.OneofDescriptor {
	fd := m.Descriptor().Oneofs().ByName("body")
	if fd == nil {
		panic(fmt.Sprintf("%s is no message of a watch", m.Descriptor().FullName()))
	}
	return fd
}

// positionOf returns the position of part, nil if it is not a change.
func positionOf(part proto.Message) *backplanev1.Position {
	if part == nil {
		return nil
	}
	r := part.ProtoReflect()
	fd := r.Descriptor().Fields().ByName("position")
	if fd == nil {
		return nil
	}
	at, _ := r.Get(fd).Message().Interface().(*backplanev1.Position)
	return at
}

// message returns m, which is a *Req or *Resp, as a proto.Message.
func message(m any) proto.Message { return m.(proto.Message) }
