package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// records has the record of one refusal, says of another that it was left out, and knows
// no more.
type records struct {
	usagev1.UnimplementedUsageServiceServer
	asked chan string // filters of lists
}

var refusedOne = &usagev1.SessionRecord{
	Name: "sessionRecords/kept", Session: "gateways/g/sessions/kept", EndedBy: usagev1.SessionRecord_PARTY_GATEWAY,
	EndReason: usagev1.EndReason_END_REASON_REFUSED, Status: 401, Code: "CREDENTIAL_INVALID", Detail: "the credential is not valid: it has expired",
	Host: "api.example", Path: "/echo/1.0.0", UserAgent: "curl/8", LeftOut: 4,
}

// fullOne is shown to who may see the limit that refused it.
var fullOne = &usagev1.SessionRecord{
	Name: "sessionRecords/full", EndReason: usagev1.EndReason_END_REASON_REFUSED, Status: 429, Code: "CONNECTIONS_FULL", Detail: "the API's own limit is reached",
	DecidingLimit: &usagev1.DecidingLimit{Place: catalogv1.PlanPlace_PLAN_PLACE_VERSION, Plan: "plans/all", Limit: "connections", Detail: "5 of 5 used"},
}

// throttledOne is a session that a limit has ended.
var throttledOne = &usagev1.SessionRecord{
	Name: "sessionRecords/throttled", EndReason: usagev1.EndReason_END_REASON_THROTTLED, Detail: "a limit of the subscription",
	DecidingLimit: &usagev1.DecidingLimit{Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Plan: "plans/gold", Limit: "messages-rate"},
	Renewals:      2, RenewTime: timestamppb.New(time.Date(2026, 11, 2, 10, 15, 0, 0, time.UTC)),
}

const leftOutText = "of the hour from 2026-11-21T09:00:00Z, these records were left out, as there were more than are kept: 4021 CREDENTIAL_INVALID"

func (*records) GetSessionRecord(_ context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	switch req.GetName() {
	case refusedOne.GetName():
		return refusedOne, nil
	case fullOne.GetName():
		return fullOne, nil
	case throttledOne.GetName():
		return throttledOne, nil
	case "sessionRecords/left":
		st, err := status.New(codes.NotFound, leftOutText).WithDetails(&errdetails.ErrorInfo{Reason: "RECORD_LEFT_OUT", Domain: "tidegate"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	return nil, status.Error(codes.NotFound, "not found")
}

func (r *records) ListSessionRecords(_ context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	r.asked <- req.GetFilter()
	return &usagev1.ListSessionRecordsResponse{SessionRecords: []*usagev1.SessionRecord{refusedOne}}, nil
}

// TestRefusalsAreExplained: a record says what was refused and why, one that was left out
// what is known of its hour, and a list can be of refusals alone.
func TestRefusalsAreExplained(t *testing.T) {
	t.Parallel()
	fake := &records{asked: make(chan string, 1)}
	c := newFakeServer(t, func(srv *grpc.Server) { usagev1.RegisterUsageServiceServer(srv, fake) }).signIn(t)
	for ref, want := range map[string]struct {
		out, err string
		code     int
	}{
		"kept":      {"CREDENTIAL_INVALID\nDetail the credential is not valid: it has expired\nLeft out 4 later refusals of this API with this code", "", 0},
		"full":      {"CONNECTIONS_FULL\nDetail the API's own limit is reached\nLeft out -\nDecided by version, plans/all connections: 5 of 5 used", "", 0},
		"left":      {"", leftOutText, 1},
		"throttled": {"Left out -\nRenewed 2 times, last at " + when(throttledOne.GetRenewTime()) + "\nDecided by subscription, plans/gold messages-rate\n", "", 0},
		"other":     {"", "there is no record \"other\" that you may see", 1},
	} {
		stdout, stderr, code := c.run(t, "record", "get", ref)
		lines := strings.Split(stdout, "\n")
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		if code != want.code || !strings.Contains(strings.Join(lines, "\n"), want.out) || !strings.Contains(stderr, want.err) {
			t.Errorf("record get %s = %q, %q, %d, want %q, %q, %d", ref, stdout, stderr, code, want.out, want.err, want.code)
		}
	}
	stdout, stderr, code := c.run(t, "record", "list", "--refused")
	if asked := <-fake.asked; code != 0 || asked != `refused = "true"` || !strings.Contains(stdout, "CREDENTIAL_INVALID") || !strings.Contains(stdout, "401") {
		t.Errorf("record list --refused = %q, %q, %d, and the filter is %s", stdout, stderr, code, asked)
	}
}

// limitsWorld has a live session and records that limits did something to, and one of each
// that they did nothing to.
type limitsWorld struct {
	usagev1.UnimplementedUsageServiceServer
	gatewayv1.UnimplementedSessionServiceServer

	sessions *gatewayv1.ListSessionsResponse
	records  *usagev1.ListSessionRecordsResponse
}

func (w *limitsWorld) ListSessions(context.Context, *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	return w.sessions, nil
}

func (w *limitsWorld) GetSession(context.Context, *gatewayv1.GetSessionRequest) (*gatewayv1.Session, error) {
	return w.sessions.GetSessions()[0], nil
}

func (w *limitsWorld) ListSessionRecords(context.Context, *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	return w.records, nil
}

func (w *limitsWorld) GetSessionRecord(_ context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	for _, r := range w.records.GetSessionRecords() {
		if r.GetName() == req.GetName() {
			return r, nil
		}
	}
	return nil, status.Error(codes.NotFound, "not found")
}

// TestWhatLimitsDid: lists of sessions and of records have a column of what limits did,
// where they did anything, and a session or record a line for each limit that did.
func TestWhatLimitsDid(t *testing.T) {
	t.Parallel()
	const (
		held = `plan:"plans/gold" limits:{place:PLAN_PLACE_SUBSCRIPTION plan:"plans/gold" limit:"messages-rate" pauses:1 paused_milliseconds:1500}
			limits:{place:PLAN_PLACE_VERSION plan:"plans/harbour" limit:"messages-per-day" dropped_messages:7 observed_hits:2}
			limits:{place:PLAN_PLACE_APPLICATION plan:"plans/iron" limit:"connections"}`
		lines   = "Limit subscription, plans/gold messages-rate: paused 1 time for 1.5s\nLimit version, plans/harbour messages-per-day: 7 dropped and 2 observed\n"
		words   = "paused 1 time for 1.5s, 7 dropped and 2 observed"
		refused = `code:"CONNECTIONS_FULL" status:429 limits:{place:PLAN_PLACE_SUBSCRIPTION plan:"plans/gold" limit:"connections" refused_handshakes:1}`
	)
	w := &limitsWorld{
		sessions: fill(t, &gatewayv1.ListSessionsResponse{}, `
			sessions:{name:"gateways/g/sessions/s1" paused_since_time:{seconds:60} inbound:{messages:1 payload_bytes:1} traffic_plan:"plans/harbour" `+held+`}
			sessions:{name:"gateways/g/sessions/s2"}`),
		records: fill(t, &usagev1.ListSessionRecordsResponse{}, `
			session_records:{name:"sessionRecords/r1" end_reason:END_REASON_THROTTLED `+held+`}
			session_records:{name:"sessionRecords/r2" `+refused+`}
			session_records:{name:"sessionRecords/r3"}`),
	}
	c := newFakeServer(t, func(srv *grpc.Server) {
		usagev1.RegisterUsageServiceServer(srv, w)
		gatewayv1.RegisterSessionServiceServer(srv, w)
	}).signIn(t)
	run := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := c.run(t, args...)
		if code != 0 {
			t.Errorf("tidegate %s = %q, %d", strings.Join(args, " "), stderr, code)
		}
		rows := strings.Split(stdout, "\n")
		for i := range rows {
			rows[i] = strings.Join(strings.Fields(rows[i]), " ")
		}
		return strings.Join(rows, "\n")
	}
	for args, wants := range map[string][]string{
		"session list":  {" NAME LIMITS\n", " gateways/g/sessions/s1 paused now and " + words + "\n", " gateways/g/sessions/s2 -\n"},
		"record list":   {" REF LIMITS\n", " r1 " + words + "\n", " r2 1 refused\n", " r3 -\n"},
		"session get s": {"\nIn 1 message, 1 byte\nOut 0 messages, 0 bytes\nPlan plans/gold\n", "\nTraffic plan plans/harbour\nPaused since ", "\n" + lines},
		"record get r1": {"\nReason THROTTLED\n", "\n" + lines},
		"record get r2": {"\nCode CONNECTIONS_FULL\n", "\nLimit subscription, plans/gold connections: 1 refused\n"},
	} {
		got := run(strings.Fields(args)...)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("tidegate %s:\n%s\nwant %q", args, got, want)
			}
		}
	}
	w.sessions.Sessions, w.records.SessionRecords = w.sessions.GetSessions()[1:], w.records.GetSessionRecords()[2:]
	for _, args := range []string{"session list", "session get s", "record list", "record get r3"} {
		if got := run(strings.Fields(args)...); strings.Contains(strings.ToUpper(got), "LIMIT") {
			t.Errorf("tidegate %s, where limits did nothing:\n%s", args, got)
		}
	}
}
