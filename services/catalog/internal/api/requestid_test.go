package api

import (
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestCreateAgain sends each call that creates something again: it makes nothing, and
// returns what is there now.
func TestCreateAgain(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const uuid = "0f5f3a52-51fe-4d0a-9f0b-6f3c1b1d2e3f"
		a := f.api("Echo")
		api := &catalogv1.CreateApiRequest{RequestId: uuid, Api: &catalogv1.Api{DisplayName: "Chat", Context: "/chat"}}
		version := &catalogv1.CreateVersionRequest{
			RequestId: "1" + uuid[1:], Parent: a.GetName(),
			Version: &catalogv1.Version{
				Version: "1.0.0", Description: "First.", Plans: []string{"plans/gold"},
				Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://backend:9098/echo")},
			},
		}
		plan := &catalogv1.CreatePlanRequest{RequestId: "2" + uuid[1:], Plan: &catalogv1.Plan{DisplayName: "Platinum"}}
		create := map[string]func(opts ...grpc.CallOption) (proto.Message, error){
			"CreateApi": func(opts ...grpc.CallOption) (proto.Message, error) {
				return f.CreateApi(ctx, api, append(opts, f.ann)...)
			},
			"CreateVersion": func(opts ...grpc.CallOption) (proto.Message, error) {
				return f.CreateVersion(ctx, version, append(opts, f.ann)...)
			},
			"CreatePlan": func(opts ...grpc.CallOption) (proto.Message, error) {
				return f.CreatePlan(ctx, plan, append(opts, f.root)...)
			},
		}
		for call, send := range create {
			var first, second metadata.MD
			made, err := send(grpc.Header(&first))
			if err != nil {
				t.Fatalf("%s: %v", call, err)
			}
			again, err := send(grpc.Header(&second))
			if err != nil || !proto.Equal(again, made) {
				t.Errorf("%s again = %v, %v, want %v", call, again, err, made)
			}
			if number(t, first) != number(t, second) {
				t.Errorf("%s again names the change %d, want %d", call, number(t, second), number(t, first))
			}
		}
		api.Api.Description, version.Version.Description, plan.Plan.Description = "Other.", "Other.", "Other."
		for call, send := range create {
			_, err := send()
			wantError(t, call+" of something else", err, codes.InvalidArgument,
				"request_id: was sent with another request within the last hour: must be a new UUID")
		}
		version.Version.Description = "First."
		v, err := f.CreateVersion(ctx, version, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		published := f.publish(v)
		if again, err := f.CreateVersion(ctx, version, f.ann); err != nil || !proto.Equal(again, published) {
			t.Errorf("CreateVersion after the publishing = %v, %v, want %v", again, err, published)
		}
		f.demote(v)
		if _, err := f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName()}, f.ann); err != nil {
			t.Fatal(err)
		}
		_, err = f.CreateVersion(ctx, version, f.ann)
		wantError(t, "CreateVersion after the deletion", err, codes.NotFound, v.GetName()+" not found")
		_, err = f.CreateApi(ctx, &catalogv1.CreateApiRequest{RequestId: "no-uuid", Api: &catalogv1.Api{DisplayName: "A", Context: "/a"}}, f.ann)
		wantError(t, "CreateApi without a UUID", err, codes.InvalidArgument, "request_id: must be a valid UUID")
	})
}

// TestCreateTwiceAtOnce sends one call 8 times at once.
func TestCreateTwiceAtOnce(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		req := &catalogv1.CreateApiRequest{
			RequestId: "0f5f3a52-51fe-4d0a-9f0b-6f3c1b1d2e3f", Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"},
		}
		made, errs := make([]*catalogv1.Api, 8), make([]error, 8)
		var all sync.WaitGroup
		for i := range made {
			all.Go(func() { made[i], errs[i] = f.CreateApi(t.Context(), req, f.ann) })
		}
		all.Wait()
		for i, a := range made {
			if errs[i] != nil || !proto.Equal(a, made[0]) {
				t.Errorf("CreateApi at once: %v, %v, want the same for all, such as %v", a, errs[i], made[0])
			}
		}
	})
}
