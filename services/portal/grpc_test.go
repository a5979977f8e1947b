package portal_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/portal"
)

// TestForwardsEveryMethod calls every method of every forwarded service with
// every field filled.
func TestForwardsEveryMethod(t *testing.T) {
	s := start(t)
	conn := s.dial(t)
	for name := range forwarded() {
		methods := service(t, name).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			if m.IsStreamingClient() || m.IsStreamingServer() {
				t.Errorf("%s is a stream: the portal forwards calls only", m.FullName())
				continue
			}
			full := "/" + name + "/" + string(m.Name())
			in, want := filled(t, m.Input(), false).Interface(), filled(t, m.Output(), false).Interface()
			s.on(full, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
				return want, errors.Join(grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, "42", "secret", "x")),
					grpc.SetTrailer(ctx, metadata.Pairs(gen.ChangeHeader, "43", "secret", "x")))
			})
			out := filled(t, m.Output(), false).New().Interface()
			var header, trailer metadata.MD
			err := conn.Invoke(t.Context(), full, in, out, identitytest.Bearer("token"), grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil || !proto.Equal(out, want) {
				t.Errorf("%s = %v, %v, want %v", full, out, err, want)
			}
			if c, _ := s.last(); c.method != full || !proto.Equal(c.request, in) {
				t.Errorf("%s reached the service as %s with %v, want %v", full, c.method, c.request, in)
			}
			if h, tr := header.Get(gen.ChangeHeader), trailer.Get(gen.ChangeHeader); !slices.Equal(h, []string{"42"}) || !slices.Equal(tr, []string{"43"}) ||
				len(header.Get("secret"))+len(trailer.Get("secret")) > 0 {
				t.Errorf("%s: header %v, trailer %v, want tidegate-change 42 and 43, and no secret", full, header, trailer)
			}
		}
	}
}

// TestForwardsMetadata shows what a service hears of a caller.
func TestForwardsMetadata(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &catalogv1.Api{}, nil
	})
	client := catalogv1.NewCatalogServiceClient(s.dial(t))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer a", "authorization", "Bearer b",
		"traceparent", "00-1-2-01", "tracestate", "a=b", "x-forwarded-for", "10.0.0.1", "tidegate-service", "gateway", "some-bin", "\x00")
	before := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := client.GetApi(ctx, &catalogv1.GetApiRequest{Name: "apis/a"}); err != nil {
		t.Fatal(err)
	}
	c, _ := s.last()
	for name, want := range map[string][]string{
		"authorization": {"Bearer a", "Bearer b"}, "traceparent": {"00-1-2-01"}, "tracestate": {"a=b"},
		"x-forwarded-for": nil, "tidegate-service": nil, "some-bin": nil,
	} {
		if got := c.metadata.Get(name); !slices.Equal(got, want) {
			t.Errorf("metadata %s = %q, want %q", name, got, want)
		}
	}
	if left := c.deadline.Sub(before); left <= 15*time.Second || left > 21*time.Second {
		t.Errorf("the deadline is %v away, want the caller's 20s", left)
	}
	if _, err := client.GetApi(context.WithoutCancel(t.Context()), &catalogv1.GetApiRequest{Name: "apis/a"}); err != nil {
		t.Fatal(err)
	}
	if c, _ := s.last(); c.deadline.IsZero() || time.Until(c.deadline) > 30*time.Second {
		t.Errorf("the deadline of a call without one is %v, want within 30s", c.deadline)
	}
}

// TestForwardsStatuses passes a refusal with its details, and the header of a
// change beside it.
func TestForwardsStatuses(t *testing.T) {
	s := start(t)
	refusal := fault.WithReason(fault.Invalid("api.context", "is taken"), "CONTEXT_TAKEN", "by", "apis/b")
	s.on(catalogv1.CatalogService_CreateApi_FullMethodName, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		_ = grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, "7"))
		return nil, refusal
	})
	var header metadata.MD
	_, err := catalogv1.NewCatalogServiceClient(s.dial(t)).CreateApi(t.Context(), &catalogv1.CreateApiRequest{}, grpc.Header(&header))
	if got, want := status.Convert(err).Proto(), status.Convert(refusal).Proto(); !proto.Equal(got, want) {
		t.Errorf("CreateApi = %v, want %v", got, want)
	}
	if details := status.Convert(err).Details(); len(details) != 2 {
		t.Errorf("details = %v, want the violation and the reason", details)
	} else if info, ok := details[1].(*errdetails.ErrorInfo); !ok || info.GetReason() != "CONTEXT_TAKEN" {
		t.Errorf("details[1] = %v, want the reason CONTEXT_TAKEN", details[1])
	}
	if got := header.Get(gen.ChangeHeader); !slices.Equal(got, []string{"7"}) {
		t.Errorf("tidegate-change = %q, want 7", got)
	}
}

// TestForwardCancels ends the call to the service when the caller goes.
func TestForwardCancels(t *testing.T) {
	s := start(t)
	reached, ended := make(chan struct{}), make(chan error, 1)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		close(reached)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	client := catalogv1.NewCatalogServiceClient(s.dial(t))
	failed := make(chan error, 1)
	go func() {
		_, err := client.GetApi(ctx, &catalogv1.GetApiRequest{Name: "apis/a"})
		failed <- err
	}()
	<-reached
	cancel()
	if err := <-failed; status.Code(err) != codes.Canceled {
		t.Errorf("GetApi = %v, want CANCELED", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the service's call ended with %v, want canceled", err)
	}
}

// TestForwardRefuses calls what the portal does not pass on, and sends what is
// no call.
func TestForwardRefuses(t *testing.T) {
	s := start(t)
	conn := s.dial(t)
	for _, method := range []string{
		backplanev1.GrantService_VerifyCredential_FullMethodName,
		backplanev1.GrantService_BatchGetGrants_FullMethodName,
		backplanev1.GrantService_WatchGrants_FullMethodName,
		backplanev1.MeteringService_ReportUsage_FullMethodName,
		backplanev1.MeteringService_ReportSessionRecords_FullMethodName,
		backplanev1.RouteService_GetRoute_FullMethodName,
		backplanev1.RouteService_WatchRoutes_FullMethodName,
		backplanev1.DirectoryService_ListGateways_FullMethodName,
		"/tidegate.catalog.v1.CatalogService/DropEverything",
		"/tidegate.catalog.v1.CatalogService/",
		"/nothing/Here",
	} {
		err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}, identitytest.Bearer("token"))
		if st, want := status.Convert(err), `there is no method "`+method+`" here`; st.Code() != codes.Unimplemented || st.Message() != want {
			t.Errorf("%s = %v, want UNIMPLEMENTED %q", method, err, want)
		}
	}
	if c, n := s.last(); n > 0 {
		t.Errorf("%d calls reached a service, the last was %s", n, c.method)
	}
	long := "/a/" + strings.Repeat("x", 4000)
	if err := conn.Invoke(t.Context(), long, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented || len(status.Convert(err).Message()) > 300 {
		t.Errorf("a long method = %v, want a short UNIMPLEMENTED", err)
	}
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, catalogv1.CatalogService_GetApi_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "the call carries no message" {
		t.Errorf("a call without a message = %v, want INVALID_ARGUMENT", err)
	}
	big := &catalogv1.CreateApiRequest{Api: &catalogv1.Api{Description: strings.Repeat("x", 5<<20)}}
	if _, err := catalogv1.NewCatalogServiceClient(conn).CreateApi(t.Context(), big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 5 MiB = %v, want RESOURCE_EXHAUSTED", err)
	}
}

// TestForwardPassesNonsense leaves the judgement of bytes to the service.
func TestForwardPassesNonsense(t *testing.T) {
	s := start(t)
	err := s.dial(t).Invoke(t.Context(), catalogv1.CatalogService_GetApi_FullMethodName, rawMessage("\xff\xff"), &emptypb.Empty{}, grpc.ForceCodec(rawCodec{}))
	if st := status.Convert(err); st.Code() != codes.Internal || strings.Contains(st.Message(), "127.0.0.1") {
		t.Errorf("GetApi with nonsense = %v, want the service's INTERNAL", err)
	}
}

type rawMessage string

// rawCodec sends a rawMessage as it is.
type rawCodec struct{}

// Name returns "proto".
func (rawCodec) Name() string { return "proto" }

// Marshal returns the bytes of a rawMessage.
func (rawCodec) Marshal(v any) ([]byte, error) {
	m, _ := v.(rawMessage)
	return []byte(m), nil
}

// Unmarshal ignores the answer.
func (rawCodec) Unmarshal([]byte, any) error { return nil }

// TestServiceAway shows what callers see of a service that cannot be reached:
// nothing of its address.
func TestServiceAway(t *testing.T) {
	s := start(t, func(cfg *portal.Config) { cfg.Catalog = nowhere(t) })
	const want = "the catalog service cannot be reached, try again"
	_, err := catalogv1.NewCatalogServiceClient(s.dial(t)).GetApi(t.Context(), &catalogv1.GetApiRequest{Name: "apis/a"})
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != want {
		t.Errorf("GetApi = %v, want UNAVAILABLE %q", err, want)
	}
	got := s.do(t, "GET", "/v1/apis/a", "")
	if st := statusOf(t, got); got.status != 503 || st.GetMessage() != want {
		t.Errorf("GET /v1/apis/a = %d %q, want 503 %q", got.status, st.GetMessage(), want)
	}
	if !strings.Contains(s.log.String(), "no such file") {
		t.Errorf("the log does not say why: %s", s.log.String())
	}
}

// TestServiceSlow ends a call at the caller's deadline.
func TestServiceSlow(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		<-ctx.Done()
		return nil, fault.Unavailable("too late")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := catalogv1.NewCatalogServiceClient(s.dial(t)).GetApi(ctx, &catalogv1.GetApiRequest{Name: "apis/a"})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("GetApi = %v, want DEADLINE_EXCEEDED", err)
	}
}

// TestReflection describes what is forwarded, and health.
func TestReflection(t *testing.T) {
	s := start(t)
	conn := s.dial(t)
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
	for name := range served() {
		want = append(want, name)
	}
	slices.Sort(want)
	var listed []string
	list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, svc := range list.GetListServicesResponse().GetService() {
		listed = append(listed, svc.GetName())
	}
	if !slices.Equal(listed, want) {
		t.Errorf("reflection lists %v, want %v", listed, want)
	}
	for _, name := range want {
		resp := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
		if !describes(t, resp, name) {
			t.Errorf("reflection does not describe %s: %v", name, resp.GetErrorResponse())
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of reflection = %v, want EOF", err)
	}
	for _, service := range []string{"", "tidegate.catalog.v1.CatalogService", "tidegate.change.v1.ChangeService", "grpc.health.v1.Health"} {
		health, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: service})
		if err != nil || health.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
			t.Errorf("health of %q = %v, %v, want SERVING", service, health, err)
		}
	}
	_, err = healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: "tidegate.backplane.v1.RouteService"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("health of a service that is not forwarded: %v, want NOT_FOUND", err)
	}
}

// describes reports whether an answer has the files that describe a service.
func describes(t *testing.T, resp *reflectionv1.ServerReflectionResponse, name string) bool {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
		fd := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, fd); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, fd)
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return false
	}
	d, err := files.FindDescriptorByName(protoreflect.FullName(name))
	if errors.Is(err, protoregistry.NotFound) {
		return false
	}
	_, ok := d.(protoreflect.ServiceDescriptor)
	return ok
}
