package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// feed is the watch of a service that keeps its changes in memory.
type feed[Resp any] struct {
	mu      sync.Mutex
	epoch   int
	head    uint64
	changes map[uint64]*Resp
	news    chan struct{} // closed and replaced at every change
	cut     chan struct{} // closed and replaced by restart
	acks    int           // that watchers have sent
}

// watchMessages wraps the messages of a watch.
type watchMessages[Resp any] struct {
	begin    func(*backplanev1.Begin) *Resp
	end      func(*backplanev1.SnapshotEnd) *Resp
	beat     func(*backplanev1.Heartbeat) *Resp
	snapshot func() *Resp // nil: empty
}

func (f *feed[Resp]) begin() {
	f.changes, f.news, f.cut = map[uint64]*Resp{}, make(chan struct{}), make(chan struct{})
}

func (f *feed[Resp]) number() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// acked returns how many acks have come: each says that what was sent before it
// has been applied.
func (f *feed[Resp]) acked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acks
}

func (f *feed[Resp]) cursor(n uint64) string { return fmt.Sprintf("%d:%d", f.epoch, n) }

// commit makes a change and tells it.
func (f *feed[Resp]) commit(make1 func(at *backplanev1.Position) *Resp) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head++
	f.changes[f.head] = make1(&backplanev1.Position{ChangeNumber: f.head, Cursor: f.cursor(f.head)})
	close(f.news)
	f.news = make(chan struct{})
}

// restart begins another history and cuts all watchers, who have to begin anew.
func (f *feed[Resp]) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	f.head, f.changes = f.head/2, map[uint64]*Resp{}
	close(f.cut)
	f.cut = make(chan struct{})
}

// serve serves one watcher.
func (f *feed[Resp]) serve(ctx context.Context, hello *backplanev1.Hello, send func(*Resp) error, recv func() error, m watchMessages[Resp]) error {
	go func() {
		for recv() == nil {
			f.mu.Lock()
			f.acks++
			f.mu.Unlock()
		}
	}()
	f.mu.Lock()
	cut := f.cut
	var at uint64
	var epoch int
	_, err := fmt.Sscanf(hello.GetCursor(), "%d:%d", &epoch, &at)
	resume := err == nil && epoch == f.epoch && at <= f.head
	if !resume {
		at = f.head
	}
	cursor := f.cursor(at)
	f.mu.Unlock()
	first := []*Resp{m.begin(&backplanev1.Begin{})}
	if !resume {
		first = []*Resp{m.begin(&backplanev1.Begin{Reset_: backplanev1.Begin_RESET_EPOCH})}
		if m.snapshot != nil {
			first = append(first, m.snapshot())
		}
		first = append(first, m.end(&backplanev1.SnapshotEnd{AsOfChangeNumber: at, Cursor: cursor}))
	}
	for _, r := range first {
		if err := send(r); err != nil {
			return err
		}
	}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		f.mu.Lock()
		next, news := f.changes[at+1], f.news
		f.mu.Unlock()
		if next != nil {
			at++
			if err := send(next); err != nil {
				return err
			}
			continue
		}
		select {
		case <-news:
		case <-beat.C:
			if err := send(m.beat(&backplanev1.Heartbeat{HeadChangeNumber: at})); err != nil {
				return err
			}
		case <-cut:
			return fmt.Errorf("cut")
		case <-ctx.Done():
			return nil
		}
	}
}
