package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// denyRules has one rule, and remembers what it was asked for.
type denyRules struct {
	catalogv1.UnimplementedDenyRuleServiceServer
	filter  string
	updated *catalogv1.UpdateDenyRuleRequest
	deleted *catalogv1.DeleteDenyRuleRequest
}

func theRule() *catalogv1.DenyRule {
	return &catalogv1.DenyRule{
		Name: "denyRules/r", Api: "apis/1", ApiDisplayName: "yes", ClientAddress: "203.0.113.0/24", Reason: "scans", Etag: "7", Administrative: true,
	}
}

func (d *denyRules) ListDenyRules(_ context.Context, req *catalogv1.ListDenyRulesRequest) (*catalogv1.ListDenyRulesResponse, error) {
	d.filter = req.GetFilter() + " by " + req.GetOrderBy()
	return &catalogv1.ListDenyRulesResponse{DenyRules: []*catalogv1.DenyRule{theRule()}}, nil
}

func (d *denyRules) GetDenyRule(_ context.Context, req *catalogv1.GetDenyRuleRequest) (*catalogv1.DenyRule, error) {
	if req.GetName() != "denyRules/r" {
		return nil, status.Error(codes.NotFound, "no such rule")
	}
	return theRule(), nil
}

func (d *denyRules) UpdateDenyRule(_ context.Context, req *catalogv1.UpdateDenyRuleRequest) (*catalogv1.DenyRule, error) {
	d.updated = req
	return theRule(), nil
}

func (d *denyRules) DeleteDenyRule(_ context.Context, req *catalogv1.DeleteDenyRuleRequest) (*emptypb.Empty, error) {
	d.deleted = req
	return &emptypb.Empty{}, nil
}

// What the flags say of a rule is what the server is asked for: empty values take a
// condition away, and an API alone takes the versions.
func TestDenyRules(t *testing.T) {
	t.Parallel()
	d := &denyRules{}
	c := newFakeServer(t, func(srv *grpc.Server) {
		catalogv1.RegisterCatalogServiceServer(srv, oneAPI{})
		catalogv1.RegisterDenyRuleServiceServer(srv, d)
	}).signIn(t)
	stdout, stderr, code := c.run(t, "deny", "list", "--api", "yes", "--app", "applications/x", "--subscription", "subscriptions/s", "--from", "203.0.113.7", "--order", "newest")
	if want := `api = "apis/1" AND application = "applications/x" AND subscription = "subscriptions/s" AND client_address = "203.0.113.7" by create_time desc`; d.filter != want {
		t.Errorf("the list is of %s, want %s", d.filter, want)
	}
	got := strings.Join(strings.Fields(stdout), " ")
	if want := "API APPLICATION SUBSCRIPTION FROM UNTIL REASON NAME yes - - 203.0.113.0/24 - scans denyRules/r"; got != want || code != 0 {
		t.Errorf("deny list = %q, %q, %d, want %q", got, stderr, code, want)
	}
	for args, want := range map[string]*catalogv1.UpdateDenyRuleRequest{
		"--api yes --from=": {
			DenyRule:   &catalogv1.DenyRule{Name: "denyRules/r", Etag: "7", Api: "apis/1"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"api", "versions", "client_address"}},
		},
		"--api= --app applications/x --subscription subscriptions/s --reason= --lifetime 0s": {
			DenyRule:   &catalogv1.DenyRule{Name: "denyRules/r", Etag: "7", Application: "applications/x", Subscription: "subscriptions/s"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"api", "versions", "application", "subscription", "reason", "expire_time"}},
		},
	} {
		stdout, stderr, code := c.run(t, append([]string{"deny", "update", "r"}, strings.Fields(args)...)...)
		if diff := cmp.Diff(want, d.updated, protocmp.Transform()); diff != "" || code != 0 {
			t.Errorf("deny update %s = %d, %q (-want +got):\n%s", args, code, stderr, diff)
		}
		if !strings.Contains(stdout, "administrators only") {
			t.Errorf("deny update %s does not say who may change it: %q", args, stdout)
		}
	}
	stdout, stderr, code = c.run(t, "deny", "delete", "denyRules/r")
	if code != 0 || d.deleted.GetEtag() != "7" || !strings.Contains(stdout, "the rule for yes and 203.0.113.0/24") {
		t.Errorf("deny delete = %q, %q, %d after %v", stdout, stderr, code, d.deleted)
	}
}
