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
	// knownFor is how long it is remembered which gateways there are, and that the directory
	// did not answer.
	knownFor = time.Second
	// maxForwarded is how many renewals may wait for other gateways at once: whoever asks for
	// one has shown no credential yet.
	maxForwarded = 64
)

// Others are the other gateways of the installation, as the subscription service knows them.
// It is safe for concurrent use.
type Others struct {
	self      string
	directory backplanev1.DirectoryServiceClient
	pool      *grpcclient.Pool

	forwarded chan struct{} // holds a value for each renewal that waits for others

	asking chan struct{} // holds a value while what follows is in use
	known  []other
	asked  time.Time
	failed error // what the directory said then; nil: it answered
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
	return &Others{self: self, directory: backplanev1.NewDirectoryServiceClient(directory), pool: grpcclient.NewPool(dial),
		forwarded: make(chan struct{}, maxForwarded), asking: make(chan struct{}, 1)}
}

// Close closes the connections to them.
func (o *Others) Close() error { return o.pool.Close() }

// enter makes room for a renewal that other gateways are asked for, until leave is called; ok
// is false where there is none.
func (o *Others) enter() (leave func(), ok bool) {
	select {
	case o.forwarded <- struct{}{}:
		return func() { <-o.forwarded }, true
	default:
		return nil, false
	}
}

// all returns the other gateways. The directory is asked once a second at most; while it does
// not answer, they are those that it knew last.
func (o *Others) all(ctx context.Context) ([]other, error) {
	select {
	case o.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-o.asking }()
	if time.Since(o.asked) >= knownFor {
		o.failed = o.ask(ctx)
		o.asked = time.Now()
	}
	if o.failed != nil && o.known == nil {
		return nil, o.failed
	}
	return o.known, nil
}

// ask asks the directory.
func (o *Others) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := o.directory.ListGateways(ctx, &backplanev1.ListGatewaysRequest{})
	if err != nil {
		return err
	}
	found := []other{}
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
	o.known = found
	return nil
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
