package grpcserver_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectiongrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// Anybody may connect to the users' face, so what they can make it keep is
// bounded.
func TestUsersAreBounded(t *testing.T) {
	users, user := memory(t, "")
	internal, service := memory(t, "gateway")
	start(t, on(users, internal), &routes{})
	large := &backplanev1.GetRouteRequest{Name: strings.Repeat("x", 1<<20)}
	if _, err := backplanev1.NewRouteServiceClient(user).GetRoute(t.Context(), large); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("1 MiB from a user: %v, want RESOURCE_EXHAUSTED", err)
	}
	if _, err := backplanev1.NewRouteServiceClient(service).GetRoute(t.Context(), large); err != nil {
		t.Errorf("1 MiB from a service: %v, want nil", err)
	}
	for size, ok := range map[int]bool{32 << 10: true, 80 << 10: false} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", size))
		if _, err := backplanev1.NewRouteServiceClient(user).GetRoute(ctx, &backplanev1.GetRouteRequest{}); (err == nil) != ok {
			t.Errorf("%d bytes of metadata: %v, want ok %v", size, err, ok)
		}
	}
}

// A connection on which nothing is called does not stay for ever.
func TestIdleConnectionsEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opens bool
		after time.Duration
	}{
		{"that never opened", false, 10 * time.Second},
		{"that is not used", true, 5 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			lis, conn := memory(t, "")
			stop := start(t, on(lis, nil), &routes{})
			began := time.Now()
			if tt.opens {
				if _, err := who(t, conn); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // a call may be answered before the connection says that it is ready
				for state := connectivity.Ready; state == connectivity.Ready; state = conn.GetState() {
					conn.WaitForStateChange(t.Context(), state)
				}
			} else {
				raw, err := lis.DialContext(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, raw); err != nil {
					t.Errorf("read: %v, want the end", err)
				}
				raw.Close()
			}
			if took := time.Since(began).Round(time.Second); took != tt.after {
				t.Errorf("a connection %s ended after %v, want %v", tt.name, took, tt.after)
			}
			conn.Close()
			if err := stop(); err != nil {
				t.Errorf("Run = %v", err)
			}
		})
	}
}

// Streams that would never end and connections that were never opened do not
// hold a stop up. The clock is synctest's, so it moves only where something
// waits for it.
func TestStopWaitsForCallsOnly(t *testing.T) {
	for _, face := range []string{"users", "services"} {
		synctest.Test(t, func(t *testing.T) {
			lis, conn := memory(t, "gateway")
			cfg := on(lis, nil)
			if face == "services" {
				cfg = on(nil, lis)
			}
			cfg.Drain = time.Hour
			stop := start(t, cfg, &routes{})
			watch := func(service string, want healthgrpc.HealthCheckResponse_ServingStatus) grpc.ServerStreamingClient[healthgrpc.HealthCheckResponse] {
				t.Helper()
				w, err := healthgrpc.NewHealthClient(conn).Watch(t.Context(), &healthgrpc.HealthCheckRequest{Service: service})
				if err != nil {
					t.Fatal(err)
				}
				if m, err := w.Recv(); err != nil || m.GetStatus() != want {
					t.Errorf("Watch(%q) = %v, %v, want %v", service, m, err, want)
				}
				return w
			}
			known := watch("", healthgrpc.HealthCheckResponse_SERVING)
			unknown := watch("unknown", healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN)
			raw, err := lis.DialContext(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			ended := []func() error{func() error { _, err := unknown.Recv(); return err }}
			if face == "users" {
				reflected := reflect(t, conn)
				ended = append(ended, func() error { _, err := reflected.Recv(); return err })
			}

			began := time.Now()
			if err := stop(); err != nil {
				t.Errorf("Run = %v", err)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("the stop took %v, want that it waits for nothing", took)
			}
			if m, err := known.Recv(); err != nil || m.GetStatus() != healthgrpc.HealthCheckResponse_NOT_SERVING {
				t.Errorf("Watch after the stop = %v, %v, want NOT_SERVING", m, err)
			}
			for i, recv := range append(ended, func() error { _, err := known.Recv(); return err }) {
				if err := recv(); status.Code(err) != codes.Unavailable {
					t.Errorf("end of stream %d = %v, want UNAVAILABLE", i, err)
				}
			}
			conn.Close()
		})
	}
}

// reflect opens a stream of reflection that has answered once.
func reflect(t *testing.T, conn *grpc.ClientConn) grpc.BidiStreamingClient[reflectiongrpc.ServerReflectionRequest, reflectiongrpc.ServerReflectionResponse] {
	t.Helper()
	stream, err := reflectiongrpc.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// A call that runs when the server stops has the drain time to end.
func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		drain time.Duration
		let   bool
		want  codes.Code
	}{
		{"in time", time.Minute, true, codes.OK},
		{"too long", time.Millisecond, false, codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lis, conn := memory(t, "gateway")
			r := &routes{hold: make(chan struct{}), held: make(chan struct{})}
			cfg := on(nil, lis)
			cfg.Drain = tt.drain
			stop := start(t, cfg, r)
			result := make(chan error, 1)
			go func() {
				_, err := who(t, conn)
				result <- err
			}()
			<-r.held
			stopped := make(chan error, 1)
			go func() { stopped <- stop() }()
			if tt.let {
				close(r.hold)
			}
			if err := <-result; status.Code(err) != tt.want {
				t.Errorf("the call = %v, want %v", err, tt.want)
			}
			if !tt.let {
				close(r.hold)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
}
