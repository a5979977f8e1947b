package change

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// batch is how many changes are read at a time.
const batch = 200

// Server serves the watches of one log over a service's own messages Req and Resp,
// which have the form that package watch describes.
type Server[Req, Resp any] struct {
	log      *Log
	snapshot Snapshot

	// GatewayAddresses are told to every watcher at the beginning; nil for none.
	GatewayAddresses []string
}

// Snapshot emits the service's state, as tx sees it, in pieces: parts of Resp, each
// under 1 MiB (Batch makes such groups). A nil Snapshot means an empty state. It
// may run more than once.
type Snapshot func(ctx context.Context, tx *sqldb.Tx, emit func(piece proto.Message)) error

// NewServer returns a server of the watches of a log.
func NewServer[Req, Resp any](log *Log, snapshot Snapshot) *Server[Req, Resp] {
	return &Server[Req, Resp]{log: log, snapshot: snapshot}
}

// ServerStream is the service's end of a watch. Generated streams implement it.
type ServerStream[Req, Resp any] interface {
	Context() context.Context
	Recv() (*Req, error)
	Send(*Resp) error
}

// Serve serves one watch until the watcher leaves or the log's Run ends.
func (s *Server[Req, Resp]) Serve(peer ServerStream[Req, Resp]) error {
	first, err := peer.Recv()
	if err != nil {
		return err
	}
	hello, ok := watch.Body(message(first)).(*backplanev1.Hello)
	if !ok {
		return fault.Invalid("hello", "must come first")
	}
	w := &stream[Req, Resp]{Server: s, peer: peer}
	done := s.log.countStream()
	defer done()
	return w.serve(peer.Context(), hello)
}

// countStream counts a stream that is served, until the function that it returns is
// called.
func (l *Log) countStream() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.streams--
	}
}

// stream is one watch that is served.
type stream[Req, Resp any] struct {
	*Server[Req, Resp]
	peer ServerStream[Req, Resp]
	sent atomic.Uint64
}

func (w *stream[Req, Resp]) serve(ctx context.Context, hello *backplanev1.Hello) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at, reset, err := w.log.resume(ctx, hello.GetCursor())
	if err != nil {
		return err
	}
	w.sent.Store(at.number)
	rec, err := w.log.newRecorder(ctx, hello, at.number)
	if err != nil {
		return err
	}
	acks := make(chan *backplanev1.Ack)
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		rec.run(ctx, acks)
	}()
	// Recv returns only when the stream ends, which is after this function has
	// returned; so nothing waits for the goroutine.
	go w.receive(ctx, cancel, acks)
	err = w.send(ctx, reset)
	cause := context.Cause(ctx)
	cancel(nil)
	<-recorded
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return nil
	}
	return cause
}

// receive passes on acknowledgements until the watcher leaves.
func (w *stream[Req, Resp]) receive(ctx context.Context, cancel context.CancelCauseFunc, acks chan<- *backplanev1.Ack) {
	for {
		m, err := w.peer.Recv()
		if errors.Is(err, io.EOF) {
			cancel(nil)
			return
		}
		if err != nil {
			cancel(err)
			return
		}
		ack, ok := watch.Body(message(m)).(*backplanev1.Ack)
		if !ok {
			cancel(fault.Invalid("hello", "must come once"))
			return
		}
		if n := w.sent.Load(); ack.GetAppliedChangeNumber() > n {
			cancel(fault.Invalid("ack.applied_change_number", "%d was not sent yet, the last was %d", ack.GetAppliedChangeNumber(), n))
			return
		}
		select {
		case acks <- ack:
		case <-ctx.Done():
			return
		}
	}
}

// send sends everything that the watcher needs, in order, until ctx ends.
func (w *stream[Req, Resp]) send(ctx context.Context, reset backplanev1.Begin_Reset) error {
	if err := w.say(&backplanev1.Begin{Reset_: reset, GatewayAddresses: w.GatewayAddresses}); err != nil {
		return err
	}
	beat := time.NewTicker(watch.Heartbeat)
	defer beat.Stop()
	if reset != backplanev1.Begin_RESET_UNSPECIFIED {
		if err := w.snapshot(ctx, beat); err != nil || ctx.Err() != nil {
			return err
		}
	}
	if err := w.readHead(ctx); err != nil {
		return err
	}
	for {
		head, newer := w.log.newest()
		if w.sent.Load() < head {
			if err := w.changes(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-newer:
		case <-beat.C:
			// Without the database, end the watch: a mere heartbeat would say that
			// nothing is new, and another replica may be able to serve the watcher.
			if err := w.readHead(ctx); err != nil {
				return err
			}
			if err := w.beat(head); err != nil {
				return err
			}
		case <-w.log.stopped:
			return fault.Wrap(fault.Unavailable("the service is stopping"), errStopped)
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *stream[Req, Resp]) beat(head uint64) error {
	return w.say(&backplanev1.Heartbeat{HeadChangeNumber: max(head, w.sent.Load()), Time: timestamppb.New(w.log.now())})
}

// say sends part as a response.
func (w *stream[Req, Resp]) say(part proto.Message) error { return w.peer.Send(wrap[Resp](part)) }

// wrap returns a response whose body is part.
func wrap[Resp any](part proto.Message) *Resp {
	m := new(Resp)
	watch.SetBody(message(m), part)
	return m
}

// message returns m, which is a *Req or *Resp, as a proto.Message.
func message(m any) proto.Message { return m.(proto.Message) }

// pieces is a snapshot that was read, or the error of reading it.
type pieces[Resp any] struct {
	all []*Resp
	at  cursor
	err error
}

// snapshot reads the state and sends it, with heartbeats while it reads.
func (w *stream[Req, Resp]) snapshot(ctx context.Context, beat *time.Ticker) error {
	read := make(chan pieces[Resp], 1)
	go func() { read <- w.read(ctx) }()
	var got pieces[Resp]
	for waiting := true; waiting; {
		select {
		case got = <-read:
			waiting = false
		case <-beat.C:
			if err := w.beat(0); err != nil {
				<-read
				return err
			}
		}
	}
	if got.err != nil {
		return got.err
	}
	for _, piece := range got.all {
		if err := w.peer.Send(piece); err != nil {
			return err
		}
	}
	w.sent.Store(got.at.number)
	return w.say(&backplanev1.SnapshotEnd{AsOfChangeNumber: got.at.number, Cursor: got.at.String()})
}

// readHead reads whether other replicas have made changes.
func (w *stream[Req, Resp]) readHead(ctx context.Context) error {
	if err := w.log.readHead(ctx); err != nil {
		return fault.Wrap(fault.Unavailable("the changes cannot be read now"), err)
	}
	return nil
}

// read reads the state and the number of the newest change in it.
func (w *stream[Req, Resp]) read(ctx context.Context) pieces[Resp] {
	var p pieces[Resp]
	epoch, err := w.log.epochOf(ctx)
	if err != nil {
		return pieces[Resp]{err: err}
	}
	p.err = w.log.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		p.all, p.at = nil, cursor{epoch: epoch}
		var err error
		if p.at.number, err = Head(ctx, tx); err != nil {
			return err
		}
		if p.at.timeUS, err = timeOf(ctx, tx, p.at.number); err != nil {
			return err
		}
		if w.Server.snapshot == nil {
			return nil
		}
		return w.Server.snapshot(ctx, tx, func(piece proto.Message) { p.all = append(p.all, wrap[Resp](piece)) })
	})
	if p.err != nil {
		p.err = fmt.Errorf("read snapshot: %w", p.err)
	}
	return p
}

// stored is a change as it is kept.
type stored struct {
	number uint64
	timeUS int64
	events []byte
}

// changes reads and sends the next changes.
func (w *stream[Req, Resp]) changes(ctx context.Context) error {
	epoch, err := w.log.epochOf(ctx)
	if err != nil {
		return err
	}
	next, err := w.log.after(ctx, w.sent.Load())
	if err != nil {
		return err
	}
	if len(next) == 0 {
		return fmt.Errorf("changes after %d are missing", w.sent.Load())
	}
	for _, c := range next {
		if want := w.sent.Load() + 1; c.number != want {
			return fmt.Errorf("change %d is missing", want)
		}
		resp := new(Resp)
		err := watch.SetChange(message(resp), &backplanev1.Position{
			ChangeNumber: c.number,
			Cursor:       cursor{epoch: epoch, number: c.number, timeUS: c.timeUS}.String(),
			CreateTime:   timestamppb.New(time.UnixMicro(c.timeUS)),
		}, c.events)
		if err != nil {
			return fmt.Errorf("read change %d: %w", c.number, err)
		}
		w.sent.Store(c.number)
		if err := w.peer.Send(resp); err != nil {
			return err
		}
	}
	return nil
}

// after reads up to batch changes that follow a number.
func (l *Log) after(ctx context.Context, number uint64) ([]stored, error) {
	rows, err := l.db.QueryContext(ctx, `
		SELECT number, time_us, events FROM change
		WHERE number > $1 ORDER BY number LIMIT $2`, int64(number), int64(batch))
	if err != nil {
		return nil, fmt.Errorf("read changes after %d: %w", number, err)
	}
	defer rows.Close()
	var all []stored
	for rows.Next() {
		var c stored
		var n int64
		if err := rows.Scan(&n, &c.timeUS, &c.events); err != nil {
			return nil, fmt.Errorf("read changes after %d: %w", number, err)
		}
		c.number = uint64(n)
		if c.events, err = l.opened(c.number, c.events); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read changes after %d: %w", number, err)
	}
	return all, nil
}
