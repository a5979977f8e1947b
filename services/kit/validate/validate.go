// Package validate checks requests against the rules in the protos, and that no
// text has a NUL. It is not part of grpcserver because the rules' engine is large
// and the gateway does not need it. Handlers check what a proto cannot express.
package validate

import (
	"context"
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
)

// Option makes a server check every message that it receives. The violations of a
// message are answered with one INVALID_ARGUMENT that has the path of each field and
// what would be right. What the rules mean is worked out once per kind of message and
// program, when the first of it comes.
func Option() grpcserver.Option { return grpcserver.WithInterceptors(unary, stream) }

// Message checks one message; its error is a fault.
func Message(m proto.Message) error { return check(m) }

func unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := check(req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, checked{ss})
}

// checked is a stream whose messages are checked.
type checked struct{ grpc.ServerStream }

// RecvMsg receives and checks the next message.
func (c checked) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return check(m)
}

func check(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	if all := nuls(msg.ProtoReflect(), ""); len(all) > 0 {
		return fault.InvalidAll(all[:min(len(all), maxViolations)]...)
	}
	err := protovalidate.Validate(msg)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("validate %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
	}
	var all []fault.Violation
	for _, violation := range invalid.Violations[:min(len(invalid.Violations), maxViolations)] {
		all = append(all, fault.Violation{
			Field:   protovalidate.FieldPathString(violation.Proto.GetField()),
			Message: message(violation),
		})
	}
	return fault.InvalidAll(all...)
}

// maxViolations is how many violations are reported. All violations of a long list
// might not fit into the answer's header.
const maxViolations = 20

// message says what would be right, also when the engine's own text does not.
func message(v *protovalidate.Violation) string {
	switch v.Proto.GetRuleId() {
	case "required", "enum.not_in":
		return "is required"
	case "enum.defined_only":
		return "is not one of the defined values"
	case "repeated.unique":
		return "must not have the same value twice"
	}
	return v.Proto.GetMessage()
}
