package page_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

func TestUpdate(t *testing.T) {
	current := &changev1.Watcher{Instance: "a", Kind: "gateway", Build: "1", Address: "x:1", AppliedChangeNumber: 7}
	tests := []struct {
		name string
		mask []string
		from *changev1.Watcher
		want *changev1.Watcher // nil for a refusal
		text string
	}{
		{"no mask: what is set", nil, &changev1.Watcher{Build: "2"},
			&changev1.Watcher{Instance: "a", Kind: "gateway", Build: "2", Address: "x:1", AppliedChangeNumber: 7}, ""},
		{"a field that is empty is cleared", []string{"address"}, &changev1.Watcher{Build: "2"},
			&changev1.Watcher{Instance: "a", Kind: "gateway", Build: "1", AppliedChangeNumber: 7}, ""},
		{"all", []string{"*"}, &changev1.Watcher{Build: "2"},
			&changev1.Watcher{Instance: "a", Kind: "gateway", Build: "2", AppliedChangeNumber: 7}, ""},
		{"a fixed field as it is", []string{"build", "kind"}, &changev1.Watcher{Build: "2", Kind: "gateway"},
			&changev1.Watcher{Instance: "a", Kind: "gateway", Build: "2", Address: "x:1", AppliedChangeNumber: 7}, ""},
		{"only fixed fields", []string{"kind"}, &changev1.Watcher{Build: "2", Kind: "gateway"},
			&changev1.Watcher{Instance: "a", Kind: "gateway", Build: "1", Address: "x:1", AppliedChangeNumber: 7}, ""},
		{"a fixed field with another value", []string{"applied_change_number"}, &changev1.Watcher{AppliedChangeNumber: 8},
			nil, "watcher.applied_change_number: cannot be changed by an update"},
		{"no such field", []string{"build", "color"}, &changev1.Watcher{},
			nil, `update_mask: no field "color": there are build, address`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := proto.CloneOf(current)
			u, err := page.NewUpdate(&fieldmaskpb.FieldMask{Paths: tt.mask}, tt.from, "build", "address")
			if err == nil {
				err = u.Apply(got)
			}
			if tt.want == nil {
				if !fault.Is(err, codes.InvalidArgument) || err.Error() != tt.text {
					t.Errorf("update = %v, want %q", err, tt.text)
				}
				return
			}
			if err != nil || !proto.Equal(got, tt.want) {
				t.Errorf("update = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestUpdateOnly(t *testing.T) {
	for _, tt := range []struct {
		mask []string
		from *changev1.Watcher
		want bool
	}{
		{nil, &changev1.Watcher{Build: "2"}, true},
		{nil, &changev1.Watcher{Build: "2", Address: "x"}, false},
		{[]string{"build", "kind"}, &changev1.Watcher{}, true}, // kind must stay as it is
		{[]string{"address"}, &changev1.Watcher{}, false},
		{[]string{"*"}, &changev1.Watcher{}, false},
	} {
		u, err := page.NewUpdate(&fieldmaskpb.FieldMask{Paths: tt.mask}, tt.from, "build", "address")
		if err != nil || u.Only("build") != tt.want {
			t.Errorf("an update of %v to %v changes only build: %t, %v, want %t", tt.mask, tt.from, !tt.want, err, tt.want)
		}
	}
}

// stage is a stage with one endpoint.
func stage(url string) []*catalogv1.Endpoint {
	return []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}
}

// A part of a field can be changed alone, and a field can be fixed without a mask.
func TestUpdateOfParts(t *testing.T) {
	may := []string{"endpoints", "endpoints.sandbox", "max_session_age.seconds"}
	current := &backplanev1.Route{
		Version: "1", Endpoints: &catalogv1.Endpoints{Production: stage("ws://a")},
	}
	from := &backplanev1.Route{
		Version:   "2",
		Endpoints: &catalogv1.Endpoints{Sandbox: stage("ws://b")},
	}
	for _, tt := range []struct {
		mask []string
		want *backplanev1.Route
	}{
		{[]string{"endpoints.sandbox"}, &backplanev1.Route{Version: "1", Endpoints: &catalogv1.Endpoints{
			Production: current.GetEndpoints().GetProduction(), Sandbox: from.GetEndpoints().GetSandbox(),
		}}},
		{[]string{"max_session_age.seconds"}, &backplanev1.Route{
			Version: "1", Endpoints: current.GetEndpoints(), MaxSessionAge: &durationpb.Duration{},
		}},
		{[]string{"*"}, &backplanev1.Route{Version: "1", Endpoints: from.GetEndpoints()}},
	} {
		got := proto.CloneOf(current)
		u, err := page.NewUpdate(&fieldmaskpb.FieldMask{Paths: tt.mask}, from, may...)
		if err == nil {
			err = u.Apply(got)
		}
		if err != nil || !proto.Equal(got, tt.want) {
			t.Errorf("update of %v = %v, %v, want %v", tt.mask, got, err, tt.want)
		}
	}
	u, err := page.NewUpdate(nil, from, may...)
	if err != nil {
		t.Fatal(err)
	}
	u.Fix("version")
	if err := u.Apply(proto.CloneOf(current)); err == nil || err.Error() != "route.version: cannot be changed by an update" {
		t.Errorf("update with another version = %v, want that it cannot be changed", err)
	}
}

// An update with an outdated etag is refused before anything else is checked.
func TestUpdateChecksTheEtag(t *testing.T) {
	for etag, want := range map[string]codes.Code{"": codes.OK, "7": codes.OK, "6": codes.Aborted} {
		current := &catalogv1.Plan{DisplayName: "a", Etag: "7"}
		u, err := page.NewUpdate(nil, &catalogv1.Plan{DisplayName: "b", Etag: etag}, "display_name")
		if err != nil {
			t.Fatal(err)
		}
		err = u.Apply(current)
		if (err == nil) != (want == codes.OK) || err != nil && !fault.Is(err, want) || (current.GetDisplayName() == "b") != (want == codes.OK) {
			t.Errorf("update with the etag %q = %v, %v, want %v", etag, err, current, want)
		}
	}
}
