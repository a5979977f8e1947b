package watch

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

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

// EncodeEvents returns the events of a change, each of another type, as they are
// stored for SetChange.
func EncodeEvents(events ...proto.Message) ([]byte, error) {
	all := &backplanev1.Events{}
	for _, event := range events {
		packed, err := anypb.New(event)
		if err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		all.Events = append(all.Events, packed)
	}
	return proto.Marshal(all)
}

// SetChange makes a change the body of m, with a position and, of what EncodeEvents
// returned, the event of the type that m takes, if there is one. It panics if the
// body cannot hold a change.
func SetChange(m proto.Message, at *backplanev1.Position, events []byte) error {
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
		slot := fd.Message().Fields().ByName("event")
		event := c.NewField(slot).Message()
		found, err := DecodeEvent(events, event.Interface())
		if found {
			c.Set(slot, protoreflect.ValueOfMessage(event))
		}
		return err
	}
	panic(fmt.Sprintf("a watch's message %s has no change", r.Descriptor().FullName()))
}

// DecodeEvent reads the event of into's type from what EncodeEvents returned, and
// reports whether there is one.
func DecodeEvent(events []byte, into proto.Message) (found bool, err error) {
	stored := &backplanev1.Events{}
	if err := proto.Unmarshal(events, stored); err != nil {
		return false, fmt.Errorf("decode events: %w", err)
	}
	for _, event := range stored.GetEvents() {
		if event.MessageIs(into) {
			return true, event.UnmarshalTo(into)
		}
	}
	return false, nil
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
