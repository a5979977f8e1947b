package renewal

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
)

// directory answers, or hangs until its caller gives up.
type directory struct {
	backplanev1.DirectoryServiceClient
	hangs bool
	asked int
}

func (d *directory) ListGateways(ctx context.Context, _ *backplanev1.ListGatewaysRequest, _ ...grpc.CallOption) (*backplanev1.ListGatewaysResponse, error) {
	d.asked++
	if d.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &backplanev1.ListGatewaysResponse{}, nil
}

func newOthers(d *directory) *Others {
	dial := grpcclient.OfService("gateway")
	o := NewOthers("gateway-1", nil, &dial)
	o.directory = d
	return o
}

// TestDirectoryHangs: while the directory hangs, one in a second waits for it, each no longer
// than its own deadline, and what was known before is gone on with.
func TestDirectoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{hangs: true}
		o := newOthers(d)
		began := time.Now()
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		first := make(chan error, 1)
		go func() {
			_, err := o.all(t.Context())
			first <- err
		}()
		synctest.Wait()
		if _, err := o.all(impatient); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("behind another = %v after %v, want that its own deadline is over after 100ms", err, time.Since(began))
		}
		if err := <-first; err == nil || time.Since(began) != patience {
			t.Errorf("the first = %v after %v, want an error after %v", err, time.Since(began), patience)
		}
		if _, err := o.all(t.Context()); err == nil || time.Since(began) != patience || d.asked != 1 {
			t.Errorf("right after it = %v after %v, asked %d times, want the error at once", err, time.Since(began), d.asked)
		}
		time.Sleep(knownFor)
		d.hangs = false
		if got, err := o.all(t.Context()); err != nil || got == nil {
			t.Errorf("once it answers = %v, %v", got, err)
		}
		time.Sleep(knownFor)
		d.hangs = true
		if _, err := o.all(t.Context()); err != nil {
			t.Errorf("when it hangs again = %v, want what was known", err)
		}
	})
}

// TestForwardedRenewalsAreBounded: no more than so many wait for other gateways.
func TestForwardedRenewalsAreBounded(t *testing.T) {
	o := newOthers(&directory{})
	var leave func()
	for range maxForwarded {
		var ok bool
		if leave, ok = o.enter(); !ok {
			t.Fatal("no room before the bound")
		}
	}
	if _, ok := o.enter(); ok {
		t.Error("room behind the bound")
	}
	leave()
	if _, ok := o.enter(); !ok {
		t.Error("no room after one has left")
	}
}
