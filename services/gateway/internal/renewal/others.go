package renewal

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

const (
	// patience is how long another gateway has to answer.
	patience = time.Second
	// knownFor is how long it is remembered which gateways there are.
	knownFor = time.Second
)

// Others are the other gateways of the installation, as the subscription service knows them.
// It is safe for concurrent use.
type Others struct {
	self      string
	directory backplanev1.DirectoryServiceClient
	pool      *grpcclient.Pool

	mu    sync.Mutex
	known []other
	asked time.Time
}

// other is another gateway.
type other struct {
	name      string // gateways/{gateway}
	tag       ref.Tag
	connected bool
	live      backplanev1.LiveSessionServiceClient
}

// NewOthers returns the gateways, other than the instance self, that a directory knows.
func NewOthers(self string, directory grpc.ClientConnInterface, dial *grpcclient.Instances) *Others {
	return &Others{self: self, directory: backplanev1.NewDirectoryServiceClient(directory), pool: grpcclient.NewPool(dial)}
}

// Close closes the connections to them.
func (o *Others) Close() error { return o.pool.Close() }

// all returns the other gateways. The directory is asked once a second at most.
func (o *Others) all(ctx context.Context) ([]other, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.asked) < knownFor {
		return o.known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := o.directory.ListGateways(ctx, &backplanev1.ListGatewaysRequest{})
	if err != nil {
		return nil, err
	}
	var found []other
	var addresses []string
	for _, w := range resp.GetGateways() {
		if w.GetInstance() == o.self {
			continue
		}
		addresses = append(addresses, w.GetAddress())
		found = append(found, other{
			name: resourcename.Gateway{Gateway: w.GetInstance()}.String(), tag: ref.Tag(w.GetRefTag()), connected: w.GetConnected(),
		})
	}
	for i, conn := range o.pool.All(addresses) {
		found[i].live = backplanev1.NewLiveSessionServiceClient(conn)
	}
	o.known, o.asked = found, time.Now()
	return found, nil
}

// ask calls gateways at once, each for a second at most, and returns their answers in order.
func ask[R any](ctx context.Context, all []other, call func(ctx context.Context, o other, opts ...grpc.CallOption) (R, error)) (answers []R, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers, errs = make([]R, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, o := range all {
		wg.Go(func() { answers[i], errs[i] = call(ctx, o, grpc.WaitForReady(o.connected)) })
	}
	wg.Wait()
	return answers, errs
}
