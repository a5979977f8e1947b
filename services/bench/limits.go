package bench

import (
	"context"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// promise is what the plans of a measured gateway promise.
type promise string

// The promises.
const (
	none  promise = ""      // nothing is limited
	armed promise = "armed" // limits of all kinds, per connection, at the subscription, the application and the version, that nothing comes near
	tight promise = "tight" // the subscription has one message, and then waits for minutes
)

// plenty is more of anything than a measurement takes in a second.
const plenty = 1_000_000_000

// plans are the names of plans: that of the subscription, and that of the application and
// of the version, "" for none.
type plans struct{ subscription, wider string }

// make creates the plans that keep the promise.
func (p promise) make(ctx context.Context, catalog catalogv1.CatalogServiceClient) (made plans, err error) {
	if p == none {
		return plans{subscription: "plans/unlimited"}, nil
	}
	create := func(name string, limits []*catalogv1.Limit) string {
		if err != nil {
			return ""
		}
		var plan *catalogv1.Plan
		plan, err = catalog.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: name, Limits: limits}})
		return plan.GetName()
	}
	made.subscription = create("Bench", p.limits())
	if p == armed {
		made.wider = create("Bench, shared", shared())
	}
	return made, err
}

// limits are those of the subscription's plan. With armed they are those of two places: each
// connection's own, and the subscription's.
func (p promise) limits() []*catalogv1.Limit {
	if p == tight {
		return []*catalogv1.Limit{rate(&catalogv1.Rate{
			Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 6, Per: durationpb.New(time.Hour), Burst: 1,
			Direction: catalogv1.Direction_DIRECTION_FROM_CLIENT, LongestPause: durationpb.New(10 * time.Minute),
		})}
	}
	return append(rates(true), shared()...)
}

// shared are limits of each kind that the sessions of a place share.
func shared() []*catalogv1.Limit {
	return append(rates(false),
		rate(&catalogv1.Rate{Unit: catalogv1.Unit_UNIT_HANDSHAKES, Amount: plenty, Per: durationpb.New(time.Second)}),
		&catalogv1.Limit{Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
			Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: plenty * 1000, Window: catalogv1.Quota_WINDOW_DAY,
		}}},
		&catalogv1.Limit{Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 1_000_000}}},
		&catalogv1.Limit{Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 1 << 20}}},
		&catalogv1.Limit{Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(24 * time.Hour)}}},
	)
}

// rates are a rate of messages and one of bytes.
func rates(perConnection bool) (both []*catalogv1.Limit) {
	for _, unit := range []catalogv1.Unit{catalogv1.Unit_UNIT_MESSAGES, catalogv1.Unit_UNIT_BYTES} {
		both = append(both, rate(&catalogv1.Rate{Unit: unit, Amount: plenty, Per: durationpb.New(time.Second), PerConnection: perConnection}))
	}
	return both
}

func rate(r *catalogv1.Rate) *catalogv1.Limit {
	return &catalogv1.Limit{Kind: &catalogv1.Limit_Rate{Rate: r}}
}

// underLimits pauses sessions all at once, and prints the memory of each; then it pauses
// others, and prints how long a change of their plan takes to let the last one go on.
// tight returns what starts a number of gateways with a tight plan.
func (r *runner) underLimits(ctx context.Context, tight func(gateways int) starter, out io.Writer) error {
	all := shapes()
	s := all[len(all)-1]
	var memory float64
	err := r.onTight(ctx, s, tight, r.cfg.Paused, func(ctx context.Context, p *paused) (err error) {
		memory, err = p.memory(ctx, r.cfg.Settle)
		return err
	})
	if err != nil {
		return err
	}
	var change time.Duration
	err = r.onTight(ctx, s, tight, r.cfg.Changed, func(ctx context.Context, p *paused) (err error) {
		change, err = p.change(ctx)
		return err
	})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "Sessions that a limit holds, measured once; %s\n\n", s.title)
	printRow(w, "what", "")
	printRow(w, "---", "---")
	printRow(w, fmt.Sprintf("memory per paused session, %s", r.cfg.atOnce(r.cfg.Paused)), number("%.1f KiB", memory/1024))
	printRow(w, fmt.Sprintf("a change of a plan, until the last of %s has it", r.cfg.atOnce(r.cfg.Changed)), fmt.Sprintf("%d ms", change.Milliseconds()))
	fmt.Fprintln(w)
	return w.Flush()
}

// paused are sessions, each with a message that waits for the plan.
type paused struct {
	target  *target
	clients []*client
	payload int   // of each message
	empty   int64 // memory of the gateways before they came, in bytes
}

// gatewaysFor is how many gateways so many sessions need.
func (c *Config) gatewaysFor(sessions int) int { return (sessions-1)/c.perGateway + 1 }

// atOnce says how many sessions are measured, and at how many gateways if they are several.
func (c *Config) atOnce(sessions int) string {
	if n := c.gatewaysFor(sessions); n > 1 {
		return fmt.Sprintf("%d at once at %d gateways", sessions, n)
	}
	return fmt.Sprintf("%d at once", sessions)
}

// onTight has n sessions of gateways with a tight plan paused, and measures.
func (r *runner) onTight(ctx context.Context, s shape, tight func(gateways int) starter, n int, measure func(context.Context, *paused) error) error {
	r.log.Info("pause sessions", "count", n)
	t, stop, err := r.startOne(ctx, s, tight(r.cfg.gatewaysFor(n)))
	defer stop()
	if err != nil {
		return fmt.Errorf("start the gateways with a tight plan: %w", err)
	}
	p := &paused{target: t, payload: r.cfg.Payload}
	defer func() { drop(p.clients) }()
	gateways := t.gateways()
	for _, g := range gateways { // rates are of each gateway
		first, err := dial(ctx, g)
		if err != nil {
			return err
		}
		defer drop([]*client{first})
		if err := first.spend(); err != nil {
			return err
		}
	}
	if p.empty, err = rssOf(t.pids()); err != nil {
		return err
	}
	for i, g := range gateways {
		some, err := dialAll(ctx, g, n*(i+1)/len(gateways)-n*i/len(gateways))
		p.clients = append(p.clients, some...)
		if err != nil {
			return err
		}
	}
	message := frame(p.payload)
	for _, c := range p.clients {
		if _, err := c.conn.Write(message); err != nil {
			return err
		}
	}
	return measure(ctx, p)
}

// spend sends the one message that there is room for, and waits for its echo.
func (c *client) spend() error {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write(frame(1)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.r, make([]byte, answer(1))); err != nil {
		return fmt.Errorf("the first message of a tight plan was not echoed: %w", err)
	}
	return nil
}

// memory returns the memory of each session, in bytes.
func (p *paused) memory(ctx context.Context, settle time.Duration) (float64, error) {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	now, err := rssOf(p.target.pids())
	return float64(now-p.empty) / float64(len(p.clients)), err
}

// change returns how long it takes from the change of the plan until the last message
// that waited has come back.
func (p *paused) change(ctx context.Context) (time.Duration, error) {
	catConn, err := dialService(p.target.catalog)
	if err != nil {
		return 0, err
	}
	defer catConn.Close()
	subConn, err := dialService(p.target.signIn)
	if err != nil {
		return 0, err
	}
	defer subConn.Close()
	if ctx, err = signedIn(ctx, subConn, password); err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(p.clients))
	began := time.Now()
	_, err = catalogv1.NewCatalogServiceClient(catConn).UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{
		Plan:       &catalogv1.Plan{Name: p.target.plan, Limits: armed.limits()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"limits"}},
	})
	if err != nil {
		return 0, err
	}
	for _, c := range p.clients {
		wg.Go(func() {
			err := c.conn.SetDeadline(began.Add(time.Minute))
			if err == nil {
				_, err = io.ReadFull(c.r, make([]byte, answer(p.payload)))
			}
			if err != nil {
				errs <- fmt.Errorf("a session does not go on after the change of its plan: %w", err)
			}
		})
	}
	wg.Wait()
	close(errs)
	return time.Since(began), <-errs
}
