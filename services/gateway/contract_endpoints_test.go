package gateway

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// balanced publishes a version without credentials that has these endpoints.
func (w *world) balanced(version string, edit func(*catalogv1.Endpoints), urls ...string) {
	r := w.open()
	r.Name, r.Version, r.Endpoints = "apis/x/versions/"+version, version, &catalogv1.Endpoints{}
	for _, url := range urls {
		r.Endpoints.Production = append(r.Endpoints.Production, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: url}})
	}
	if edit != nil {
		edit(r.Endpoints)
	}
	w.plane.put(r)
}

// described is what the gateway tells the owner of a version of its endpoints.
func (w *world) described(version string) []*gatewayv1.EndpointStatus {
	w.t.Helper()
	conn, err := w.grpc.Dial("portal")
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	got, err := gatewayv1.NewEndpointServiceClient(conn).DescribeEndpoints(
		outgoing(w.t.Context(), w.plane.signer.Token("pat", "creator")), &gatewayv1.DescribeEndpointsRequest{Version: "apis/x/versions/" + version})
	if err != nil {
		w.t.Fatalf("DescribeEndpoints = %v", err)
	}
	return got.GetEndpoints()
}

// answering is a backend that answers a status while it is not 101, and counts its
// handshakes.
type answering struct {
	url    string
	status atomic.Int64
	asked  atomic.Int64
}

func newAnswering(t *testing.T, status int64) *answering {
	a := &answering{}
	a.status.Store(status)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if status := a.status.Load(); status != http.StatusSwitchingProtocols {
			rw.WriteHeader(int(status))
			return
		}
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		for {
			kind, text, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, text) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	a.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return a
}

// lasting suspends endpoints for longer than a test takes.
func lasting(e *catalogv1.Endpoints) {
	e.Suspension = &catalogv1.Suspension{First: durationpb.New(time.Hour), Longest: durationpb.New(time.Hour)}
}

// TestEndpointsTakeEachOthersPlace: 502, 503 and 504 of an endpoint, and one that nothing
// listens at or that is silent, have the next one tried, and suspend it; its answer is passed
// on by the last alone. Other answers are for the client.
func TestEndpointsTakeEachOthersPlace(t *testing.T) {
	w := newWorld(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody takes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	hasty := func(e *catalogv1.Endpoints) {
		lasting(e)
		e.Timeouts = &catalogv1.Timeouts{Handshake: durationpb.New(200 * time.Millisecond)}
	}
	good := newAnswering(t, 101)
	rows := []struct {
		version, first, second string
		status                 int
		failure                string // of the first; empty: it is healthy
	}{
		{"502", newAnswering(t, 502).url, good.url, 101, "the backend answered 502 Bad Gateway"},
		{"503", newAnswering(t, 503).url, good.url, 101, "the backend answered 503 Service Unavailable"},
		{"504", newAnswering(t, 504).url, good.url, 101, "the backend answered 504 Gateway Timeout"},
		{"away", "ws://127.0.0.1:1", good.url, 101, "the backend cannot be reached"},
		{"silent", "ws://" + silent.Addr().String(), good.url, 101, "the backend did not answer in time"},
		{"both", newAnswering(t, 502).url, newAnswering(t, 503).url, 503, "the backend answered 502 Bad Gateway"},
		{"401", newAnswering(t, 401).url, good.url, 401, ""},
		{"403", newAnswering(t, 403).url, good.url, 403, ""},
		{"404", newAnswering(t, 404).url, good.url, 404, ""},
		{"410", newAnswering(t, 410).url, good.url, 410, ""},
		{"429", newAnswering(t, 429).url, good.url, 429, ""},
	}
	for _, row := range rows {
		w.balanced(row.version, hasty, row.first, row.second)
	}
	w.start()
	for _, row := range rows {
		if _, got := w.ask(w.plain+"/x/"+row.version, nil); got.status != row.status {
			t.Errorf("%s: the answer is %d %s, want %d", row.version, got.status, got.body, row.status)
		}
		all := w.described(row.version)
		if len(all) != 2 || all[0].GetUrl() != row.first || all[1].GetUrl() != row.second {
			t.Fatalf("%s: the endpoints are %v", row.version, all)
		}
		state := gatewayv1.EndpointStatus_STATE_HEALTHY
		if row.failure != "" {
			state = gatewayv1.EndpointStatus_STATE_SUSPENDED
		}
		if all[0].GetState() != state || all[0].GetLastFailure() != row.failure {
			t.Errorf("%s: of the first is known %v, want %v %q", row.version, all[0], state, row.failure)
		}
	}
}

// TestSuspendedEndpointIsPassedOver: clients go where it works, and its connections are
// counted there; when the suspension is over, a handshake finds out that the other works
// again.
func TestSuspendedEndpointIsPassedOver(t *testing.T) {
	w := newWorld(t)
	ill, well := newAnswering(t, 503), newAnswering(t, 101)
	w.balanced("lasting", lasting, ill.url, well.url)
	w.balanced("short", func(e *catalogv1.Endpoints) {
		e.Suspension = &catalogv1.Suspension{First: durationpb.New(100 * time.Millisecond), Longest: durationpb.New(100 * time.Millisecond)}
	}, ill.url, well.url)
	w.start()
	for range 5 {
		if c, got := w.ask(w.plain+"/x/lasting", nil); c == nil {
			t.Fatalf("the answer is %d %s", got.status, got.body)
		}
	}
	if n := ill.asked.Load(); n != 1 {
		t.Errorf("the suspended endpoint was asked %d times, want once", n)
	}
	if all := w.described("lasting"); all[0].GetConnections() != 0 || all[1].GetConnections() != 5 {
		t.Errorf("the connections are %v, want 0 and 5", all)
	}
	w.answers(w.plain+"/x/short", nil, 101)
	ill.status.Store(101)
	eventually(t, "the endpoint works again", func() bool {
		w.answers(w.plain+"/x/short", nil, 101)
		return w.described("short")[0].GetState() == gatewayv1.EndpointStatus_STATE_HEALTHY
	})
}

// TestHealthChecksWithoutClients: while nobody connects, checks find out that an endpoint is
// ill and that it is well again. A version that is not published is not checked.
func TestHealthChecksWithoutClients(t *testing.T) {
	w := newWorld(t)
	b, idle := newAnswering(t, 503), newAnswering(t, 101)
	checked := func(e *catalogv1.Endpoints) {
		e.HealthCheck = &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_WEBSOCKET, Interval: durationpb.New(time.Second), UnhealthyAfter: 1}
		e.Suspension = &catalogv1.Suspension{First: durationpb.New(100 * time.Millisecond), Longest: durationpb.New(100 * time.Millisecond)}
	}
	w.balanced("checked", checked, b.url)
	r := w.open()
	r.Name, r.Version, r.State = "apis/x/versions/created", "created", catalogv1.Version_STATE_CREATED
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint(idle.url)}
	checked(r.Endpoints)
	w.plane.put(r)
	w.start()
	eventually(t, "a check has failed", func() bool {
		e := w.described("checked")[0]
		return e.GetState() != gatewayv1.EndpointStatus_STATE_HEALTHY && e.GetLastFailure() == "the backend answered 503 Service Unavailable"
	})
	b.status.Store(101)
	eventually(t, "a check has succeeded", func() bool {
		return w.described("checked")[0].GetState() == gatewayv1.EndpointStatus_STATE_HEALTHY
	})
	if n := idle.asked.Load(); n != 0 {
		t.Errorf("the endpoint of a version that is not published was checked %d times", n)
	}
}

// TestTimeoutsOfTheVersion has endpoints that connect and say nothing: each of a version's
// time-outs ends the handshake long before the gateway's own would.
func TestTimeoutsOfTheVersion(t *testing.T) {
	w := newWorld(t)
	w.cfg.Listen.Timeout, w.cfg.Upstream.Timeout = time.Minute, time.Minute
	silent, connected := backendAt(t, silentBackend)
	soon := durationpb.New(200 * time.Millisecond)
	w.balanced("dial", func(e *catalogv1.Endpoints) { e.Timeouts = &catalogv1.Timeouts{Dial: soon} }, "wss"+strings.TrimPrefix(silent, "ws"))
	w.balanced("handshake", func(e *catalogv1.Endpoints) { e.Timeouts = &catalogv1.Timeouts{Handshake: soon} }, silent)
	w.start()
	for _, version := range []string{"dial", "handshake"} {
		if a := w.refuses(headOf("/x/"+version, "")); a.Status != http.StatusGatewayTimeout {
			t.Errorf("%s: %+v, want 504", version, a)
		}
		<-connected
	}
}
