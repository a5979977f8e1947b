package watch_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Every message of a watch has the parts that package watch puts into it.
func TestParts(t *testing.T) {
	for _, m := range []proto.Message{&backplanev1.WatchRoutesRequest{}, &backplanev1.WatchGrantsRequest{}, &backplanev1.WatchUsersRequest{}} {
		if part := watch.Body(m); part != nil {
			t.Errorf("Body of an empty %T = %v, want nil", m, part)
		}
		for _, part := range []proto.Message{&backplanev1.Hello{Instance: "x"}, &backplanev1.Ack{}} {
			wantPart(t, m, part)
		}
	}
	at := &backplanev1.Position{Cursor: "c"}
	for _, tt := range []struct{ m, event, change, empty proto.Message }{
		{
			&backplanev1.WatchRoutesResponse{}, &backplanev1.RouteEvent{RemovedRoutes: []string{"x"}},
			&backplanev1.RouteChange{Position: at, Event: &backplanev1.RouteEvent{RemovedRoutes: []string{"x"}}},
			&backplanev1.RouteChange{Position: at},
		},
		{
			&backplanev1.WatchGrantsResponse{}, &backplanev1.GrantEvent{Names: []string{"x"}},
			&backplanev1.GrantChange{Position: at, Event: &backplanev1.GrantEvent{Names: []string{"x"}}},
			&backplanev1.GrantChange{Position: at},
		},
		{
			&backplanev1.WatchUsersResponse{}, &backplanev1.UserEvent{Ended: []*backplanev1.EndedAccess{{Name: "x"}}},
			&backplanev1.UserChange{Position: at, Event: &backplanev1.UserEvent{Ended: []*backplanev1.EndedAccess{{Name: "x"}}}},
			&backplanev1.UserChange{Position: at},
		},
	} {
		for _, part := range []proto.Message{&backplanev1.Begin{}, &backplanev1.SnapshotEnd{}, &backplanev1.Heartbeat{}} {
			wantPart(t, tt.m, part)
		}
		other := &backplanev1.Ack{Failure: "of another watch"}
		for _, c := range []struct {
			event []byte
			want  proto.Message
		}{
			{encoded(t, tt.event), tt.change},
			{encoded(t, other, tt.event), tt.change},
			{encoded(t, other), tt.empty},
			{nil, tt.empty},
		} {
			proto.Reset(tt.m)
			if err := watch.SetChange(tt.m, at, c.event); err != nil || !proto.Equal(watch.Body(tt.m), c.want) {
				t.Errorf("SetChange, Body of %T = %v, %v, want %v", tt.m, err, watch.Body(tt.m), c.want)
			}
		}
		if err := watch.SetChange(tt.m, at, []byte{0xff}); err == nil {
			t.Errorf("SetChange of an event that is none in %T = nil, want an error", tt.m)
		}
	}
}

func encoded(t *testing.T, events ...proto.Message) []byte {
	t.Helper()
	all, err := watch.EncodeEvents(events...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantPart(t *testing.T, m, part proto.Message) {
	t.Helper()
	watch.SetBody(m, part)
	if got := watch.Body(m); !proto.Equal(got, part) {
		t.Errorf("SetBody, Body of %T = %v, want %v", m, got, part)
	}
}

func TestWhatIsNoPartPanics(t *testing.T) {
	for name, put := range map[string]func(){
		"SetBody":        func() { watch.SetBody(&backplanev1.WatchRoutesRequest{}, &backplanev1.Begin{}) },
		"SetChange":      func() { _ = watch.SetChange(&backplanev1.WatchRoutesRequest{}, &backplanev1.Position{}, nil) },
		"Body of a part": func() { watch.Body(&backplanev1.Hello{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of what is no part does not panic", name)
				}
			}()
			put()
		}()
	}
}
