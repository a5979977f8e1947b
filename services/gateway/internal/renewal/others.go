package renewal

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// pause is how long the directory is left alone where that is not enough: whoever makes up
	// refs makes it answer so often and no more.
	pause = 100 * time.Millisecond
	// maxForwarded is how many renewals and lists may wait for other gateways at once: whoever
	// asks for a renewal has shown no credential yet, and a list calls every gateway.
	maxForwarded = 64
)

// Others are the other gateways of the installation, as the subscription service knows them.
// It is safe for concurrent use.
type Others struct {
	self      string
	directory backplanev1.DirectoryServiceClient
	pool      *grpcclient.Pool

	forwarded chan struct{} // holds a value for each request that waits for others

	asking chan struct{} // holds a value while what follows is in use
	known  []other
	began  time.Time // when the directory was asked last
	asked  time.Time // when that was over
	failed error     // what the directory said then; nil: it answered
}

// errTooMany says that no more may wait for others.
var errTooMany = errors.New("too many requests wait for other gateways")

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

// enter makes room for a request that other gateways are asked for, until leave is called; ok
// is false where there is none.
func (o *Others) enter() (leave func(), ok bool) {
	select {
	case o.forwarded <- struct{}{}:
		return func() { <-o.forwarded }, true
	default:
		return nil, false
	}
}

// all returns the other gateways as they were within the last second, or as the directory knew
// them last while it does not answer.
func (o *Others) all(ctx context.Context) ([]other, error) { return o.since(ctx, time.Time{}) }

// now returns them as they are now, with those that have just begun. All callers at one time
// share what the directory answers, which is asked every 100 ms at most.
func (o *Others) now(ctx context.Context) ([]other, error) { return o.since(ctx, time.Now()) }

// since returns them as the directory knows them when it is asked after a time.
func (o *Others) since(ctx context.Context, after time.Time) ([]other, error) {
	for {
		known, wait, err := o.read(ctx, after)
		if wait <= 0 {
			return known, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// read asks the directory if it must; wait is how long that has to wait.
func (o *Others) read(ctx context.Context, after time.Time) (known []other, wait time.Duration, err error) {
	select {
	case o.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	defer func() { <-o.asking }()
	switch age := time.Since(o.asked); {
	case age < knownFor && (o.failed != nil || o.began.After(after)):
	case age < pause:
		return nil, pause - age, nil
	default:
		o.began = time.Now()
		o.failed = o.ask(ctx)
		o.asked = time.Now()
	}
	if o.failed != nil && o.known == nil {
		return nil, 0, o.failed
	}
	return o.known, 0, nil
}

// holder returns the gateway that has the session with a ref, nil where none says so. Those that
// may have it are known by the tag; where it is no gateway's, or that of several, they are asked
// for the session before anything is sent that is secret. silent is why not all that may have it
// have answered, also where one has it; it is ErrNotFound where the tag is no gateway's.
func (o *Others) holder(ctx context.Context, name string, tag ref.Tag) (found *other, silent error) {
	mayHold := func(all []other) []other {
		return slices.DeleteFunc(slices.Clone(all), func(g other) bool { return tag != ref.NoTag && g.tag != tag })
	}
	all, err := o.all(ctx)
	if err == nil && len(mayHold(all)) == 0 && tag != ref.NoTag {
		all, err = o.now(ctx) // it may have connected a moment ago
	}
	if err != nil {
		return nil, err
	}
	may := mayHold(all)
	switch {
	case len(may) == 0 && tag != ref.NoTag:
		return nil, ErrNotFound
	case len(may) == 0:
		return nil, nil
	case len(may) == 1 && tag != ref.NoTag:
		return &may[0], nil
	}
	leave, ok := o.enter()
	if !ok {
		return nil, errTooMany
	}
	defer leave()
	answers, errs := ask(ctx, may, func(ctx context.Context, g other, opts ...grpc.CallOption) (*backplanev1.FindSessionResponse, error) {
		return g.live.FindSession(ctx, &backplanev1.FindSessionRequest{Ref: name}, opts...)
	})
	for i, err := range errs {
		if answers[i].GetFound() {
			found = &may[i]
		}
		if err != nil {
			silent = fmt.Errorf("%s: %w", may[i].name, err)
		}
	}
	return found, silent
}

// ask asks the directory. What it says is for all callers, so it does not matter that the one who
// asks gives up meanwhile.
func (o *Others) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
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
