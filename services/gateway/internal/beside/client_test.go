package beside

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLeastRate has a client send its body in parts, with a pause before each: it is cut once
// it was waited for longer than a stall and what it sent is too little for that, and not for
// what the reader takes its time for.
func TestLeastRate(t *testing.T) {
	for name, tt := range map[string]struct {
		part          int
		before, after time.Duration // of sending, of the next read
		cut           time.Duration // 0: it is not, within an hour
	}{
		"a byte before each stall time":       {1, 29 * time.Second, 0, 30*time.Second + 2*time.Millisecond},
		"a byte a second":                     {1, time.Second, 0, 30*time.Second + 60*time.Millisecond},
		"less than the least rate":            {400, time.Second, 0, 150 * time.Second},
		"more than the least rate":            {600, time.Second, 0, 0},
		"much, and then a pause":              {1 << 20, 31 * time.Second, 0, 30 * time.Second},
		"much, with pauses":                   {20000, 29 * time.Second, 0, 0},
		"little, to one who takes it slowly":  {1, 0, time.Minute, 0},
		"enough, to one who takes it slowly":  {600, time.Second, time.Minute, 0},
		"too little, to one who takes little": {400, 2 * time.Second, time.Second, 300 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				var sender sync.WaitGroup
				sender.Go(func() {
					for {
						time.Sleep(tt.before)
						if _, err := theirs.Write(make([]byte, tt.part)); err != nil {
							return
						}
					}
				})
				c := &client{Conn: ours, stall: 30 * time.Second}
				defer func() {
					_, _ = ours.Close(), theirs.Close()
					sender.Wait()
				}()
				began := time.Now()
				for time.Since(began) < time.Hour {
					_, err := io.ReadFull(c, make([]byte, tt.part))
					if took := time.Since(began); err != nil {
						if !errors.Is(err, os.ErrDeadlineExceeded) || tt.cut == 0 || took < tt.cut*9/10 || took > tt.cut*11/10 {
							t.Fatalf("after %v: %v, want a cut after %v (0: none)", took, err, tt.cut)
						}
						return
					}
					time.Sleep(tt.after)
				}
				if tt.cut != 0 {
					t.Fatalf("the client was not cut within an hour, want that after %v", tt.cut)
				}
			})
		})
	}
}
