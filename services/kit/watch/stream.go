package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// disorder is the error of a message that came out of order.
type disorder struct{ text string }

// Error says which message came.
func (e *disorder) Error() string { return e.text }

func disorderf(format string, a ...any) error {
	return &disorder{text: fmt.Sprintf(format, a...)}
}

var errSilent = errors.New("nothing heard for 6 s")

// stream follows one stream until it breaks, and returns why.
func (f *Follower[Req, Resp]) stream(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer f.set(func() { f.connected = false })
	silent := time.AfterFunc(Silence, func() { cancel(errSilent) })
	defer silent.Stop()
	err := f.follow(ctx, cancel, silent)
	if _, ok := errors.AsType[*disorder](err); ok {
		f.set(func() { f.broken++ })
	}
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}

// follow opens a stream and handles its messages. Every message resets silent,
// which is stopped while a message is handled.
func (f *Follower[Req, Resp]) follow(ctx context.Context, cancel context.CancelCauseFunc, silent *time.Timer) error {
	s, err := f.open(ctx)
	if err != nil {
		return fmt.Errorf("open watch: %w", err)
	}
	cursor := f.cursor()
	hello := proto.CloneOf(f.hello)
	hello.Cursor = cursor
	sendErr := say(s, hello)
	in := &inbox[Resp]{messages: make(chan *Resp), broken: make(chan struct{})}
	go func() {
		defer close(in.broken)
		in.err = receive(ctx, s, in.messages, silent)
	}()
	if sendErr != nil {
		err = in.reason(ctx, sendErr)
	} else {
		err = f.handle(ctx, s, &state[Resp]{resumed: cursor != ""}, in)
	}
	cancel(err)
	<-in.broken
	return err
}

// say sends a part of a request.
func say[Req, Resp any](s grpc.BidiStreamingClient[Req, Resp], part proto.Message) error {
	m := new(Req)
	SetBody(message(m), part)
	return s.Send(m)
}

// inbox is the receiving side of a stream.
type inbox[Resp any] struct {
	messages chan *Resp
	broken   chan struct{} // closed when nothing comes any more
	err      error         // why, once broken is closed
}

// reason returns why a Send failed: gRPC tells only Recv.
func (in *inbox[Resp]) reason(ctx context.Context, sendErr error) error {
	for {
		select {
		case <-in.messages:
		case <-in.broken:
			return in.err
		case <-ctx.Done():
			return fmt.Errorf("watch: send: %w", sendErr)
		}
	}
}

// cursor returns the cursor to resume from. It is empty when two streams in a row
// broke the order: then only a snapshot helps.
func (f *Follower[Req, Resp]) cursor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken > 1 {
		return ""
	}
	return f.at.Cursor
}

// receive passes messages on until the stream breaks.
func receive[Req, Resp any](ctx context.Context, s grpc.BidiStreamingClient[Req, Resp], messages chan<- *Resp, silent *time.Timer) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		silent.Stop()
		select {
		case messages <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
		silent.Reset(Silence)
	}
}

// state is the state of a stream.
type state[Resp any] struct {
	resumed  bool // hello had a cursor
	begun    bool
	snapshot bool // between Begin and SnapshotEnd
	why      backplanev1.Begin_Reset
	pieces   []*Resp
	ack      bool // there is something to acknowledge
}

// handle takes messages until the stream breaks. It acknowledges once no further
// message waits, so that one ack covers messages that came together.
func (f *Follower[Req, Resp]) handle(ctx context.Context, s grpc.BidiStreamingClient[Req, Resp], st *state[Resp], in *inbox[Resp]) error {
	for {
		var m *Resp
		select {
		case m = <-in.messages:
		default:
			if err := f.acknowledge(s, st); err != nil {
				return in.reason(ctx, err)
			}
			select {
			case m = <-in.messages:
			case <-in.broken:
				return in.err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := f.take(ctx, st, m); err != nil {
			return err
		}
	}
}

// acknowledge sends an ack if one is due.
func (f *Follower[Req, Resp]) acknowledge(s grpc.BidiStreamingClient[Req, Resp], st *state[Resp]) error {
	if !st.ack {
		return nil
	}
	f.mu.Lock()
	ack := f.pending
	ack.AppliedChangeNumber = f.at.Number
	f.mu.Unlock()
	if err := say(s, ack); err != nil {
		return err
	}
	f.set(func() { f.pending = &backplanev1.Ack{} })
	st.ack = false
	return nil
}

// take handles one message.
func (f *Follower[Req, Resp]) take(ctx context.Context, st *state[Resp], resp *Resp) error {
	f.set(func() { f.connected, f.heard = true, f.now() })
	part := Body(message(resp))
	b, isBegin := part.(*backplanev1.Begin)
	if isBegin {
		return f.begin(ctx, st, b)
	}
	if !st.begun {
		return disorderf("the watch did not start with begin")
	}
	switch part := part.(type) {
	case *backplanev1.Heartbeat:
		st.ack = !st.snapshot
		if st.ack {
			f.breaking.Note(ctx, nil)
		}
		return nil
	case *backplanev1.SnapshotEnd:
		return f.reset(ctx, st, At{Number: part.GetAsOfChangeNumber(), Cursor: part.GetCursor()})
	}
	if at := positionOf(part); at != nil {
		return f.apply(ctx, st, At{Number: at.GetChangeNumber(), Cursor: at.GetCursor()}, resp)
	}
	if !st.snapshot {
		return disorderf("a piece of a snapshot came outside of one")
	}
	st.pieces = append(st.pieces, resp)
	return nil
}

func (f *Follower[Req, Resp]) begin(ctx context.Context, st *state[Resp], b *backplanev1.Begin) error {
	if st.begun {
		return disorderf("the watch began twice")
	}
	st.begun = true
	st.why = b.GetReset_()
	st.snapshot = st.why != backplanev1.Begin_RESET_UNSPECIFIED
	if !st.snapshot && !st.resumed {
		return disorderf("the watch began without the snapshot that it needs")
	}
	if sink, ok := f.sink.(Beginner); ok {
		if err := sink.Begin(ctx, b); err != nil {
			return fmt.Errorf("begin the watch: %w", err)
		}
	}
	if st.snapshot {
		f.log.Info("watch begins with a snapshot", "reason", st.why.String())
		return nil
	}
	st.ack = true
	f.set(func() { f.ready = true })
	return nil
}

func (f *Follower[Req, Resp]) reset(ctx context.Context, st *state[Resp], at At) error {
	if !st.snapshot {
		return disorderf("a snapshot ended that had not begun")
	}
	r, err := f.sink.Reset(ctx, at, st.why, st.pieces)
	if err != nil {
		return fmt.Errorf("apply snapshot at %d: %w", at.Number, err)
	}
	st.snapshot, st.pieces, st.ack = false, nil, true
	f.move(at, r)
	f.breaking.Note(ctx, nil)
	return nil
}

func (f *Follower[Req, Resp]) apply(ctx context.Context, st *state[Resp], at At, resp *Resp) error {
	if st.snapshot {
		return disorderf("change %d came inside a snapshot", at.Number)
	}
	if want := f.Applied() + 1; at.Number != want {
		return disorderf("change %d came instead of %d", at.Number, want)
	}
	r, err := f.sink.Apply(ctx, at, resp)
	if err != nil {
		return fmt.Errorf("apply change %d: %w", at.Number, err)
	}
	st.ack = true
	f.move(at, r)
	f.breaking.Note(ctx, nil)
	return nil
}
