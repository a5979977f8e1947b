package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

func traffic(n uint64) *usagev1.Traffic {
	return &usagev1.Traffic{Messages: n, Frames: n + 1, PayloadBytes: n + 2, WireBytes: n + 3}
}

func usageReport(minute time.Time, app, sub, version string, n uint64) *backplanev1.UsageReport {
	return &backplanev1.UsageReport{
		Minute: timestamppb.New(minute), Application: app, Subscription: sub, Version: version, Plan: gold, Sessions: n,
		Inbound: traffic(n), Outbound: traffic(10 * n),
	}
}

// everything groups usage by all that it can be grouped by, and by the hour.
func everything(filter string) *usagev1.ListUsageRequest {
	return &usagev1.ListUsageRequest{
		Filter: filter, Step: durationpb.New(time.Hour), GroupBy: []string{"version", "application", "subscription", "plan"},
	}
}

func batch(n uint64) *backplanev1.Batch {
	return &backplanev1.Batch{Gateway: "gateway-1", BootId: "boot-1", Sequence: n}
}

func sessionRecord(ref, app, sub, version string, end time.Time) *usagev1.SessionRecord {
	return &usagev1.SessionRecord{
		Name: "sessionRecords/" + ref, Session: "gateways/gateway-1/sessions/s1", Version: version, Application: app, Subscription: sub,
		Grant: "grants/t1", ClientAddress: "192.0.2.1:40000", StartTime: timestamppb.New(end.Add(-time.Minute)), EndTime: timestamppb.New(end),
		EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REVOKED,
		CloseCodeFromClient: 1000, CloseCodeToClient: 4001, CloseCodeToBackend: 1001,
		Inbound: traffic(1), Outbound: traffic(2), LastInboundTime: timestamppb.New(end.Add(-time.Second)), Truncated: true, RouteChangeNumber: 7, Detail: "token revoked", Plan: gold,
		Limits:        []*usagev1.LimitUsage{{Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Plan: gold, Limit: "messages-rate", DroppedMessages: 7}},
		DecidingLimit: &usagev1.DecidingLimit{Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Plan: gold, Limit: "messages-rate", Detail: "7 of 7 used"},
	}
}

// unlabelled leaves out what users call what a record is about.
var unlabelled = protocmp.IgnoreFields(&usagev1.SessionRecord{}, "api_display_name", "version_string", "application_display_name", "username")

// TestUsage reports usage and records of Ann's application at Bob's version, and
// reads them as every kind of caller.
func TestUsage(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		// Nothing has told of the version yet: the catalog is asked.
		if list, err := w.usage.ListUsage(w.guest, &usagev1.ListUsageRequest{Filter: `version = "` + v1 + `"`}); err != nil || len(list.GetUsage()) > 0 {
			t.Errorf("ListUsage() of a version that is new = %v, %v, want none", list, err)
		}
		app := w.application(w.ann, "Chat").GetName()
		sub := w.subscribe(w.ann, app, v1).GetName()
		hour := w.now().Truncate(time.Hour)
		one := usageReport(hour, app, sub, v1, 1)
		open := usageReport(hour.Add(-time.Hour), "", "", v2, 5)
		before := w.head()
		for n := uint64(1); n <= 2; n++ {
			for _, duplicate := range []bool{false, true} {
				resp, err := w.gateway.metering.ReportUsage(t.Context(), &backplanev1.ReportUsageRequest{
					Batch: batch(n), Usage: []*backplanev1.UsageReport{one, open},
				})
				if err != nil || resp.GetDuplicate() != duplicate {
					t.Errorf("ReportUsage(%d) = %v, %v, want duplicate %v", n, resp, err, duplicate)
				}
			}
		}
		end := w.now()
		key := app + "/apiKeys/k"
		mine, open2 := sessionRecord("R-1", app, sub, v1, end), sessionRecord("R-2", "", "", v2, end.Add(time.Second))
		open2.Grant, open2.LastInboundTime, open2.EndReason = "", nil, usagev1.EndReason_END_REASON_IDLE
		mine.ApiKey = key
		for _, duplicate := range []bool{false, true} {
			resp, err := w.gateway.metering.ReportSessionRecords(t.Context(), &backplanev1.ReportSessionRecordsRequest{
				Batch: batch(1), SessionRecords: []*usagev1.SessionRecord{mine, open2},
			})
			if err != nil || resp.GetDuplicate() != duplicate {
				t.Errorf("ReportSessionRecords() = %v, %v, want duplicate %v", resp, err, duplicate)
			}
		}
		if w.head() != before {
			t.Error("a report is a change")
		}
		// Which token it was is for the application's owner.
		nameless := proto.CloneOf(mine)
		nameless.Grant = ""
		for _, tt := range []struct {
			name, filter string
			as           context.Context
			rows         int
			records      []*usagev1.SessionRecord
		}{
			{"application's owner", "", w.ann, 1, []*usagev1.SessionRecord{mine}},
			{"version's owner", "", w.bob, 1, []*usagev1.SessionRecord{nameless}},
			{"admin", "", w.root, 2, []*usagev1.SessionRecord{open2, mine}},
			{"stranger", "", w.guest, 0, nil},
			{"by application", `application = "` + app + `"`, w.root, 1, []*usagev1.SessionRecord{mine}},
			{"by version", `version = "` + v2 + `"`, w.root, 1, []*usagev1.SessionRecord{open2}},
			{"by subscription", `subscription = "` + sub + `"`, w.bob, 1, []*usagev1.SessionRecord{nameless}},
		} {
			usage, err := w.usage.ListUsage(tt.as, everything(tt.filter))
			if err != nil || len(usage.GetUsage()) != tt.rows {
				t.Errorf("%s: ListUsage() = %v, %v, want %d rows", tt.name, usage, err, tt.rows)
			}
			records, err := w.usage.ListSessionRecords(tt.as, &usagev1.ListSessionRecordsRequest{Filter: tt.filter})
			if diff := cmp.Diff(tt.records, records.GetSessionRecords(), protocmp.Transform(), unlabelled); err != nil || diff != "" {
				t.Errorf("%s: ListSessionRecords() = %v (-want +got):\n%s", tt.name, err, diff)
			}
		}
		for _, tt := range []struct {
			name, filter string
			as           context.Context
			records      int
			code         codes.Code
		}{
			{"application's owner", `api_key = "` + key + `"`, w.ann, 1, codes.OK},
			{"version's owner", `api_key = "` + key + `"`, w.bob, 1, codes.OK},
			{"administrator", `api_key = "` + key + `"`, w.root, 1, codes.OK},
			{"stranger", `api_key = "` + key + `"`, w.guest, 0, codes.NotFound},
			{"and its application", `api_key = "` + key + `" AND application = "` + app + `"`, w.ann, 1, codes.OK},
			{"and something else", `api_key = "` + key + `" AND end_reason = "SLOW"`, w.ann, 0, codes.OK},
			{"a key that never was", `api_key = "` + app + `/apiKeys/none"`, w.ann, 0, codes.NotFound},
			{"no name", `api_key = "k"`, w.ann, 0, codes.InvalidArgument},
		} {
			list, err := w.usage.ListSessionRecords(tt.as, &usagev1.ListSessionRecordsRequest{Filter: tt.filter})
			if got := list.GetSessionRecords(); status.Code(err) != tt.code || len(got) != tt.records {
				t.Errorf("records by the API key, %s: %v, %v, want %d and %s", tt.name, got, err, tt.records, tt.code)
			}
		}
		for as, rows := range map[context.Context]int{w.bob: 1, w.root: 2, w.guest: 0} { // v2 is not Bob's
			req := everything("")
			req.Versions = []string{v1, v2, "apis/none/versions/none"}
			if usage, err := w.usage.ListUsage(as, req); err != nil || len(usage.GetUsage()) != rows {
				t.Errorf("ListUsage() of some versions = %v, %v, want %d rows", usage, err, rows)
			}
		}
		usage, err := w.usage.ListUsage(w.ann, everything(""))
		w.must(err)
		sum := &usagev1.Usage{
			StartTime: timestamppb.New(hour), Application: app, Subscription: sub, Version: v1, Plan: gold, Sessions: 2,
			ApiDisplayName: "Echo", VersionString: "1.0.0", ApplicationDisplayName: "Chat", Username: "ann",
		}
		sum.Inbound = &usagev1.Traffic{Messages: 2, Frames: 4, PayloadBytes: 6, WireBytes: 8}
		sum.Outbound = &usagev1.Traffic{Messages: 20, Frames: 22, PayloadBytes: 24, WireBytes: 26}
		if diff := cmp.Diff([]*usagev1.Usage{sum}, usage.GetUsage(), protocmp.Transform()); diff != "" {
			t.Errorf("the sum of two batches (-want +got):\n%s", diff)
		}
		mine.ApiDisplayName, mine.VersionString, mine.ApplicationDisplayName, mine.Username = "Echo", "1.0.0", "Chat", "ann"
		got, err := w.usage.GetSessionRecord(w.ann, &usagev1.GetSessionRecordRequest{Name: mine.GetName()})
		if diff := cmp.Diff(mine, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("GetSessionRecord() = %v (-want +got):\n%s", err, diff)
		}
		for _, filter := range []string{`end_reason = "IDLE"`, `end_reason = "5"`} {
			idle, err := w.usage.ListSessionRecords(w.root, &usagev1.ListSessionRecordsRequest{Filter: filter})
			if err != nil || len(idle.GetSessionRecords()) != 1 {
				t.Errorf("ListSessionRecords(%s) = %v, %v", filter, idle, err)
			}
		}
		for _, tt := range []struct {
			start, end time.Time
			rows       int
		}{{hour, hour.Add(time.Hour), 1}, {hour.Add(-time.Hour), hour, 1}, {hour.Add(-time.Hour), hour.Add(1), 2}} {
			req := everything("")
			req.StartTime, req.EndTime = timestamppb.New(tt.start), timestamppb.New(tt.end)
			usage, err := w.usage.ListUsage(w.root, req)
			if err != nil || len(usage.GetUsage()) != tt.rows {
				t.Errorf("ListUsage(%v to %v) = %v, %v, want %d rows", tt.start, tt.end, usage, err, tt.rows)
			}
		}
		at := timestamppb.New(end)
		ended, err := w.usage.ListSessionRecords(w.root, &usagev1.ListSessionRecordsRequest{StartTime: at, EndTime: timestamppb.New(end.Add(time.Second))})
		if err != nil || len(ended.GetSessionRecords()) != 1 || ended.GetSessionRecords()[0].GetName() != mine.GetName() {
			t.Errorf("ListSessionRecords(a second) = %v, %v, want %s", ended, err, mine.GetName())
		}
		// Pages of one.
		var hours []time.Time
		req := everything("")
		req.PageSize = 1
		for {
			page, err := w.usage.ListUsage(w.root, req)
			w.must(err)
			hours = append(hours, page.GetUsage()[0].GetStartTime().AsTime())
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if diff := cmp.Diff([]time.Time{hour.Add(-time.Hour), hour}, hours); diff != "" {
			t.Errorf("pages of usage (-want +got):\n%s", diff)
		}
		first, err := w.usage.ListSessionRecords(w.root, &usagev1.ListSessionRecordsRequest{PageSize: 1})
		w.must(err)
		second, err := w.usage.ListSessionRecords(w.root, &usagev1.ListSessionRecordsRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
		if err != nil || second.GetSessionRecords()[0].GetName() != mine.GetName() || second.GetNextPageToken() != "" {
			t.Errorf("second page of records = %v, %v", second, err)
		}
	})
}

// TestUsageOfLimits reports what limits did, of every kind, and refused handshakes, and
// reads them by application: who would have been hit by a limit on observe, how often and
// since when.
func TestUsageOfLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		minute := w.now().Truncate(time.Minute)
		var names []string
		var reports []*backplanev1.UsageReport
		for i, display := range []string{"Chat", "Quiet", "Busy"} {
			app := w.application(w.ann, display).GetName()
			names = append(names, app)
			report := usageReport(minute, app, w.subscribe(w.ann, app, v1).GetName(), v1, 1)
			if n := uint64(10 * i); n > 0 {
				report.Limits = []*usagev1.LimitUsage{{
					Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Plan: gold, Limit: "messages-rate-observed", Pauses: n + 1, PausedMilliseconds: n + 2,
					DroppedMessages: n + 3, ClosedSessions: n + 4, RefusedHandshakes: n + 5, ObservedHits: n,
				}}
				report.RefusedHandshakes = []*usagev1.RefusedHandshakes{{Status: 429, Count: n}, {Status: 401, Count: 1}}
			}
			reports = append(reports, report)
		}
		for n := range uint64(2) {
			_, err := w.gateway.metering.ReportUsage(t.Context(), &backplanev1.ReportUsageRequest{Batch: batch(n + 1), Usage: reports})
			w.must(err)
			for _, r := range reports {
				r.Minute = timestamppb.New(minute.Add(-time.Hour))
			}
		}
		list, err := w.usage.ListUsage(w.bob, &usagev1.ListUsageRequest{
			StartTime: timestamppb.New(minute.Add(-2 * time.Hour)), GroupBy: []string{"application", "plan"}, Top: 5, OrderBy: "observed", Filter: `api = "apis/a" AND plan = "` + gold + `"`,
		})
		if err != nil || len(list.GetUsage()) != 2 || list.GetUsage()[0].GetApplication() != names[2] || list.GetUsage()[1].GetApplication() != names[1] {
			t.Fatalf("ListUsage(observed) = %v, %v, want %s and %s", list, err, names[2], names[1])
		}
		want := &usagev1.Usage{
			StartTime: timestamppb.New(minute.Add(-2 * time.Hour)), Application: names[2], Plan: gold, Sessions: 2,
			Inbound:  &usagev1.Traffic{Messages: 2, Frames: 4, PayloadBytes: 6, WireBytes: 8},
			Outbound: &usagev1.Traffic{Messages: 20, Frames: 22, PayloadBytes: 24, WireBytes: 26},
			Limits: []*usagev1.LimitUsage{{
				Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Plan: gold, Limit: "messages-rate-observed", Pauses: 42, PausedMilliseconds: 44,
				DroppedMessages: 46, ClosedSessions: 48, RefusedHandshakes: 50, ObservedHits: 40,
				FirstTime: timestamppb.New(minute.Add(-time.Hour)), LastTime: timestamppb.New(minute),
			}},
			RefusedHandshakes:      []*usagev1.RefusedHandshakes{{Status: 401, Count: 2}, {Status: 429, Count: 40}},
			ApplicationDisplayName: "Busy", Username: "ann",
		}
		if diff := cmp.Diff(want, list.GetUsage()[0], protocmp.Transform(), protocmp.IgnoreFields(&usagev1.Usage{}, "plan_display_name")); diff != "" {
			t.Errorf("ListUsage(observed) (-want +got):\n%s", diff)
		}
		// Pages of the most, and of all.
		for _, req := range []*usagev1.ListUsageRequest{{GroupBy: []string{"application"}, Top: 3, PageSize: 1}, {GroupBy: []string{"application"}, PageSize: 2}} {
			seen := 0
			for {
				page, err := w.usage.ListUsage(w.ann, req)
				w.must(err)
				if seen += len(page.GetUsage()); page.GetNextPageToken() == "" {
					break
				}
				req.PageToken = page.GetNextPageToken()
			}
			if seen != 3 {
				t.Errorf("ListUsage(top %d) = %d rows in pages of %d, want 3", req.GetTop(), seen, req.GetPageSize())
			}
		}
	})
}

// TestRecordsOfNewerGateways takes in what only a newer gateway knows: a party and
// an end reason by number, and a session without version and start.
func TestRecordsOfNewerGateways(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		record := sessionRecord("R-1", "", "", "", w.now())
		record.EndedBy, record.EndReason, record.StartTime = 42, 4711, nil
		_, err := w.gateway.metering.ReportSessionRecords(t.Context(), &backplanev1.ReportSessionRecordsRequest{
			Batch: batch(1), SessionRecords: []*usagev1.SessionRecord{record},
		})
		w.must(err)
		list, err := w.usage.ListSessionRecords(w.root, &usagev1.ListSessionRecordsRequest{Filter: `end_reason = "4711"`})
		if diff := cmp.Diff([]*usagev1.SessionRecord{record}, list.GetSessionRecords(), protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("ListSessionRecords() = %v (-want +got):\n%s", err, diff)
		}
	})
}

// TestRecordsLeftOut: whoever asks for a record of an hour of which records were left out
// is told so, with how many there were by reason, of those that the caller may see.
func TestRecordsLeftOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		w.subscribe(w.ann, w.application(w.ann, "Chat").GetName(), v1) // which makes the version known
		hour := w.now().Truncate(time.Hour)
		left := func(version, code string, reason usagev1.EndReason, n uint64) *backplanev1.LeftOut {
			return &backplanev1.LeftOut{Hour: timestamppb.New(hour), Version: version, EndReason: reason, Code: code, Count: n}
		}
		req := &backplanev1.ReportLeftOutRequest{Batch: batch(1), LeftOut: []*backplanev1.LeftOut{
			left(v1, "CREDENTIAL_INVALID", usagev1.EndReason_END_REASON_REFUSED, 4000),
			left(v1, "CREDENTIAL_INVALID", usagev1.EndReason_END_REASON_REFUSED, 21),
			left("", "NOT_FOUND", usagev1.EndReason_END_REASON_REFUSED, 3),
			left(v1, "", usagev1.EndReason_END_REASON_IDLE, 1),
			left(v1, "", 4711, 1), // of a newer gateway
		}}
		for _, duplicate := range []bool{false, true} {
			resp, err := w.gateway.metering.ReportLeftOut(t.Context(), req)
			if err != nil || resp.GetDuplicate() != duplicate {
				t.Errorf("ReportLeftOut() = %v, %v, want duplicate %t", resp, err, duplicate)
			}
		}
		made := ref.New(hour.Add(time.Minute))
		name := "sessionRecords/" + made
		from := hour.Format(time.RFC3339)
		for _, tt := range []struct {
			name, record string
			as           context.Context
			want, list   string
		}{
			{"administrator", name, w.root, "4021 CREDENTIAL_INVALID, 3 NOT_FOUND, 1 IDLE, 1 4711", "CREDENTIAL_INVALID=4021,NOT_FOUND=3,IDLE=1,4711=1"},
			{"version's owner", name, w.bob, "4021 CREDENTIAL_INVALID, 1 IDLE, 1 4711", "CREDENTIAL_INVALID=4021,IDLE=1,4711=1"},
			{"stranger", name, w.guest, "", ""},
			{"another hour", "sessionRecords/" + ref.New(hour.Add(-time.Second)), w.root, "", ""},
			{"no ref", "sessionRecords/R-1", w.root, "", ""},
		} {
			_, err := w.usage.GetSessionRecord(tt.as, &usagev1.GetSessionRecordRequest{Name: tt.record})
			s := status.Convert(err)
			want := tt.record + " not found"
			if tt.want != "" {
				want = "of the hour from " + from + ", these records were left out, as there were more than are kept: " + tt.want + "; " + name + " is one of them, or was never given: it is not found"
			}
			if s.Code() != codes.NotFound || s.Message() != want {
				t.Errorf("%s: GetSessionRecord() = %v %q, want NOT_FOUND %q", tt.name, s.Code(), s.Message(), want)
			}
			meta := map[string]string{}
			for _, d := range s.Details() {
				if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == "RECORD_LEFT_OUT" {
					meta = info.GetMetadata()
				}
			}
			if meta["leftOut"] != tt.list || tt.list != "" && meta["hour"] != from {
				t.Errorf("%s: GetSessionRecord() has the metadata %v, want %s and %s", tt.name, meta, from, tt.list)
			}
		}
		req.Batch, req.LeftOut[0].Hour = batch(2), timestamppb.New(hour.Add(time.Minute))
		if _, err := w.gateway.metering.ReportLeftOut(t.Context(), req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ReportLeftOut() of no hour = %v, want INVALID_ARGUMENT", err)
		}
	})
}

// TestRefusalsAreRead reports a refused handshake and reads it whole, alone and by filters.
func TestRefusalsAreRead(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		w.subscribe(w.ann, w.application(w.ann, "Chat").GetName(), v1) // which makes the version known
		refused := &usagev1.SessionRecord{
			Name: "sessionRecords/" + ref.New(w.now()), Session: "gateways/gateway-1/sessions/s1", Api: "apis/a", ClientAddress: "192.0.2.1:40000",
			EndTime: timestamppb.New(w.now()), EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REFUSED,
			Status: 404, Code: "NOT_FOUND", Host: "api.example", Path: "/a/9", UserAgent: "curl/8", Detail: "no such API or version",
			Inbound: &usagev1.Traffic{}, Outbound: &usagev1.Traffic{},
		}
		_, err := w.gateway.metering.ReportSessionRecords(t.Context(), &backplanev1.ReportSessionRecordsRequest{
			Batch: batch(1), SessionRecords: []*usagev1.SessionRecord{refused, sessionRecord("R-1", "", "", v1, w.now().Add(time.Second))},
		})
		w.must(err)
		refused.ApiDisplayName = "Echo" // that of the API, as there is no version
		got, err := w.usage.GetSessionRecord(w.bob, &usagev1.GetSessionRecordRequest{Name: refused.GetName()})
		if diff := cmp.Diff(refused, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("GetSessionRecord() = %v (-want +got):\n%s", err, diff)
		}
		for filter, want := range map[string]string{
			`refused = "true"`: refused.GetName(), `refused = "false"`: "sessionRecords/R-1", `code = "NOT_FOUND"`: refused.GetName(),
			`end_reason = "REFUSED"`: refused.GetName(),
		} {
			list, err := w.usage.ListSessionRecords(w.bob, &usagev1.ListSessionRecordsRequest{Filter: filter})
			if all := list.GetSessionRecords(); err != nil || len(all) != 1 || all[0].GetName() != want {
				t.Errorf("ListSessionRecords(%s) = %v, %v, want %s alone", filter, list, err, want)
			}
		}
		_, err = w.usage.ListSessionRecords(w.bob, &usagev1.ListSessionRecordsRequest{Filter: `refused = "maybe"`})
		if s := status.Convert(err); s.Message() != `filter: refused must be "true" or "false"` {
			t.Errorf("ListSessionRecords(maybe refused) = %v", err)
		}
	})
}
