package securityevents_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/securityevents"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// database is a table that can be away.
type database struct {
	mu    sync.Mutex
	away  bool
	rows  map[string]string // what it was done to, by id
	calls int
}

func (d *database) set(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

// state returns how many rows there are, and how many calls there were.
func (d *database) state() (rows, calls int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows), d.calls
}

func (d *database) write(_ context.Context, events []store.SecurityEvent) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if len(events) == 0 || len(events) > 200 {
		return fmt.Errorf("%d events at once", len(events))
	}
	if d.away {
		return errors.New("away")
	}
	for _, e := range events {
		d.rows[e.ID] = e.What
	}
	return nil
}

func line(n int) securitylog.Line {
	return securitylog.Line{Event: securitylog.Event{Kind: securitylog.Denied, What: fmt.Sprint(n)}}
}

// Lines are written as they come. While the database is away they wait, and Add does not;
// those beyond the bound are counted in the log.
func TestLinesOutliveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &database{rows: map[string]string{}}
		k := securityevents.New(d.write, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		k.Add(line(0))
		synctest.Wait()
		if n, _ := d.state(); n != 1 {
			t.Fatalf("%d rows, want the one that was added", n)
		}
		d.set(true)
		for n := range 5000 {
			k.Add(line(n))
		}
		time.Sleep(time.Minute)
		if _, calls := d.state(); calls > 30 {
			t.Errorf("%d attempts in a minute, want pauses between them", calls)
		}
		d.set(false)
		time.Sleep(5 * time.Second)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n, _ := d.state()
		if n < 4096 || n > 4300 {
			t.Errorf("%d rows after the outage, want as many as wait at most", n)
		}
		if want := fmt.Sprintf("count=%d", 5001-n); !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "works again") {
			t.Errorf("log does not say %s, or that it works again:\n%s", want, log.String())
		}
	})
}

// What waits when the service stops is written then, also what an attempt has taken.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{rows: map[string]string{}, away: true}
		k := securityevents.New(d.write, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		k.Add(line(0))
		time.Sleep(time.Second)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for n := range 500 {
			k.Add(line(n + 1))
		}
		if err := k.Flush(ctx); err == nil {
			t.Error("Flush while the database is away = nil")
		}
		d.set(false)
		err := k.Flush(ctx)
		if n, _ := d.state(); err != nil || n != 501 {
			t.Errorf("Flush = %v with %d rows, want 501", err, n)
		}
	})
}
