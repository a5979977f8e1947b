package relay

import (
	"container/heap"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

const (
	// turnsAtOnce is how many legs of a line have their turn before other lines are served.
	turnsAtOnce = 64
	// leastRest is how long the pacer rests at least: what comes meanwhile is given out in
	// greater parts. It is well within limits.ServedWithin.
	leastRest = time.Millisecond
)

// pacer serves the lines of limits, each when its limit has room. Its goroutine exists
// while somebody waits.
type pacer struct {
	mu      sync.Mutex
	due     dueLines
	of      map[*limits.Limit]*dueLine
	wake    chan struct{} // there is something sooner, or nothing any more
	stopped chan struct{} // closed by the goroutine when it has left; nil: there is none
}

// dueLine is when a limit's line is to be served.
type dueLine struct {
	limit *limits.Limit
	at    int64
	index int // in dueLines
}

// dueLines is a heap.
type dueLines []*dueLine

func (d dueLines) Len() int           { return len(d) }
func (d dueLines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dueLines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

func (d *dueLines) Push(x any) {
	line := x.(*dueLine)
	line.index = len(*d)
	*d = append(*d, line)
}

func (d *dueLines) Pop() any {
	last := len(*d) - 1
	line := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return line
}

// pace has the line of l served at a time, or sooner.
func (p *pacer) pace(e *Engine, l *limits.Limit, at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.of[l]
	switch {
	case line == nil:
		if p.of == nil {
			p.of, p.wake = map[*limits.Limit]*dueLine{}, make(chan struct{}, 1)
		}
		line = &dueLine{limit: l, at: at}
		p.of[l] = line
		heap.Push(&p.due, line)
	case at < line.at:
		line.at = at
		heap.Fix(&p.due, line.index)
	default:
		return
	}
	if p.stopped == nil {
		p.stopped = make(chan struct{})
		go p.run(e, p.stopped)
	} else if line.index == 0 {
		p.rouse()
	}
}

// forget takes the line of l out, if nobody is in it any more.
func (p *pacer) forget(l *limits.Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if line := p.of[l]; line != nil && l.Waiting() == 0 {
		heap.Remove(&p.due, line.index)
		if delete(p.of, l); len(p.due) == 0 {
			p.rouse()
		}
	}
}

func (p *pacer) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// wait returns when the goroutine has left, if there is one.
func (p *pacer) wait() {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

// run is the pacer's goroutine.
func (p *pacer) run(e *Engine, stopped chan<- struct{}) {
	defer close(stopped)
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		now := e.now()
		l, at, more := p.next(now)
		switch {
		case !more:
			return
		case l == nil:
			rest.Reset(max(time.Duration(at-now), leastRest))
			select {
			case <-rest.C:
			case <-p.wake:
			}
		default:
			if at := serve(e, l); at != 0 {
				p.pace(e, l, at)
			}
		}
	}
}

// next takes out the line that is due, or returns when one will be. Without more there is
// none, and the goroutine leaves.
func (p *pacer) next(now int64) (l *limits.Limit, at int64, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		p.stopped = nil
		return nil, 0, false
	}
	if first := p.due[0]; first.at > now {
		return nil, first.at, true
	}
	line := heap.Pop(&p.due).(*dueLine)
	delete(p.of, line.limit)
	return line.limit, 0, true
}

// serve gives those in the line of l their turns and returns when to come again; 0: nobody
// waits.
func serve(e *Engine, l *limits.Limit) (at int64) {
	for range turnsAtOnce {
		w, at := l.Next(e.now())
		if w == nil {
			return at
		}
		w.Owner.(*leg).proceed()
	}
	return e.now()
}

// Serve has the line of a limit served that may have room now, as after a change of its
// rate or when its quota got a slice. It does not wait, and any goroutine may call it.
func (e *Engine) Serve(l *limits.Limit) {
	if l.Waiting() > 0 {
		e.pacer.pace(e, l, e.now())
	}
}

// Release empties the line of a limit that another one took the place of: all who wait in
// it ask the chain that their session has by now. It does not wait, and any goroutine may
// call it.
func (e *Engine) Release(l *limits.Limit) {
	for w := l.Release(); w != nil; w = l.Release() {
		w.Owner.(*leg).askAgain()
	}
	e.pacer.forget(l)
}

// askAgain has the leg's held bytes asked for again.
func (l *leg) askAgain() {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	if !l.relay.over {
		l.relay.engine.poller.Requeue(l)
	}
}
