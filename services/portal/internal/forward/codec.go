package forward

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that messages of the server's own go through
	"google.golang.org/grpc/mem"
)

// frame is an undecoded message.
type frame struct{ data []byte }

// codec passes frames unchanged, and encodes messages of the server's own services
// with protobuf's codec, whose name it has.
type codec struct{}

// Name returns "proto".
func (codec) Name() string { return "proto" }

// Marshal returns the bytes of a frame or a message.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
	}
	proto, err := protoCodec()
	if err != nil {
		return nil, err
	}
	return proto.Marshal(v)
}

// Unmarshal fills a frame or a message.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.data = data.Materialize()
		return nil
	}
	proto, err := protoCodec()
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, v)
}

func protoCodec() (encoding.CodecV2, error) {
	c := encoding.GetCodecV2("proto")
	if c == nil {
		return nil, fmt.Errorf("find the codec %q: none is registered", "proto")
	}
	return c, nil
}
