package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// plansServer has one plan, and keeps what it is told to do.
type plansServer struct {
	catalogv1.UnimplementedCatalogServiceServer
	gatewayv1.UnimplementedSessionServiceServer

	gold   *catalogv1.Plan
	use    *catalogv1.PlanUse // nil: not known
	refuse string             // the field that is refused

	created *catalogv1.Plan
	updated *catalogv1.UpdatePlanRequest
	deleted *catalogv1.DeletePlanRequest
}

func newPlansServer(t *testing.T) *plansServer {
	t.Helper()
	gold := &catalogv1.Plan{}
	if err := prototext.Unmarshal([]byte(`name:"plans/gold" display_name:"Gold" etag:"seen" limits:{name:"messages-per-minute" quota:{unit:UNIT_MESSAGES amount:5000 window:WINDOW_MINUTE}}
		limits:{name:"connections" connections:{most:10}}`), gold); err != nil {
		t.Fatal(err)
	}
	return &plansServer{gold: gold, use: &catalogv1.PlanUse{Versions: 1, TrafficVersions: 2, Subscriptions: 3, Applications: 1}}
}

// command returns the command line of somebody who is signed in there.
func (s *plansServer) command(t *testing.T) command {
	return newFakeServer(t, func(srv *grpc.Server) {
		catalogv1.RegisterCatalogServiceServer(srv, s)
		gatewayv1.RegisterSessionServiceServer(srv, s)
	}).signIn(t)
}

func (s *plansServer) ListPlans(context.Context, *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	return &catalogv1.ListPlansResponse{Plans: []*catalogv1.Plan{s.gold}}, nil
}

func (s *plansServer) GetPlan(context.Context, *catalogv1.GetPlanRequest) (*catalogv1.Plan, error) {
	return s.gold, nil
}

func (s *plansServer) GetPlanUse(context.Context, *catalogv1.GetPlanUseRequest) (*catalogv1.PlanUse, error) {
	if s.use == nil {
		return nil, status.Error(codes.Unavailable, "not now")
	}
	return s.use, nil
}

func (s *plansServer) ListSessions(_ context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	if req.GetFilter() != `plan = "plans/gold"` {
		return nil, status.Error(codes.InvalidArgument, "not of the plan")
	}
	return &gatewayv1.ListSessionsResponse{Sessions: make([]*gatewayv1.Session, 1), TotalSize: 42}, nil
}

// refusal is that of the field.
func (s *plansServer) refusal() error {
	if s.refuse == "" {
		return nil
	}
	st, err := status.New(codes.InvalidArgument, "wrong").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: s.refuse, Description: "must be right"}},
	})
	if err != nil {
		return err
	}
	return st.Err()
}

func (s *plansServer) CreatePlan(_ context.Context, req *catalogv1.CreatePlanRequest) (*catalogv1.Plan, error) {
	s.created = proto.CloneOf(req.GetPlan())
	return req.GetPlan(), s.refusal()
}

func (s *plansServer) UpdatePlan(_ context.Context, req *catalogv1.UpdatePlanRequest) (*catalogv1.Plan, error) {
	s.updated = proto.CloneOf(req)
	return req.GetPlan(), s.refusal()
}

func (s *plansServer) DeletePlan(_ context.Context, req *catalogv1.DeletePlanRequest) (*emptypb.Empty, error) {
	s.deleted = proto.CloneOf(req)
	return &emptypb.Empty{}, nil
}

// TestPlanChanges makes and changes plans by flags and by files: what was sent.
func TestPlanChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plan.yaml")
	text := `# With names of the proto, and with those of JSON.
name: plans/gold
display_name: Gold
priceLabel: 10 EUR a month
etag: read
limits:
  - rate: {unit: UNIT_MESSAGES, amount: 100, per: 1s}
    reaction: REACTION_DROP
createTime: "2026-01-31T12:00:00Z"
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const kept = `limits:{name:"messages-per-minute" quota:{unit:UNIT_MESSAGES amount:5000 window:WINDOW_MINUTE}}`
	const seats = `limits:{name:"connections" connections:{most:10}}`
	const rate = `limits:{rate:{unit:UNIT_MESSAGES amount:100 per:{seconds:1}}}`
	const dropped = `limits:{reaction:REACTION_DROP rate:{unit:UNIT_MESSAGES amount:100 per:{seconds:1}}}`
	for _, x := range []struct {
		args, stdin, want string
		mask              string // "" of a created plan
	}{
		{"plan create Lead --rate messages=100/1s --price-label free --billing commercial --attribute a=b --attribute c=", "",
			`display_name:"Lead" price_label:"free" billing:BILLING_COMMERCIAL attributes:{key:"a" value:"b"} attributes:{key:"c" value:""} ` + rate, ""},
		{"plan create -f " + file, "", `display_name:"Gold" price_label:"10 EUR a month" create_time:{seconds:1769860800} ` + dropped, ""},
		{"plan create Lead -f -", text, `display_name:"Lead" price_label:"10 EUR a month" create_time:{seconds:1769860800} ` + dropped, ""},
		{"plan create Lead -f -", `{"limits": [], "description": "none"}`, `display_name:"Lead" description:"none"`, ""},
		{"plan update Gold --rate messages=100/1s", "", `name:"plans/gold" etag:"seen" ` + rate, "limits"},
		{"plan update Gold --add-limit --rate messages=100/1s", "", `name:"plans/gold" etag:"seen" ` + kept + seats + rate, "limits"},
		{"plan update Gold --add-limit --connections 20,name=connections", "", `name:"plans/gold" etag:"seen" ` + kept + `limits:{name:"connections" connections:{most:20}}`, "limits"},
		{"plan update Gold --remove-limit connections", "", `name:"plans/gold" etag:"seen" ` + kept, "limits"},
		{"plan update Gold --remove-limit connections --remove-limit messages-per-minute", "", `name:"plans/gold" etag:"seen"`, "limits"},
		{"plan update Gold --remove-limit connections --rate messages=100/1s", "", `name:"plans/gold" etag:"seen" ` + kept + rate, "limits"},
		{"plan update plans/gold --rename Lead --description= --attribute=", "", `name:"plans/gold" etag:"seen" display_name:"Lead"`, "attributes,description,display_name"},
		{"plan update Gold -f " + file, "", `name:"plans/gold" etag:"read" display_name:"Gold" price_label:"10 EUR a month" create_time:{seconds:1769860800} ` + dropped, "display_name,limits,price_label"},
		{"plan update Gold -f -", "limits: []", `name:"plans/gold" etag:"seen"`, "limits"},
	} {
		s := newPlansServer(t)
		c := s.command(t)
		c.stdin = strings.NewReader(x.stdin)
		if stdout, stderr, code := c.run(t, strings.Fields(x.args)...); code != 0 {
			t.Errorf("tidegate %s = %q, %q, %d", x.args, stdout, stderr, code)
			continue
		}
		want := &catalogv1.Plan{}
		if err := prototext.Unmarshal([]byte(x.want), want); err != nil {
			t.Fatal(err)
		}
		got, mask := s.created, ""
		if s.updated != nil {
			got = s.updated.GetPlan()
			paths := s.updated.GetUpdateMask().GetPaths()
			slices.Sort(paths)
			mask = strings.Join(paths, ",")
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || mask != x.mask {
			t.Errorf("tidegate %s is for %q, want %q (-want +got):\n%s", x.args, mask, x.mask, diff)
		}
	}
}

// TestWrongPlans has command lines and files refused before the server is asked to change
// anything.
func TestWrongPlans(t *testing.T) {
	t.Parallel()
	s := newPlansServer(t)
	c := s.command(t)
	missing := filepath.Join(t.TempDir(), "none")
	for _, x := range []struct {
		args, stdin, want string
		code              int
	}{
		{"create", "", "NAME: missing; see tidegate plan create --help", 2},
		{"create Lead --rate fast", "", `--rate: "fast" is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s`, 2},
		{"create Lead --billing maybe", "", `--billing: "maybe" is none of free, commercial`, 2},
		{"create Lead --attribute a", "", `--attribute: "a" is not NAME=VALUE`, 2},
		{"create Lead --connections 1 -f -", "", "--file: says all of the plan; give it, or other flags", 2},
		{"create -f " + missing, "", "--file: open " + missing + ": no such file or directory", 1},
		{"create -f -", "", "--file: -: has no plan: it needs fields such as display_name and limits", 1},
		{"create -f -", "- 1", "--file: -: has no plan: it needs fields such as display_name and limits", 1},
		{"create -f -", "a: [", "--file: -: line 1: did not find expected node content", 1},
		{"create -f -", "limit: []", `--file: -: unknown field "limit"`, 1},
		{"create -f -", "limits: 7", `--file: -: limits: unexpected token 7`, 1},
		{"create -f -", "limits: [{reaction: DROP}]", `--file: -: limits: invalid value for enum field reaction: "DROP"`, 1},
		{"create -f -", "limits: []\n---\nlimits: []", "--file: -: has more than one document: it may have one plan", 1},
		{"create -f -", "limits: []\nlimits: []", `--file: -: line 2: mapping key "limits" already defined at line 1`, 1},
		{"create -f -", "# " + strings.Repeat("x", longestFile), "--file: - is larger than 1 MiB", 1},
		{"update Gold", "", "nothing to change: give --file, --rename, --description, --rate, --quota, --connections, --message-size, --session-age, --remove-limit, --price-label, --billing or --attribute", 2},
		{"update Gold --add-limit", "", "--add-limit: there is no limit to add: give --rate, --quota, --connections, --message-size or --session-age", 2},
		{"update Gold --remove-limit seats", "", `--remove-limit: Gold has no limit "seats"; see tidegate plan get Gold`, 2},
		{"update Gold --rename Lead -f -", "limits: []", "--file: says all of the plan; give it, or other flags", 2},
		{"update Gold -f -", "name: plans/lead\nlimits: []", "--file: - has the name plans/lead, and Gold is plans/gold", 2},
		{"list -o csv", "", "--output: csv is for usage, quota list, quota events; give table, json or yaml", 2},
	} {
		args := strings.Fields(x.args)
		c.stdin = strings.NewReader(x.stdin)
		stdout, stderr, code := c.run(t, append([]string{"plan"}, args...)...)
		if want := "tidegate: plan " + args[0] + ": " + x.want + "\n"; stderr != want || code != x.code || stdout != "" {
			t.Errorf("tidegate plan %s:\n %q, %q, %d\nwant %q, %d", x.args, stdout, stderr, code, want, x.code)
		}
	}
	if s.created != nil || s.updated != nil {
		t.Errorf("the server was asked for %v and %v", s.created, s.updated)
	}
}

// TestRefusedLimits names the flag, or the place in the file, of a limit that the server
// refuses.
func TestRefusedLimits(t *testing.T) {
	t.Parallel()
	s := newPlansServer(t)
	c := s.command(t)
	for _, x := range []struct{ args, stdin, field, want string }{
		{"create Lead --rate messages=1/1s --connections 5", "", "plan.limits[1].connections.most", "--connections 5: must be right"},
		{"create Lead --rate messages=1/1s,drop", "", "plan.limits[0].reaction", "--rate messages=1/1s,drop: must be right"},
		{"create Lead --connections 5", "", "plan.display_name", "NAME: must be right"},
		{"create Lead -f -", "limits: [{}]", "plan.limits[0].kind", "--file: -: limits[0].kind: must be right"},
		{"update Gold --add-limit --rate messages=1/1s", "", "plan.limits[2]", "--rate messages=1/1s: must be right"},
		{"update Gold --add-limit --rate messages=1/1s", "", "plan.limits[0].quota", "PLAN: its limit messages-per-minute: must be right"},
	} {
		s.refuse, c.stdin = x.field, strings.NewReader(x.stdin)
		args := strings.Fields(x.args)
		_, stderr, code := c.run(t, append([]string{"plan"}, args...)...)
		if want := "tidegate: plan " + args[0] + ": " + x.want + "\n"; stderr != want || code != 1 {
			t.Errorf("tidegate plan %s with %s = %q, %d, want %q", x.args, x.field, stderr, code, want)
		}
	}
}

// TestPlansInWords shows plans and what uses them.
func TestPlansInWords(t *testing.T) {
	t.Parallel()
	s := newPlansServer(t)
	c := s.command(t)
	for args, want := range map[string][]string{
		"plan list":     {"PLAN  LIMITS ", "Gold  5000 messages a minute (drop); 10 connections (refuse)  free "},
		"plan get Gold": {"Limit        messages-per-minute: 5000 messages a minute (drop)\n", "Used by      1 version that offers it, 2 versions that have it for all their traffic, 3 subscriptions, 1 application and 42 live sessions\n"},
	} {
		stdout, stderr, code := c.run(t, strings.Fields(args)...)
		for _, w := range want {
			if !strings.Contains(stdout, w) || code != 0 {
				t.Errorf("tidegate %s = %q, %q, %d, want %q", args, stdout, stderr, code, w)
			}
		}
	}
}

// TestPlanNamesComplete completes the names of plans and of limits.
func TestPlanNamesComplete(t *testing.T) {
	t.Parallel()
	s := newPlansServer(t)
	c := s.command(t)
	for line, want := range map[string]string{
		"plan get G":                           "Gold",
		"plan update ":                         "Gold",
		"plan update Gold --remove-limit c":    "connections",
		"plan update Gold --remove-limit ":     "connections messages-per-minute",
		"api version update x --traffic-plan ": "Gold",
	} {
		stdout, _, code := c.run(t, append([]string{"__complete", "--"}, strings.Split(line, " ")...)...)
		if got := strings.Join(strings.Fields(stdout), " "); got != want || code != 0 {
			t.Errorf("completions of %q = %q, %d, want %q", line, got, code, want)
		}
	}
}
