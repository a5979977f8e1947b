package page_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/watch/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

func TestUpdate(t *testing.T) {
	current := &watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "1", Address: "x:1", Applied: 7}
	tests := []struct {
		name string
		mask []string
		from *watchv1.Watcher
		want *watchv1.Watcher // nil for a refusal
		text string
	}{
		{"no mask: what is set", nil, &watchv1.Watcher{Build: "2"},
			&watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "2", Address: "x:1", Applied: 7}, ""},
		{"a field that is empty is cleared", []string{"address"}, &watchv1.Watcher{Build: "2"},
			&watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "1", Applied: 7}, ""},
		{"all", []string{"*"}, &watchv1.Watcher{Build: "2"},
			&watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "2", Applied: 7}, ""},
		{"a fixed field as it is", []string{"build", "kind"}, &watchv1.Watcher{Build: "2", Kind: "gateway"},
			&watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "2", Address: "x:1", Applied: 7}, ""},
		{"only fixed fields", []string{"kind"}, &watchv1.Watcher{Build: "2", Kind: "gateway"},
			&watchv1.Watcher{Instance: "a", Kind: "gateway", Build: "1", Address: "x:1", Applied: 7}, ""},
		{"a fixed field with another value", []string{"applied"}, &watchv1.Watcher{Applied: 8},
			nil, "watcher.applied: cannot be changed by an update"},
		{"no such field", []string{"build", "color"}, &watchv1.Watcher{},
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
