package processes

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// soon bounds waits for what is promised within about a second, on a busy machine. It is
// less than the 10 s after which slices go back by themselves.
const soon = 8 * time.Second

// answered bounds waits for what becomes of a message, on a busy machine: no decision waits
// longer than a second, nor for a call, which may take 5.
const answered = 4 * time.Second

// quotas is a fleet with two gateways and a version whose backend counts what it gets.
type quotas struct {
	*world
	ctx    context.Context // with the administrator's token
	window catalogv1.Quota_Window
	db     *sqldb.DB
	peers  sync.Map // the first word of messages → *peer
}

// TestQuotas holds quotas at two gateways, which are stopped, killed and started again, as
// the subscription service is, on both engines. Sessions that a rate pauses all the time lose
// nothing meanwhile, and are counted once.
func TestQuotas(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			q := newQuotas(startFleet(t, engine, local()))
			steady := q.holder("steady", paced(400))
			talkers, stop := steady.talk(2, "gateway2")
			q.restarts()
			q.shared()
			q.changes()
			q.away()
			q.killed()
			q.progress(talkers)
			sent, err := stop()
			must(t, err)
			steady.wantUsage(sent)
		})
	}
}

func newQuotas(f *fleet) *quotas {
	f.t.Helper()
	f.start("gateway2")
	f.ready("gateway2")
	q := &quotas{world: &world{fleet: f, conn: f.dial("portal:9090", "")}, window: lasting(time.Now())}
	user, _ := metadata.FromOutgoingContext(q.signedIn())
	q.ctx = metadata.NewOutgoingContext(f.t.Context(), user)
	q.db = testdb.Open(f.t, f.db["subscription"])
	q.publish(q.ctx, echoBackend(f.t, q.took), &catalogv1.Version{
		Plans: []string{unlimited}, ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_WSO2},
	})
	return q
}

// lasting returns a window that does not end while the test runs: a month, or a week where
// the month ends now.
func lasting(now time.Time) catalogv1.Quota_Window {
	if calendar.At(catalogv1.Quota_WINDOW_MONTH, now).End.Sub(now) < 5*time.Minute {
		return catalogv1.Quota_WINDOW_WEEK
	}
	return catalogv1.Quota_WINDOW_MONTH
}

// took counts a message that came to the backend for the peer that sent it.
func (q *quotas) took(message string) {
	word, _, _ := strings.Cut(message, " ")
	if p, ok := q.peers.Load(word); ok {
		p.(*peer).through.Add(1)
	}
}

// messages is a limit of messages in the window, which is dropped beyond.
func (q *quotas) messages(amount int64, outage catalogv1.Quota_Outage) *catalogv1.Limit {
	return &catalogv1.Limit{Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Quota{
		Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: amount, Window: q.window, OnOutage: outage},
	}}
}

// paced is a limit of messages a second that pauses whoever sends more.
func paced(rate int64) *catalogv1.Limit {
	return &catalogv1.Limit{Kind: &catalogv1.Limit_Rate{
		Rate: &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: rate, Per: durationpb.New(time.Second), Burst: 20},
	}}
}

// Nothing passes that the service does not know of, however slow a machine makes it.
const refuse = catalogv1.Quota_OUTAGE_REFUSE

// holder is an application that is subscribed under a plan of its own.
type holder struct {
	*world  // with the application's subscription
	q       *quotas
	tag     string
	bearer  string
	plan    string
	peers   []*peer
	dropped atomic.Int64
}

// holder makes an application under a plan with limits; without any under one that bounds
// nothing.
func (q *quotas) holder(name string, limits ...*catalogv1.Limit) *holder {
	q.t.Helper()
	of := *q.world
	h := &holder{world: &of, q: q, tag: name, plan: unlimited}
	h.subscribe(q.ctx, name, unlimited)
	if len(limits) > 0 {
		h.move(q.makePlan(name, limits...))
	}
	h.bearer = h.token()
	return h
}

func (q *quotas) makePlan(name string, limits ...*catalogv1.Limit) string {
	q.t.Helper()
	plan, err := catalogv1.NewCatalogServiceClient(q.conn).CreatePlan(q.ctx, &catalogv1.CreatePlanRequest{
		Plan: &catalogv1.Plan{DisplayName: name, Limits: limits},
	})
	must(q.t, err)
	return plan.GetName()
}

// move moves the subscription to a plan, and waits until gateways know.
func (h *holder) move(plan string) {
	h.t.Helper()
	var header metadata.MD
	_, err := subscriptionv1.NewSubscriptionServiceClient(h.conn).UpdateSubscription(h.q.ctx, &subscriptionv1.UpdateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Name: h.sub, Plan: plan}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
	}, grpc.Header(&header))
	must(h.t, err)
	h.applied(h.q.ctx, header)
	h.plan = plan
}

// passed is how many messages came through: to the backend, and back.
func (h *holder) passed() (n int64) {
	for _, p := range h.peers {
		n += p.passed()
	}
	return n
}

// peer is a client that sends one message after the other.
type peer struct {
	*holder
	word    string // which its messages begin with
	gateway string
	conn    *websocket.Conn
	through atomic.Int64 // messages that came to the backend
	back    atomic.Int64 // their echoes
}

func (p *peer) passed() int64 { return p.through.Load() + p.back.Load() }

// at opens a session at a gateway.
func (h *holder) at(gateway string) *peer {
	h.t.Helper()
	conn, err := h.connectTo(gateway, h.bearer, false)
	must(h.t, err)
	p := &peer{holder: h, word: fmt.Sprintf("%s%d@%s", h.tag, len(h.peers), gateway), gateway: gateway, conn: conn}
	h.peers = append(h.peers, p)
	h.q.peers.Store(p.word, p)
	return p
}

// try sends a message, and tells whether it came back, and not the error that it, or its
// echo, was dropped.
func (p *peer) try() (passed bool, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), answered)
	defer cancel()
	text := p.word + " hello"
	if err := p.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return false, err
	}
	switch _, got, err := p.conn.Read(ctx); {
	case err != nil:
		return false, err
	case string(got) == text:
		p.back.Add(1)
		return true, nil
	case string(got) == "Error code: 4003 reason: Websocket frame throttled out":
		p.dropped.Add(1)
		return false, nil
	default:
		return false, fmt.Errorf("%q came back as %q", text, got)
	}
}

// passes sends a message and tells whether it came back.
func (p *peer) passes() bool {
	p.t.Helper()
	passed, err := p.try()
	if err != nil {
		p.t.Fatalf("%s: %v", p.word, err)
	}
	return passed
}

// echoes sends messages until n came back: one may be dropped because the machine is slow.
func (p *peer) echoes(n int64) {
	p.t.Helper()
	n += p.back.Load()
	p.within(soon, "messages of "+p.word+" come back", func() error {
		for p.back.Load() < n {
			if !p.passes() {
				return fmt.Errorf("%d did, want %d", p.back.Load(), n)
			}
		}
		return nil
	})
}

// flood has peers send at once, each until a message is dropped or its session has ended.
func flood(peers ...*peer) (wait func()) {
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() {
			for passed, err := true, error(nil); passed && err == nil; passed, err = p.try() {
			}
		})
	}
	return all.Wait
}

// uses up: peers send until exactly n messages of the holder have passed in all, and then no
// more do.
func (h *holder) usesUp(n int64, peers ...*peer) {
	h.t.Helper()
	h.within(soon, fmt.Sprintf("%d messages of %s have passed", n, h.tag), func() error {
		for _, p := range peers {
			for more := true; more && h.passed() < n; {
				more = p.passes()
			}
		}
		if got := h.passed(); got < n {
			return fmt.Errorf("%d have", got)
		}
		return nil
	})
	for _, p := range peers {
		for range 3 {
			p.passes()
		}
	}
	if got := h.passed(); got != n {
		h.t.Fatalf("%d messages of %s have passed, want %d\n%s", got, h.tag, n, h.ledger())
	}
}

// use returns the holder's quota.
func (h *holder) use() (*usagev1.QuotaUse, error) {
	list, err := usagev1.NewQuotaServiceClient(h.conn).ListQuotaUses(h.q.ctx, &usagev1.ListQuotaUsesRequest{Filter: fmt.Sprintf("application = %q", h.app)})
	if err != nil {
		return nil, err
	}
	if n := len(list.GetQuotaUses()); n != 1 {
		return nil, fmt.Errorf("%s has %d quotas, want 1", h.tag, n)
	}
	return list.GetQuotaUses()[0], nil
}

// wantUsed waits until a number is used of the quota, and returns it.
func (h *holder) wantUsed(n int64) (use *usagev1.QuotaUse) {
	h.t.Helper()
	h.within(soon, fmt.Sprintf("%d are used of the quota of %s", n, h.tag), func() (err error) {
		if use, err = h.use(); err == nil && use.GetUsed() != n {
			err = fmt.Errorf("%d are", use.GetUsed())
		}
		return err
	})
	return use
}

// wantSums waits until usage by minutes, hours and days says what has passed.
func (h *holder) wantSums() {
	h.t.Helper()
	h.within(soon, "usage is what passed of "+h.tag, func() error {
		in, out, err := h.usage(h.q.ctx)
		if err == nil && int64(in+out) != h.passed() {
			err = fmt.Errorf("it is %d, and %d passed", in+out, h.passed())
		}
		return err
	})
}

// wantEvents checks that the quota came to 80 and to 100 % once each.
func (h *holder) wantEvents() {
	h.t.Helper()
	list, err := usagev1.NewQuotaServiceClient(h.conn).ListQuotaEvents(h.q.ctx, &usagev1.ListQuotaEventsRequest{Filter: fmt.Sprintf("application = %q", h.app)})
	must(h.t, err)
	var got []int32
	for _, e := range list.GetQuotaEvents() {
		got = append(got, e.GetPercent())
	}
	slices.Sort(got)
	if !slices.Equal(got, []int32{80, 100}) {
		h.t.Errorf("%s has events at %d %%, want one at 80 and one at 100", h.tag, got)
	}
}

// granted is what an instance was given of the holder's quota over all its starts, in the
// present window.
func (h *holder) granted(instance string) int64 {
	h.t.Helper()
	n, _, err := sqldb.One(h.t.Context(), h.q.db, func(row sqldb.Row) (n int64, err error) {
		err = row.Scan(&n)
		return n, err
	}, `SELECT CAST(COALESCE(SUM(s.granted), 0) AS BIGINT) FROM quota_slice s JOIN quota_window w ON w.id = s.id AND w.start_at = s.start_at
		WHERE w.application = $1 AND s.gateway = $2 AND w.start_at = $3`,
		strings.TrimPrefix(h.app, "applications/"), instance, calendar.At(h.q.window, time.Now()).Start.UnixMicro())
	must(h.t, err)
	return n
}

// ledger is what the service has written down of the holder's quota, for whoever reads that
// a test has failed.
func (h *holder) ledger() string {
	var b strings.Builder
	for _, query := range []string{
		`SELECT 'window', start_at, 'amount', amount, 'added', added, 'used before', used_before, 'granted', granted, 'spent', spent, 'overdrawn', overdrawn, 'cleared', cleared
			FROM quota_window WHERE application = $1`,
		`SELECT s.gateway, s.boot_id, 'window', s.start_at, 'granted', s.granted, 'spent', s.spent, 'sequence', s.sequence
			FROM quota_slice s JOIN quota_window w ON w.id = s.id AND w.start_at = s.start_at WHERE w.application = $1`,
	} {
		rows, err := h.q.db.QueryContext(h.t.Context(), query, strings.TrimPrefix(h.app, "applications/"))
		if err != nil {
			return err.Error()
		}
		defer rows.Close()
		columns, _ := rows.Columns()
		for rows.Next() {
			values, dests := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				dests[i] = &values[i]
			}
			if err := rows.Scan(dests...); err != nil {
				return err.Error()
			}
			fmt.Fprintln(&b, values...)
		}
		if err := rows.Err(); err != nil {
			return err.Error()
		}
	}
	for _, p := range h.peers {
		fmt.Fprintln(&b, p.word, "through", p.through.Load(), "back", p.back.Load())
	}
	return b.String()
}

// again stops a process in order and starts it again.
func (q *quotas) again(process string) {
	q.t.Helper()
	must(q.t, q.stop(process))
	q.start(process)
	q.ready(process)
}

// restarts: of a quota exactly its amount passes in all, over new sessions, and restarts of
// the gateway and of the subscription service.
func (q *quotas) restarts() {
	q.t.Helper()
	h := q.holder("restarts", q.messages(101, refuse))
	sessions := q.holder("sessions", &catalogv1.Limit{Kind: &catalogv1.Limit_Quota{
		Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 9, Window: q.window, OnOutage: refuse},
	}})
	opened := 0
	opens := func(upTo int, gateways ...string) {
		q.within(soon, fmt.Sprintf("%d sessions have opened", upTo), func() error {
			for _, gateway := range gateways {
				_, status, err := sessions.tryConnect(gateway, sessions.bearer, false)
				switch {
				case err == nil:
					opened++
				case status != http.StatusTooManyRequests: // a part of the quota is at the other
					return err
				}
			}
			if opened < upTo {
				return fmt.Errorf("%d have", opened)
			}
			return nil
		})
	}
	p := h.at("gateway")
	p.echoes(10)
	must(q.t, p.conn.Close(websocket.StatusNormalClosure, ""))
	p = h.at("gateway")
	p.echoes(10)
	opens(3, "gateway")
	opens(5, "gateway2")
	must(q.t, q.stop("gateway"))
	h.wantUsed(h.passed())
	if got := h.granted("gateway-1"); got != h.passed() {
		q.t.Errorf("the stopped gateway keeps %d of the quota, of which %d passed", got, h.passed())
	}
	h.wantSums()
	q.start("gateway")
	q.ready("gateway")
	p = h.at("gateway")
	p.echoes(5)
	q.again("subscription")
	opens(9, "gateway", "gateway2")
	for _, gateway := range []string{"gateway", "gateway2", "gateway", "gateway2"} {
		if _, status, _ := sessions.tryConnect(gateway, sessions.bearer, false); status != http.StatusTooManyRequests {
			q.t.Errorf("a session at %s is answered %d, want 429", gateway, status)
		}
	}
	if opened != 9 {
		q.t.Errorf("%d sessions have opened, want 9", opened)
	}
	h.usesUp(101, p, h.at("gateway2"))
	for used, h := range map[int64]*holder{101: h, 9: sessions} {
		if use := h.wantUsed(used); use.GetOverdraft() != 0 || use.GetLeft() != 0 {
			q.t.Errorf("the quota is %v, want all used and no overdraft", use)
		}
		h.wantEvents()
		h.wantSums()
	}
}

// shared: two gateways that are busy at once let exactly the amount pass.
func (q *quotas) shared() {
	q.t.Helper()
	h := q.holder("shared", q.messages(1000, refuse))
	peers := []*peer{h.at("gateway"), h.at("gateway2"), h.at("gateway"), h.at("gateway2")}
	flood(peers...)()
	if got := h.passed(); got > 1000 {
		q.t.Fatalf("%d messages passed, want 1000 at most", got)
	}
	h.usesUp(1000, peers...)
	h.wantUsed(1000)
	h.wantSums()
	h.wantEvents()
	h.wantDrops()
}

// wantDrops waits until usage says how many messages were dropped.
func (h *holder) wantDrops() {
	h.t.Helper()
	want := h.dropped.Load()
	h.within(soon, fmt.Sprintf("%d messages of %s are dropped", want, h.tag), func() error {
		list, err := usagev1.NewUsageServiceClient(h.conn).ListUsage(h.q.ctx, &usagev1.ListUsageRequest{Filter: fmt.Sprintf("subscription = %q", h.sub)})
		if err != nil {
			return err
		}
		var got int64
		for _, u := range list.GetUsage() {
			for _, l := range u.GetLimits() {
				got += int64(l.GetDroppedMessages())
			}
		}
		if got != want {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
}

// both waits until a message of each peer passes, or does not.
func both(what string, pass bool, peers ...*peer) {
	for _, p := range peers {
		p.t.Helper()
		p.within(soon, what+" at "+p.gateway, func() error {
			if p.passes() != pass {
				return fmt.Errorf("that a message passes is %t", !pass)
			}
			return nil
		})
	}
}

// changes: whoever changes a quota changes live sessions at both gateways.
func (q *quotas) changes() {
	q.t.Helper()
	h := q.holder("changes", q.messages(200, refuse))
	plan := h.plan
	one, two := h.at("gateway"), h.at("gateway2")
	h.usesUp(200, one, two)
	use := h.wantUsed(200)
	service := usagev1.NewQuotaServiceClient(q.conn)

	_, err := service.ResetQuota(q.ctx, &usagev1.ResetQuotaRequest{Name: use.GetName()})
	must(q.t, err)
	both("messages pass after a reset", true, one, two)
	h.usesUp(400, one, two)
	h.wantUsed(200)

	_, err = service.AddQuota(q.ctx, &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: 200})
	must(q.t, err)
	both("messages pass after some were added", true, one, two)
	h.usesUp(600, one, two)
	if use := h.wantUsed(400); use.GetAmount() != 400 || use.GetAdded() != 200 {
		q.t.Errorf("the quota is %v, want 400, of which 200 were added", use)
	}

	h.edit(plan, q.messages(400, refuse))
	both("messages pass under an edited plan", true, one, two)
	h.usesUp(800, one, two)
	h.edit(plan, q.messages(2000, refuse))
	both("messages pass under the plan edited again", true, one, two)
	h.edit(plan, q.messages(100, refuse))
	both("messages are dropped when the plan has less than was used", false, one, two)

	h.move(q.makePlan("more", q.messages(1000, refuse)))
	both("messages pass under another plan", true, one, two)
	// Of the first 200 nothing counts since the reset, and 200 were added.
	h.usesUp(1400, one, two)
	h.wantUsed(1200)
	h.move(unlimited)
	both("messages pass under a plan without a quota", true, one, two)
	h.move(plan)
	both("messages are dropped under the first plan again", false, one, two)
	h.wantSums()

	subs := subscriptionv1.NewSubscriptionServiceClient(q.conn)
	_, err = subs.BlockSubscription(q.ctx, &subscriptionv1.BlockSubscriptionRequest{Name: h.sub})
	must(q.t, err)
	for _, p := range []*peer{one, two} {
		ctx, cancel := context.WithTimeout(q.t.Context(), soon)
		defer cancel()
		if _, _, err := p.conn.Read(ctx); websocket.CloseStatus(err) != 4006 {
			q.t.Errorf("a blocked subscription's session at %s ended with %v, want the close 4006", p.gateway, err)
		}
		if _, status, _ := h.tryConnect(p.gateway, h.bearer, false); status != http.StatusForbidden {
			q.t.Errorf("a blocked subscription's handshake at %s is answered %d, want 403", p.gateway, status)
		}
	}
	_, err = subs.RestoreSubscription(q.ctx, &subscriptionv1.RestoreSubscriptionRequest{Name: h.sub})
	must(q.t, err)
	for _, gateway := range []string{"gateway", "gateway2"} {
		q.within(soon, "a restored subscription is let in at "+gateway, func() error {
			_, _, err := h.tryConnect(gateway, h.bearer, false)
			return err
		})
	}
	h.wantEvents()
}

// edit gives a plan another limit, and waits until gateways know.
func (h *holder) edit(plan string, limit *catalogv1.Limit) {
	h.t.Helper()
	var header metadata.MD
	_, err := catalogv1.NewCatalogServiceClient(h.conn).UpdatePlan(h.q.ctx, &catalogv1.UpdatePlanRequest{
		Plan: &catalogv1.Plan{Name: plan, Limits: []*catalogv1.Limit{limit}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"limits"}},
	}, grpc.Header(&header))
	must(h.t, err)
	h.applied(h.q.ctx, header)
}

// away: while the subscription service is away, a quota with ALLOW lets everything pass and
// is charged later, one with REFUSE lets pass what was given, no decision waits for long, and
// a rate with PAUSE loses nothing.
func (q *quotas) away() {
	q.t.Helper()
	allowed := q.holder("allow", q.messages(60, catalogv1.Quota_OUTAGE_ALLOW), paced(150))
	refused := q.holder("refuse", q.messages(1000, refuse))
	one, other := allowed.at("gateway"), refused.at("gateway2")
	one.echoes(1)
	other.echoes(1)
	q.kill("subscription")
	one.pipelines(100)
	for range 2 {
		flood(other)()
		if got, given := refused.passed(), refused.granted("gateway2"); got != given {
			q.t.Errorf("%d messages passed while the service was away, want what was given, %d", got, given)
		}
	}
	q.start("subscription")
	q.ready("subscription")
	if use := allowed.wantUsed(202); use.GetOverdraft() != 142 || use.GetLeft() != 0 {
		q.t.Errorf("the quota is %v, want an overdraft of 142", use)
	}
	allowed.usesUp(202, one)
	allowed.wantSums()
	allowed.wantEvents()
	refused.usesUp(1000, other)
	refused.wantUsed(1000)
	refused.wantSums()
	refused.wantEvents()
}

// pipelines sends n messages without waiting for any, all of which come back in order.
func (p *peer) pipelines(n int) {
	p.t.Helper()
	ctx := p.deadline()
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := p.conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%s %d", p.word, i)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		_, got, err := p.conn.Read(ctx)
		must(p.t, err)
		if want := fmt.Sprintf("%s %d", p.word, i); string(got) != want {
			p.t.Fatalf("%q came back, want %q", got, want)
		}
		p.back.Add(1)
	}
	must(p.t, <-sent)
}

// killed: after the kill of a busy gateway everything passes but the slices that it had, and
// what it had reported is counted once.
func (q *quotas) killed() {
	q.t.Helper()
	const amount = 6000
	h := q.holder("killed", q.messages(amount, refuse))
	lost, others := h.at("gateway"), []*peer{h.at("gateway2"), h.at("gateway2")}
	wait := flood(lost)
	var reported uint64
	q.eventually("usage of the gateway is reported", func() error {
		in, out, err := h.usage(q.ctx)
		if reported = in + out; err == nil && reported < 100 {
			err = fmt.Errorf("%d messages are", reported)
		}
		return err
	})
	waitOthers := flood(others...)
	q.eventually("the other gateway is busy", func() error {
		if n := others[0].passed() + others[1].passed(); n < 100 {
			return fmt.Errorf("%d messages passed there", n)
		}
		return nil
	})
	q.kill("gateway")
	wait()
	given := h.granted("gateway-1")
	q.start("gateway")
	waitOthers()
	q.ready("gateway")
	h.peers = others
	others = append(others, h.at("gateway"))
	h.usesUp(amount-given, others...)
	if got := lost.passed(); got > given || got < int64(reported) {
		q.t.Errorf("%d messages passed at the killed gateway, of which %d were reported, and %d given", got, reported, given)
	}
	q.within(soon, "usage is what was reported", func() error {
		in, out, err := h.usage(q.ctx)
		if got := int64(in+out) - h.passed(); err == nil && (got < int64(reported) || got > lost.passed()) {
			err = fmt.Errorf("the killed gateway has %d messages, of which %d were reported and %d passed", got, reported, lost.passed())
		}
		return err
	})
}
