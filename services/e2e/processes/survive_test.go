package processes

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// talker echoes numbered messages through a session until it is told to stop.
type talker struct {
	conn *websocket.Conn
	sent atomic.Uint64
	err  error
}

// run sends and reads back messages of changing size until stop is closed, and
// then closes the session in order.
func (k *talker) run(ctx context.Context, stop <-chan struct{}) {
	for n := uint64(0); ; n++ {
		select {
		case <-stop:
			k.err = k.conn.Close(websocket.StatusNormalClosure, "")
			return
		default:
		}
		message := binary.BigEndian.AppendUint64(nil, n)
		message = append(message, bytes.Repeat([]byte{byte(n)}, int(n*37%3000))...)
		if k.err = k.conn.Write(ctx, websocket.MessageBinary, message); k.err != nil {
			return
		}
		k.sent.Add(1)
		_, got, err := k.conn.Read(ctx)
		if err != nil {
			k.err = fmt.Errorf("read message %d: %w", n, err)
			return
		}
		if !bytes.Equal(got, message) {
			k.err = fmt.Errorf("message %d came back as other bytes", n)
			return
		}
	}
}

// talk starts n talkers at gateways, by default the one, half of them over TLS; the
// returned func stops them and returns the number of messages sent, and their errors.
func (w *world) talk(n int, gateways ...string) (talkers []*talker, stop func() (uint64, error)) {
	w.t.Helper()
	if len(gateways) == 0 {
		gateways = []string{"gateway"}
	}
	token := w.token()
	end := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		conn, err := w.connectTo(gateways[i/2%len(gateways)], token, i%2 == 1)
		must(w.t, err)
		k := &talker{conn: conn}
		talkers = append(talkers, k)
		wg.Go(func() { k.run(w.t.Context(), end) })
	}
	return talkers, func() (uint64, error) {
		close(end)
		wg.Wait()
		var sum uint64
		var errs []error
		for _, k := range talkers {
			sum += k.sent.Load()
			errs = append(errs, k.err)
		}
		return sum, errors.Join(errs...)
	}
}

// progress waits until every talker has sent some more messages.
func (w *world) progress(talkers []*talker) {
	w.t.Helper()
	for i, k := range talkers {
		goal := k.sent.Load() + 20
		w.eventually(fmt.Sprintf("session %d goes on", i), func() error {
			if n := k.sent.Load(); n < goal {
				return fmt.Errorf("%d messages, want %d", n, goal)
			}
			return nil
		})
	}
}

// TestControlPlaneKilled kills catalog, subscription and portal under live
// sessions and starts them again: no session ends, no byte is lost, and usage
// is exact, on both engines.
func TestControlPlaneKilled(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) { controlPlaneKilled(newWorld(startFleet(t, engine, local()))) })
	}
}

func controlPlaneKilled(w *world) {
	w.t.Helper()
	talkers, stop := w.talk(6)
	w.progress(talkers)
	for _, service := range []string{"catalog", "subscription", "portal"} {
		w.kill(service)
		w.progress(talkers)
		w.start(service)
		w.ready(service)
		w.progress(talkers)
	}
	for _, service := range []string{"catalog", "subscription", "portal"} {
		w.kill(service)
	}
	w.progress(talkers)
	for _, service := range []string{"subscription", "catalog", "portal"} {
		w.start(service)
	}
	for _, service := range []string{"subscription", "catalog", "portal"} {
		w.ready(service)
	}
	w.progress(talkers)
	sent, err := stop()
	if err != nil {
		w.t.Fatalf("a session did not live through it: %v", err)
	}
	w.wantUsage(sent)
}

// TestGatewayStopped stops the gateway: every session ends with 1012 and has a
// record that says so.
func TestGatewayStopped(t *testing.T) {
	w := newWorld(startFleet(t, "sqlite", local()))
	token := w.token()
	var conns []*websocket.Conn
	for i := range 10 {
		conn, err := w.connect(token, i%2 == 1)
		must(t, err)
		conns = append(conns, conn)
	}
	errs := make(chan error, len(conns))
	for _, conn := range conns {
		go func() {
			_, _, err := conn.Read(t.Context())
			errs <- err
		}()
	}
	if err := w.stop("gateway"); err != nil {
		t.Fatalf("the gateway ended with %v, want exit code 0", err)
	}
	ctx := w.signedIn()
	records := usagev1.NewUsageServiceClient(w.conn)
	for range conns {
		err := <-errs
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 1012 {
			t.Errorf("a session ended with %v, want the close 1012", err)
			continue
		}
		_, ref, _ := strings.Cut(closed.Reason, "ref=")
		ref, _, _ = strings.Cut(ref, " ")
		record, err := records.GetSessionRecord(ctx, &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref})
		if err != nil {
			t.Errorf("the close reason %q leads to no record: %v", closed.Reason, err)
			continue
		}
		if record.GetEndReason() != usagev1.EndReason_END_REASON_DRAIN || record.GetEndedBy() != usagev1.SessionRecord_PARTY_GATEWAY || record.GetCloseCodeToClient() != 1012 {
			t.Errorf("the record of %s says %v, want that the gateway ended it with 1012 DRAIN", ref, record)
		}
	}
}

// TestGatewayKilled kills the gateway under live sessions: what was reported
// stays, what is lost is one interval of reports at most, and what comes in while
// a report is on its way, and nothing is counted twice.
func TestGatewayKilled(t *testing.T) {
	const every = 5 * time.Second
	const report = 3 * time.Second // how late one may be, and take, on a busy machine
	w := newWorld(startFleet(t, "postgres", local("TIDEGATE_GATEWAY_REPORT_EVERY", every.String())))
	talkers, end := w.talk(4)
	early := w.sentBefore(talkers, every+report)
	w.kill("gateway")
	sent, err := end()
	if err == nil {
		t.Error("the sessions outlived their gateway")
	}
	// No session has closed, so this is what was reported of live ones.
	w.wantUsageBetween(early, sent)
	w.start("gateway")
	w.ready("gateway")
	after := w.talkFor(50)()
	w.wantUsageBetween(early+after, sent+after)
}

// sentBefore lets talkers talk for longer than age, and returns how many
// messages they had sent that long ago.
func (w *world) sentBefore(talkers []*talker, age time.Duration) (n uint64) {
	w.t.Helper()
	type sample struct {
		at   time.Time
		sent uint64
	}
	var samples []sample
	w.eventually(fmt.Sprintf("messages are older than %v", age), func() error {
		now := sample{at: time.Now()}
		for _, k := range talkers {
			now.sent += k.sent.Load()
		}
		samples = append(samples, now)
		for _, s := range samples {
			if now.at.Sub(s.at) >= age {
				n = s.sent
			}
		}
		if n < 100 {
			return fmt.Errorf("%d messages, want 100", n)
		}
		return nil
	})
	return n
}

// wantUsageBetween waits until low messages at least are reported each way, of
// which there may be high at most.
func (w *world) wantUsageBetween(low, high uint64) {
	w.t.Helper()
	ctx := w.signedIn()
	w.eventually(fmt.Sprintf("%d messages are reported each way", low), func() error {
		in, out, err := w.usage(ctx)
		switch {
		case err != nil:
			return err
		case in > high || out > high:
			w.t.Fatalf("%d in and %d out are reported, but only %d were sent", in, out, high)
		case in < low || out < low:
			return fmt.Errorf("%d in and %d out", in, out)
		}
		return nil
	})
}

// talkFor echoes n messages through one session; the returned func closes it
// and returns n.
func (w *world) talkFor(n uint64) (stop func() uint64) {
	w.t.Helper()
	talkers, end := w.talk(1)
	k := talkers[0]
	w.eventually("the messages are echoed", func() error {
		if sent := k.sent.Load(); sent < n {
			return fmt.Errorf("%d messages, want %d", sent, n)
		}
		return nil
	})
	return func() uint64 {
		sent, err := end()
		must(w.t, err)
		return sent
	}
}
