package cli

import (
	"context"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// usageServer has usage, quotas and events, and keeps what it was asked for.
type usageServer struct {
	usagev1.UnimplementedUsageServiceServer
	usagev1.UnimplementedQuotaServiceServer

	usage  *usagev1.ListUsageResponse
	quotas *usagev1.ListQuotaUsesResponse

	asked  *usagev1.ListUsageRequest
	filter string
	added  *usagev1.AddQuotaRequest
	reset  string
}

func (s *usageServer) command(t *testing.T) command {
	return newFakeServer(t, func(srv *grpc.Server) {
		usagev1.RegisterUsageServiceServer(srv, s)
		usagev1.RegisterQuotaServiceServer(srv, s)
	}).signIn(t)
}

func (s *usageServer) ListUsage(_ context.Context, req *usagev1.ListUsageRequest) (*usagev1.ListUsageResponse, error) {
	s.asked = proto.CloneOf(req)
	return s.usage, nil
}

func (s *usageServer) ListQuotaUses(_ context.Context, req *usagev1.ListQuotaUsesRequest) (*usagev1.ListQuotaUsesResponse, error) {
	s.filter = req.GetFilter()
	return s.quotas, nil
}

func (s *usageServer) ResetQuota(_ context.Context, req *usagev1.ResetQuotaRequest) (*usagev1.QuotaUse, error) {
	s.reset = req.GetName()
	return s.quotas.GetQuotaUses()[0], nil
}

func (s *usageServer) AddQuota(_ context.Context, req *usagev1.AddQuotaRequest) (*usagev1.QuotaUse, error) {
	s.added = proto.CloneOf(req)
	return s.quotas.GetQuotaUses()[0], nil
}

func (s *usageServer) ListQuotaEvents(_ context.Context, req *usagev1.ListQuotaEventsRequest) (*usagev1.ListQuotaEventsResponse, error) {
	s.filter = req.GetFilter()
	use := proto.CloneOf(s.quotas.GetQuotaUses()[0])
	return &usagev1.ListQuotaEventsResponse{QuotaEvents: []*usagev1.QuotaEvent{{QuotaUse: use, Percent: 80, Time: use.GetStartTime()}}}, nil
}

// fill reads a message that is written as text.
func fill[M proto.Message](t *testing.T, m M, text string) M {
	t.Helper()
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestUsageAsksFor is what flags make of a query.
func TestUsageAsksFor(t *testing.T) {
	t.Parallel()
	s := &usageServer{usage: &usagev1.ListUsageResponse{}}
	c := s.command(t)
	for args, want := range map[string]string{
		"":                                      `step:{seconds:3600} group_by:["version","application"]`,
		"--by application":                      `group_by:"application"`,
		"--by application --step 1h":            `step:{seconds:3600} group_by:"application"`,
		"--by plan,subscription --by api":       `group_by:["plan","subscription","api"]`,
		"--by all --step 5m":                    `step:{seconds:300}`,
		"--step 0":                              `group_by:["version","application"]`,
		"--top 5":                               `top:5 group_by:["version","application"]`,
		"--top 5 --order-by dropped --step 7d":  `top:5 order_by:"dropped" step:{seconds:604800} group_by:["version","application"]`,
		"--until 2026-01-02T03:04:05Z --by api": `end_time:{seconds:1767323045} group_by:"api"`,
		"--api apis/1/versions/2 --api apis/1/versions/3 --api apis/1/versions/2 --by all": `versions:["apis/1/versions/2","apis/1/versions/3"]`,
		"--app applications/7 --api apis/1/versions/2 --by all":                            `filter:"application = \"applications/7\" AND version = \"apis/1/versions/2\""`,
	} {
		if _, stderr, code := c.run(t, append([]string{"usage"}, strings.Fields(args)...)...); code != 0 {
			t.Errorf("tidegate usage %s = %q, %d", args, stderr, code)
			continue
		}
		if diff := cmp.Diff(fill(t, &usagev1.ListUsageRequest{PageSize: pageSize}, "page_size:500 "+want), s.asked, protocmp.Transform()); diff != "" {
			t.Errorf("tidegate usage %s asks for (-want +got):\n%s", args, diff)
		}
	}
	for args, want := range map[string]string{
		"--by colour":          `--by: "colour" is none of api, version, application, subscription, plan, all`,
		"--by all,plan":        "--by: all is one sum; give it alone",
		"--step soon":          `--step: "soon" is not a duration such as 30s, 12h or 7d`,
		"--top 101":            "--top: 101 is not between 1 and 100",
		"--order-by dropped":   "--order-by: is for --top",
		"--top 1 --order-by x": `--order-by: "x" is none of messages, bytes, sessions, dropped, paused, refused, observed`,
	} {
		if _, stderr, code := c.run(t, append([]string{"usage"}, strings.Fields(args)...)...); code != 2 || stderr != "tidegate: usage: "+want+"\n" {
			t.Errorf("tidegate usage %s = %q, %d, want %q", args, stderr, code, want)
		}
	}
}

const (
	plainUsage = `usage:{start_time:{seconds:3600} application:"applications/7" application_display_name:"=cmd()" sessions:1 inbound:{messages:2 payload_bytes:3} outbound:{messages:4 payload_bytes:5}}`
	heldUsage  = `usage:{start_time:{seconds:3600} application:"applications/8" application_display_name:"Pier" sessions:1 inbound:{messages:2 payload_bytes:3} outbound:{messages:4 payload_bytes:5}
		limits:{place:PLAN_PLACE_SUBSCRIPTION plan:"plans/gold" limit:"messages-per-day" dropped_messages:7 first_time:{seconds:3700} last_time:{seconds:3800}}
		limits:{place:PLAN_PLACE_VERSION plan:"plans/gold" limit:"messages-rate" pauses:2 paused_milliseconds:1500 observed_hits:9 refused_handshakes:1}
		refused_handshakes:{status:401 count:1} refused_handshakes:{status:429 count:2}}`
)

// TestUsageTables prints usage: what limits did only where they did anything, and in CSV
// always the same columns.
func TestUsageTables(t *testing.T) {
	t.Parallel()
	const start = "1970-01-01T01:00:00Z"
	heads := "start_time,api,api_name,version,version_name,application,application_name,subscription,subscription_name,plan,plan_name,"
	effects := "dropped_messages,pauses,paused_seconds,closed_sessions,refused_handshakes,observed_hits\n"
	for _, x := range []struct{ usage, args, want string }{
		{plainUsage, "", "APPLICATION  SESSIONS  IN                   OUT\n=cmd()       1         2 messages, 3 bytes  4 messages, 5 bytes\n"},
		{heldUsage, "", "APPLICATION  SESSIONS  IN                   OUT                  DROPPED  PAUSED         REFUSED  OBSERVED\n" +
			"Pier         1         2 messages, 3 bytes  4 messages, 5 bytes  7        2 times, 1.5s  3        9\n"},
		{heldUsage, "--limits", "APPLICATION  PLACE         LIMIT                        FIRST  LAST  DROPPED  PAUSED         REFUSED  OBSERVED\n" +
			"Pier         subscription  plans/gold messages-per-day  F      L     7        -              0        0\n" +
			"Pier         version       plans/gold messages-rate     -      -     0        2 times, 1.5s  1        9\n"},
		{plainUsage, "-o csv", heads + "sessions,messages_in,bytes_in,messages_out,bytes_out," + effects +
			start + ",,,,,'=cmd(),applications/7,,,,,1,2,3,4,5,0,0,0.000,0,0,0\n"},
		{heldUsage, "-o csv", heads + "sessions,messages_in,bytes_in,messages_out,bytes_out," + effects +
			start + ",,,,,Pier,applications/8,,,,,1,2,3,4,5,7,2,1.500,0,3,9\n"},
		{heldUsage, "-o csv --limits", heads + "place,limit_plan,limit,first_time,last_time," + effects +
			start + ",,,,,Pier,applications/8,,,,,subscription,plans/gold,messages-per-day,1970-01-01T01:01:40Z,1970-01-01T01:03:20Z,7,0,0.000,0,0,0\n" +
			start + ",,,,,Pier,applications/8,,,,,version,plans/gold,messages-rate,,,0,2,1.500,0,1,9\n"},
		{``, "-o csv", heads + "sessions,messages_in,bytes_in,messages_out,bytes_out," + effects},
	} {
		s := &usageServer{usage: fill(t, &usagev1.ListUsageResponse{}, x.usage)}
		stdout, stderr, code := s.command(t).run(t, append([]string{"usage", "--by", "application"}, strings.Fields(x.args)...)...)
		u := s.usage.GetUsage()
		if x.args == "--limits" { // times are the machine's
			first, last := when(u[0].GetLimits()[0].GetFirstTime()), when(u[0].GetLimits()[0].GetLastTime())
			stdout = strings.NewReplacer(first, "F", last, "L").Replace(stdout)
			stdout, x.want = strings.Join(strings.Fields(stdout), " "), strings.Join(strings.Fields(x.want), " ")
		}
		if stdout != x.want || stderr != "" || code != 0 {
			t.Errorf("tidegate usage %s:\n%s%s%d\nwant\n%s", x.args, stdout, stderr, code, x.want)
		}
		if strings.HasPrefix(x.args, "-o csv") {
			if _, err := csv.NewReader(strings.NewReader(stdout)).ReadAll(); err != nil {
				t.Errorf("tidegate usage %s is no CSV: %v", x.args, err)
			}
		}
	}
}

const twoQuotas = `quota_uses:{name:"quotaUses/1" place:PLAN_PLACE_SUBSCRIPTION application:"applications/7" application_display_name:"Pier" version:"apis/1/versions/2"
		api_display_name:"Ferry" version_string:"1.0.0" plan:"plans/gold" limit:"messages-per-day" unit:UNIT_MESSAGES window:WINDOW_DAY amount:1100 added:100 used:1200 overdraft:100
		start_time:{seconds:86400} reset_time:{seconds:172800}}
	quota_uses:{name:"quotaUses/2" place:PLAN_PLACE_VERSION version:"apis/1/versions/2" api_display_name:"Ferry" version_string:"1.0.0" plan:"plans/gold" limit:"bytes-per-hour"
		unit:UNIT_BYTES window:WINDOW_HOUR amount:1048576 used:1 left:1048575 observe:true}`

// TestQuotas lists quotas and their events, and chooses one to change.
func TestQuotas(t *testing.T) {
	t.Parallel()
	s := &usageServer{quotas: fill(t, &usagev1.ListQuotaUsesResponse{}, twoQuotas)}
	c := s.command(t)
	const titles = "quota_use_name,place,version,version_name,application,application_name,username,plan,limit,unit,window,start_time,reset_time,amount,used,left,overdraft,added,observe\n"
	const first = "quotaUses/1,subscription,Ferry/1.0.0,apis/1/versions/2,Pier,applications/7,,plans/gold,messages-per-day,messages,day,1970-01-02T00:00:00Z,1970-01-03T00:00:00Z,1100,1200,0,100,100,false\n"
	for args, want := range map[string]string{
		"list":                      "Ferry/1.0.0  Pier         1000 messages a day, 100 added, 100 overdrawn  1200  0 ",
		"list --app applications/7": "Ferry/1.0.0  -            1 MiB an hour (observe)                        1     1048575 ",
		"list -o csv":               titles + first,
		"events":                    "80 %  Ferry/1.0.0  Pier ",
		"events -o csv":             "time,percent," + titles + "1970-01-02T00:00:00Z,80," + first,
		"reset quotaUses/2":         "Reset        quotaUses/1\n",
		"add 5 quotaUses/2":         "Added to     quotaUses/1\n",
	} {
		if stdout, stderr, code := c.run(t, append([]string{"quota"}, strings.Fields(args)...)...); !strings.Contains(stdout, want) || code != 0 {
			t.Errorf("tidegate quota %s = %q, %q, %d, want %q", args, stdout, stderr, code, want)
		}
	}
	if s.reset != "quotaUses/2" || s.added.GetName() != "quotaUses/2" || s.added.GetAmount() != 5 {
		t.Errorf("the server was asked to reset %q and to add %v", s.reset, s.added)
	}
	if _, _, code := c.run(t, "quota", "add", "2KiB", "quotaUses/2"); code != 0 || s.added.GetAmount() != 2048 {
		t.Errorf("quota add 2KiB = %d, and added %v", code, s.added)
	}
	for args, want := range map[string]string{
		"reset":                     "QUOTA: give quotaUses/…, or --app, --api, --unit or --window to choose one; list them with: tidegate quota list",
		"reset quotaUses/1 --app x": "QUOTA: give its name, or flags that choose one",
		"reset quotaUses/3":         `QUOTA: there is no quota "quotaUses/3" that you may see; list them with: tidegate quota list`,
		"reset --unit bytes":        "QUOTA: 2 quotas are chosen: give one of quotaUses/1, quotaUses/2",
		"add none quotaUses/1":      `AMOUNT: "none" is not a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB`,
		"add 1KiB quotaUses/1":      `AMOUNT: "1KiB" is not a number of 1 or more, as 100`,
		"list --unit metres":        `--unit: "metres" is none of messages, bytes, sessions`,
		"events --limit 0":          "--limit: 0 is not between 1 and 1000",
	} {
		command, _, _ := strings.Cut(args, " ")
		if _, stderr, code := c.run(t, append([]string{"quota"}, strings.Fields(args)...)...); code == 0 || stderr != "tidegate: quota "+command+": "+want+"\n" {
			t.Errorf("tidegate quota %s = %q, %d, want %q", args, stderr, code, want)
		}
	}
	if _, _, code := c.run(t, "quota", "list", "--unit", "bytes", "--window", "day"); code != 0 || s.filter != `unit = "BYTES" AND window = "DAY"` {
		t.Errorf("the filter is %q", s.filter)
	}
}
