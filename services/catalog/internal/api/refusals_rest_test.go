package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

const (
	badPlanName = "name: must be plans/{plan}"
	badAmount   = "plan.limits[0].quota.amount: must be greater than or equal to 1 and less than or equal to 1000000000000000"
)

func TestPlansRefuse(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	create := func(p *catalogv1.Plan, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.CreatePlan, &catalogv1.CreatePlanRequest{Plan: p}, who...)
	}
	update := func(p *catalogv1.Plan, who grpc.CallOption, paths ...string) func(...grpc.CallOption) error {
		return refuse(ctx, w.UpdatePlan, &catalogv1.UpdatePlanRequest{Plan: p, UpdateMask: mask(paths...)}, who)
	}
	remove := func(name, etag string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.DeletePlan, &catalogv1.DeletePlanRequest{Name: name, Etag: etag}, who...)
	}
	use := func(name string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.GetPlanUse, &catalogv1.GetPlanUseRequest{Name: name}, who...)
	}
	list := func(req *catalogv1.ListPlansRequest, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.ListPlans, req, who...)
	}
	limited := func(limits ...*catalogv1.Limit) *catalogv1.Plan {
		return &catalogv1.Plan{Name: "plans/bronze", DisplayName: "New", Limits: limits}
	}
	quotas := func(amount int64, window catalogv1.Quota_Window) *catalogv1.Plan {
		return limited(quota(amount, window))
	}
	// with is a quota after an edit.
	with := func(edit func(*catalogv1.Limit)) *catalogv1.Plan {
		l := quota(1, 3)
		edit(l)
		return limited(l)
	}
	rate := func(r *catalogv1.Rate) *catalogv1.Plan {
		return limited(&catalogv1.Limit{Kind: &catalogv1.Limit_Rate{Rate: r}})
	}
	many := make([]*catalogv1.Limit, 17)
	for i := range many {
		many[i] = quota(1, 3)
	}
	w.uses.subscriptions = map[string]int64{"plans/gold": 1, "plans/silver": 12, "plans/async-bronze": -1}
	w.uses.applications = map[string]int64{"plans/gold": 2, "plans/async-gold": 1}
	f, err := w.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: w.other.GetName(), Version: &catalogv1.Version{
		Version: "1", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")}, TrafficPlan: "plans/gold", Subscriptionless: true,
	}}, w.ann)
	w.must(f, err)
	away := "the subscription service, which knows who has the plan, does not answer now"
	needsAdmin := "this needs the role admin"
	w.try([]refusal{
		{"Create without a token", create(&catalogv1.Plan{DisplayName: "New"}), codes.Unauthenticated, notSignedIn},
		{"Create by a publisher", create(&catalogv1.Plan{DisplayName: "New"}, w.ann), codes.PermissionDenied, needsAdmin},
		{"Create without a plan", create(nil, w.root), codes.InvalidArgument, "plan: is required"},
		{"Create without a name", create(&catalogv1.Plan{}, w.root), codes.InvalidArgument, "plan.display_name: " + badDisplayName},
		{"Create with NUL", create(&catalogv1.Plan{DisplayName: "New", Description: "\x00"}, w.root), codes.InvalidArgument, "plan.description: must not have the character NUL"},
		{"Create with a name that is taken", create(&catalogv1.Plan{DisplayName: "gold"}, w.root), codes.AlreadyExists, `plan.display_name: "gold" is taken`},
		{"Create with no messages", create(quotas(0, 1), w.root), codes.InvalidArgument, badAmount},
		{"Create with less than no messages", create(quotas(-1, 1), w.root), codes.InvalidArgument, badAmount},
		{"Create with too many messages", create(quotas(1e15+1, 1), w.root), codes.InvalidArgument, badAmount},
		{"Create without a window", create(quotas(1, 0), w.root), codes.InvalidArgument, "plan.limits[0].quota.window: is required"},
		{"Create with an unknown window", create(quotas(1, 9), w.root), codes.InvalidArgument, "plan.limits[0].quota.window: is not one of the defined values"},
		{"Create with a limit of nothing", create(limited(&catalogv1.Limit{Name: "x"}), w.root), codes.InvalidArgument, "plan.limits[0].kind: is required"},
		{"Create with a bad name of a limit", create(with(func(l *catalogv1.Limit) { l.Name = "Day" }), w.root), codes.InvalidArgument, "plan.limits[0].name: must be 1 to 63 characters of a-z, 0-9 and - and begin with a letter, as messages-rate"},
		{"Create with a reaction that is none", create(with(func(l *catalogv1.Limit) { l.Reaction = 9 }), w.root), codes.InvalidArgument, "plan.limits[0].reaction: is not one of the defined values"},
		{"Create with a reaction that a quota does not have", create(with(func(l *catalogv1.Limit) { l.Reaction = catalogv1.Limit_REACTION_PAUSE }), w.root), codes.InvalidArgument, "plan.limits[0].reaction: a quota of messages per day has DROP or CLOSE, not PAUSE"},
		{"Create with one quota twice", create(limited(quota(1, 3), quota(2, 3)), w.root), codes.InvalidArgument, "plan.limits[1].quota: limits[0] is a quota of messages per day too, and there is one at most"},
		{"Create with a small burst", create(rate(&catalogv1.Rate{Unit: catalogv1.Unit_UNIT_BYTES, Amount: 1 << 20, Burst: 1, Per: durationpb.New(time.Second)}), w.root), codes.InvalidArgument, "plan.limits[0].rate.burst: must be at least 1048576, the greatest message of the plan, which a limit of message_size sets"},
		{"Create with a short rate", create(rate(&catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 1, Per: durationpb.New(time.Second - 1)}), w.root), codes.InvalidArgument, "plan.limits[0].rate.per: must be greater than or equal to 1s and less than or equal to 3600s"},
		{"Create with a rate of sessions", create(rate(&catalogv1.Rate{Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 1, Per: durationpb.New(time.Second)}), w.root), codes.InvalidArgument, "plan.limits[0].rate.unit: must be UNIT_MESSAGES, UNIT_BYTES or UNIT_HANDSHAKES"},
		{"Create with too many limits", create(limited(many...), w.root), codes.InvalidArgument, "plan.limits: must contain no more than 16 item(s)"},
		{"Create with an attribute without a name", create(&catalogv1.Plan{DisplayName: "New", Attributes: map[string]string{"a b": ""}}, w.root), codes.InvalidArgument, `plan.attributes["a b"]: must have a name of 1 to 50 characters of A-Z a-z 0-9 _ . -`},
		{"Get without a token", refuse(ctx, w.GetPlan, &catalogv1.GetPlanRequest{Name: "plans/gold"}), codes.Unauthenticated, notSignedIn},
		{"Get with a bad name", refuse(ctx, w.GetPlan, &catalogv1.GetPlanRequest{Name: "plans/Gold"}, w.sue), codes.InvalidArgument, badPlanName},
		{"Get of none", refuse(ctx, w.GetPlan, &catalogv1.GetPlanRequest{Name: "plans/none"}, w.sue), codes.NotFound, "plans/none not found"},
		{"List without a token", list(&catalogv1.ListPlansRequest{}), codes.Unauthenticated, notSignedIn},
		{"List with a token that is none", list(&catalogv1.ListPlansRequest{PageToken: "!"}, w.sue), codes.InvalidArgument, badToken},
		{"List with an unknown field", list(&catalogv1.ListPlansRequest{Filter: `quota = "1"`}, w.sue), codes.InvalidArgument, `filter: no field "quota": there are display_name`},
		{"Update by a publisher", update(&catalogv1.Plan{Name: "plans/gold", Description: "x"}, w.ann), codes.PermissionDenied, needsAdmin},
		{"Update without a plan", update(nil, w.root), codes.InvalidArgument, "plan.name: must be plans/{plan}"},
		{"Update of none", update(&catalogv1.Plan{Name: "plans/none", Description: "x"}, w.root), codes.NotFound, "plans/none not found"},
		{"Update with a stale etag", update(&catalogv1.Plan{Name: "plans/gold", Etag: "2"}, w.root), codes.Aborted, staleEtag},
		{"Update of an unknown field", update(&catalogv1.Plan{Name: "plans/gold"}, w.root, "price"), codes.InvalidArgument, `update_mask: no field "price": there are display_name, description, limits, billing, price_label, attributes`},
		{"Update of what is told", update(&catalogv1.Plan{Name: "plans/gold"}, w.root, "create_time"), codes.InvalidArgument, "plan.create_time: cannot be changed by an update"},
		{"Update to a name that is taken", update(&catalogv1.Plan{Name: "plans/gold", DisplayName: "SILVER"}, w.root), codes.AlreadyExists, `plan.display_name: "SILVER" is taken`},
		{"Update to no name", update(&catalogv1.Plan{Name: "plans/gold"}, w.root, "display_name"), codes.InvalidArgument, "plan.display_name: " + badDisplayName},
		{"Update of a part of the limits", update(quotas(1, 1), w.root, "limits.amount"), codes.InvalidArgument, `update_mask: no field "limits.amount": there are display_name, description, limits, billing, price_label, attributes`},
		{"Update to a bad quota", update(quotas(1, 7), w.root, "limits"), codes.InvalidArgument, "plan.limits[0].quota.window: is not one of the defined values"},
		{"Update to limits that do not go together", update(limited(quota(1, 3), quota(2, 3)), w.root, "limits"), codes.InvalidArgument, "plan.limits[1].quota: limits[0] is a quota of messages per day too, and there is one at most"},
		{"Delete without a token", remove("plans/bronze", ""), codes.Unauthenticated, notSignedIn},
		{"Delete by a publisher", remove("plans/bronze", "", w.ann), codes.PermissionDenied, needsAdmin},
		{"Delete with a bad name", remove("bronze", "", w.root), codes.InvalidArgument, badPlanName},
		{"Delete of none", remove("plans/none", "", w.root), codes.NotFound, "plans/none not found"},
		{"Delete with a stale etag", remove("plans/bronze", "2", w.root), codes.Aborted, staleEtag},
		{"Delete of what is offered", remove("plans/gold", "", w.root), codes.FailedPrecondition, "plans/gold is in use by 3 versions that offer it, 1 version that has it for its traffic, 1 subscription, 2 applications: take it from them first"},
		{"Delete of what is subscribed to", remove("plans/silver", "", w.root), codes.FailedPrecondition, "plans/silver is in use by 12 subscriptions: take it from them first"},
		{"Delete of what an application has", remove("plans/async-gold", "", w.root), codes.FailedPrecondition, "plans/async-gold is in use by 1 application: take it from them first"},
		{"Delete of what versions without subscriptions give", remove("plans/async-default-subscriptionless", "", w.root), codes.FailedPrecondition, "plans/async-default-subscriptionless is in use by 1 version that needs no subscription: take it from them first"},
		{"Delete while it is not known who has it", remove("plans/async-bronze", "", w.root), codes.Unavailable, away},
		{"Use without a token", use("plans/gold"), codes.Unauthenticated, notSignedIn},
		{"Use by a creator", use("plans/gold", w.trainee), codes.PermissionDenied, "this needs the role admin or publisher"},
		{"Use by a subscriber", use("plans/gold", w.sue), codes.PermissionDenied, "this needs the role admin or publisher"},
		{"Use of a bad name", use("gold", w.ann), codes.InvalidArgument, badPlanName},
		{"Use of none", use("plans/none", w.ann), codes.NotFound, "plans/none not found"},
		{"Use while it is not known who has it", use("plans/async-bronze", w.ann), codes.Unavailable, away},
		{"Fetch with a bad name", refuse(ctx, w.routes.FetchPlan, &backplanev1.FetchPlanRequest{}), codes.InvalidArgument, badPlanName},
		{"Fetch of none", refuse(ctx, w.routes.FetchPlan, &backplanev1.FetchPlanRequest{Name: "plans/none"}), codes.NotFound, "plans/none not found"},
	})
}

func TestOperatorsCallsRefuse(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	const catalog = "services/catalog"
	changes := func(req *changev1.ListChangesRequest, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.ListChanges, req, who...)
	}
	get := func(name string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.GetChange, &changev1.GetChangeRequest{Name: name}, who...)
	}
	wait := func(name string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.WaitChange, &changev1.WaitChangeRequest{Name: name}, who...)
	}
	watchers := func(parent string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.ListWatchers, &changev1.ListWatchersRequest{Parent: parent}, who...)
	}
	needsAdmin, badChangeName := "this needs the role admin", "must be services/{service}/changes/{change_number}"
	w.try([]refusal{
		{"WaitChange without a token", wait(catalog + "/changes/1"), codes.Unauthenticated, notSignedIn},
		{"WaitChange without a name", wait("", w.sue), codes.InvalidArgument, "name: " + badChangeName},
		{"WaitChange of a number", wait("1", w.sue), codes.InvalidArgument, "name: " + badChangeName},
		{"WaitChange of number 0", wait(catalog+"/changes/0", w.sue), codes.InvalidArgument, "name: " + badChangeName},
		{"WaitChange of one to come", wait(catalog+"/changes/9223372036854775807", w.sue), codes.NotFound, "services/catalog/changes/9223372036854775807 not found"},
		{"WaitChange of too many digits", wait(catalog+"/changes/9999999999999999999", w.sue), codes.InvalidArgument, "name: " + badChangeName},
		{"WaitChange with a zero before it", wait(catalog+"/changes/01", w.sue), codes.InvalidArgument, "name: " + badChangeName},
		{"WaitChange of another service", wait("services/subscription/changes/1", w.sue), codes.NotFound, "services/subscription/changes/1 not found"},
		{"WaitChange of any service", wait("services/-/changes/1", w.sue), codes.NotFound, "services/-/changes/1 not found"},
		{"GetChange without a token", get(catalog + "/changes/1"), codes.Unauthenticated, notSignedIn},
		{"GetChange by a publisher", get(catalog+"/changes/1", w.ann), codes.PermissionDenied, needsAdmin},
		{"GetChange without a name", get("", w.root), codes.InvalidArgument, "name: " + badChangeName},
		{"GetChange of none", get(catalog+"/changes/999", w.root), codes.NotFound, "services/catalog/changes/999 not found"},
		{"GetChange of another service", get("services/subscription/changes/1", w.root), codes.NotFound, "services/subscription/changes/1 not found"},
		{"ListChanges without a token", changes(&changev1.ListChangesRequest{Parent: catalog}), codes.Unauthenticated, notSignedIn},
		{"ListChanges by a publisher", changes(&changev1.ListChangesRequest{Parent: catalog}, w.ann), codes.PermissionDenied, needsAdmin},
		{"ListChanges without a parent", changes(&changev1.ListChangesRequest{}, w.root), codes.InvalidArgument, "parent: must be services/{service}"},
		{"ListChanges of another service", changes(&changev1.ListChangesRequest{Parent: "services/subscription"}, w.root), codes.NotFound, "services/subscription not found"},
		{"ListChanges of all services", changes(&changev1.ListChangesRequest{Parent: "services/-"}, w.root), codes.InvalidArgument, "parent: must be services/catalog: only the portal answers for all services"},
		{"ListChanges with a negative size", changes(&changev1.ListChangesRequest{Parent: catalog, PageSize: -5}, w.root), codes.InvalidArgument, badSize},
		{"ListChanges with a token that is none", changes(&changev1.ListChangesRequest{Parent: catalog, PageToken: "x"}, w.root), codes.InvalidArgument, badToken},
		{"ListWatchers without a token", watchers(catalog), codes.Unauthenticated, notSignedIn},
		{"ListWatchers by a creator", watchers(catalog, w.cara), codes.PermissionDenied, needsAdmin},
		{"ListWatchers of all services", watchers("services/-", w.root), codes.InvalidArgument, "parent: must be services/catalog: only the portal answers for all services"},
		{"GetRoute without a name", refuse(ctx, w.routes.GetRoute, &backplanev1.GetRouteRequest{}), codes.InvalidArgument, badVersionName},
		{"GetRoute of none", refuse(ctx, w.routes.GetRoute, &backplanev1.GetRouteRequest{Name: "apis/a/versions/v"}), codes.NotFound, "apis/a/versions/v not found"},
	})
}

func TestWatchRoutesRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	type request = backplanev1.WatchRoutesRequest
	hello := func(instance, kind string) *request {
		return &request{Body: &backplanev1.WatchRoutesRequest_Hello{Hello: &backplanev1.Hello{Instance: instance, Kind: kind}}}
	}
	ack := func(number uint64) *request {
		return &request{Body: &backplanev1.WatchRoutesRequest_Ack{Ack: &backplanev1.Ack{AppliedChangeNumber: number}}}
	}
	watch := func(all ...*request) func(...grpc.CallOption) error {
		return func(opts ...grpc.CallOption) error {
			stream, err := w.routes.WatchRoutes(ctx, opts...)
			if err != nil {
				return err
			}
			for _, m := range all {
				if err := stream.Send(m); err != nil {
					break // Recv says why
				}
			}
			for {
				if _, err := stream.Recv(); err != nil {
					return err
				}
			}
		}
	}
	// The first watcher names the history; what is refused after it leaves nothing.
	first, cancel := context.WithCancel(ctx)
	stream, err := w.routes.WatchRoutes(first)
	w.must(stream, err)
	w.must(nil, stream.Send(hello("first", "gateway")))
	_, err = stream.Recv()
	w.must(nil, err)
	cancel()
	w.try([]refusal{
		{"without anything", watch(&request{}), codes.InvalidArgument, "body: is required"},
		{"with an ack first", watch(ack(0)), codes.InvalidArgument, "hello: must come first"},
		{"without an instance", watch(hello("", "gateway")), codes.InvalidArgument, "hello.instance: must be 1 to 63 characters of a-z, 0-9 and -, the first and the last a letter or a digit"},
		{"as a portal", watch(hello("p", "portal")), codes.InvalidArgument, "hello.kind: must be in list [catalog, gateway, subscription]"},
		{"with two hellos", watch(hello("g", "gateway"), hello("g", "gateway")), codes.InvalidArgument, "hello: must come once"},
	})
}

func TestAckOfWhatWasNotSentIsRefused(t *testing.T) {
	w := newWorld(t)
	watcher := w.watch("gateway-1", "")
	watcher.snapshot()
	watcher.ack(8)
	for {
		if _, err := watcher.stream.Recv(); err != nil {
			wantError(t, "WatchRoutes", err, codes.InvalidArgument, "ack.applied_change_number: 8 was not sent yet, the last was 7")
			return
		}
	}
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (raw) Unmarshal(mem.BufferSlice, any) error { return errors.New("an answer to garbage") }

func TestGarbageIsRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	conn := w.dial(w.users, "")
	send := func(method, bytes string) func(...grpc.CallOption) error {
		return func(opts ...grpc.CallOption) error {
			return conn.Invoke(ctx, method, []byte(bytes), nil, append(opts, w.root, grpc.ForceCodecV2(raw{}))...)
		}
	}
	create := catalogv1.CatalogService_CreateApi_FullMethodName
	w.try([]refusal{
		// Field 1 is a message of 3 bytes whose field 2 is the text "\xff".
		{"text that is not UTF-8", send(create, "\x0a\x03\x12\x01\xff"), codes.Internal, "grpc: failed to unmarshal the received message: string field contains invalid UTF-8"},
		{"half a message", send(create, "\x0a\x7f"), codes.Internal, "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"},
		{"an unknown method", send("/tidegate.catalog.v1.CatalogService/Nonesuch", ""), codes.Unimplemented, "there is no method \"/tidegate.catalog.v1.CatalogService/Nonesuch\" here"},
		{"a large message", send(create, strings.Repeat("x", 5<<20)), codes.ResourceExhausted, "grpc: received message larger than max (5242880 vs. 1048576)"},
	})
}
