package api_test

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

const (
	badSequence = "must be greater than or equal to 1 and less than or equal to 9223372036854775807"
	badCount    = "must be less than or equal to 1000000000000000"
	badCode     = "must be less than or equal to 65535"
	badText     = "must be at most 255 characters"
	badStep     = "step: must be whole minutes that divide an hour, whole hours that divide a day, or whole days"
	badTime     = "must be greater than or equal to 1970-01-01T00:00:01Z"
)

// endReasons are the words of all end reasons, and what else may be asked for.
func endReasons() string {
	text := ""
	for _, n := range slices.Sorted(maps.Keys(usagev1.EndReason_name))[1:] {
		text += strings.TrimPrefix(usagev1.EndReason_name[n], "END_REASON_") + ", "
	}
	return text + "and the numbers of newer gateways"
}

func TestGatewayRefusals(t *testing.T) {
	w := onSQLite(t)
	at := func(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
	none := t.Context()
	invalid := codes.InvalidArgument
	hour := w.now().Truncate(time.Hour)
	query := func(change func(*backplanev1.GrantQuery)) func(context.Context) error {
		q := &backplanev1.GrantQuery{Name: "grants/t", OauthClient: "applications/a/oauthClients/c", Version: v1, ExpireTime: timestamppb.New(hour)}
		change(q)
		return call(w.gateway.tokens.BatchGetGrants, &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{q}})
	}
	usage := func(change func(*backplanev1.UsageReport)) func(context.Context) error {
		good, bad := usageReport(hour, "", "", v1, 1), usageReport(hour, "", "", v1, 1)
		change(bad)
		return call(w.gateway.metering.ReportUsage, &backplanev1.ReportUsageRequest{Batch: batch(1), Usage: []*backplanev1.UsageReport{good, bad}})
	}
	records := func(change func(*usagev1.SessionRecord)) func(context.Context) error {
		good := sessionRecord("R", "", "", v1, hour)
		bad := proto.CloneOf(good)
		bad.Name = "sessionRecords/S"
		change(bad)
		return call(w.gateway.metering.ReportSessionRecords, &backplanev1.ReportSessionRecordsRequest{
			Batch: batch(1), SessionRecords: []*usagev1.SessionRecord{good, bad},
		})
	}
	reported := func(b *backplanev1.Batch) func(context.Context) error {
		return call(w.gateway.metering.ReportUsage, &backplanev1.ReportUsageRequest{Batch: b, Usage: []*backplanev1.UsageReport{usageReport(hour, "", "", v1, 1)}})
	}
	verify := w.gateway.tokens.VerifyCredential
	many := make([]*backplanev1.GrantQuery, 1001)
	for i := range many {
		many[i] = &backplanev1.GrantQuery{Name: "grants/t", OauthClient: "applications/a/oauthClients/c", Version: v1, ExpireTime: timestamppb.New(hour)}
	}
	w.check(t, []refusal{
		{"verify nothing", none, call(verify, &backplanev1.VerifyCredentialRequest{Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2}), invalid, "credential: must be at least 1 characters"},
		{"verify too much", none, call(verify, &backplanev1.VerifyCredentialRequest{Credential: long(8193), Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2}), invalid,
			"credential: must be at most 8192 bytes"},
		{"verify for no scheme", none, call(verify, &backplanev1.VerifyCredentialRequest{Credential: "x", Version: v1}), invalid, "scheme: is required"},
		{"verify for an unknown scheme", none, call(verify, &backplanev1.VerifyCredentialRequest{Credential: "x", Version: v1, Scheme: 99}), invalid,
			"scheme: is not one of the defined values"},
		{"verify for no version", none, call(verify, &backplanev1.VerifyCredentialRequest{Credential: "x", Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2}), invalid,
			"version: must be apis/{api}/versions/{version}"},
		{"no grants", none, call(w.gateway.tokens.BatchGetGrants, &backplanev1.BatchGetGrantsRequest{}), invalid,
			"grants: must contain at least 1 item(s)"},
		{"too many grants", none, call(w.gateway.tokens.BatchGetGrants, &backplanev1.BatchGetGrantsRequest{Grants: many}), invalid,
			"grants: must contain no more than 1000 item(s)"},
		{"a grant of a bad name", none, query(func(q *backplanev1.GrantQuery) { q.Name = "t" }), invalid, "grants[0].name: must be grants/{grant}"},
		{"a grant of a bad OAuth client", none, query(func(q *backplanev1.GrantQuery) { q.OauthClient = "c" }), invalid,
			"grants[0].oauth_client: must be applications/{application}/oauthClients/{oauth_client}"},
		{"a grant of a bad API key", none, query(func(q *backplanev1.GrantQuery) { q.ApiKey = "k" }), invalid,
			"grants[0].api_key: must be applications/{application}/apiKeys/{api_key}"},
		{"a grant without an end", none, query(func(q *backplanev1.GrantQuery) { q.ExpireTime = nil }), invalid, "grants[0].expire_time: is required"},
		{"a grant with an impossible end", none, query(func(q *backplanev1.GrantQuery) {
			q.ExpireTime = &timestamppb.Timestamp{Seconds: math.MaxInt64}
		}), invalid, "grants[0].expire_time: must be a time"},

		{"report without a batch", none, reported(nil), invalid, "batch: is required"},
		{"report a bad batch", none, reported(&backplanev1.Batch{Gateway: "G"}), invalid,
			"batch.gateway: must be 1 to 63 characters of a-z, 0-9 and -, the first and the last a letter or a digit; " +
				"batch.boot_id: must be at least 1 characters; batch.sequence: " + badSequence},
		{"report a batch beyond numbers", none, reported(&backplanev1.Batch{Gateway: "g", BootId: "b", Sequence: math.MaxUint64}), invalid,
			"batch.sequence: " + badSequence},
		{"report no usage", none, call(w.gateway.metering.ReportUsage, &backplanev1.ReportUsageRequest{Batch: batch(1)}), invalid,
			"usage: must contain at least 1 item(s)"},
		{"report usage of no version", none, usage(func(u *backplanev1.UsageReport) { u.Version = "x" }), invalid,
			"usage[1].version: must be apis/{api}/versions/{version}"},
		{"report usage of no minute", none, usage(func(u *backplanev1.UsageReport) { u.Minute = nil }), invalid, "usage[1].minute: is required"},
		{"report usage of the beginning of time", none, usage(func(u *backplanev1.UsageReport) { u.Minute.Seconds = 0 }), invalid, "usage[1].minute: " + badTime},
		{"report usage of an impossible minute", none, usage(func(u *backplanev1.UsageReport) { u.Minute.Seconds = 1e12 }), invalid,
			"usage[1].minute: must be a time"},
		{"report usage of a second", none, usage(func(u *backplanev1.UsageReport) { u.Minute.Seconds++ }), invalid, "usage[1].minute: must be the start of a minute"},
		{"report usage of bad names", none, usage(func(u *backplanev1.UsageReport) { u.Application, u.Subscription = "a", "s" }), invalid,
			"usage[1].application: must be applications/{application}; usage[1].subscription: must be subscriptions/{subscription}"},
		{"report too much", none, usage(func(u *backplanev1.UsageReport) { u.Inbound.Messages, u.Sessions = math.MaxUint64, 1e15+1 }), invalid,
			"usage[1].sessions: " + badCount + "; usage[1].inbound.messages: " + badCount},
		{"report too much of everything", none, usage(func(u *backplanev1.UsageReport) {
			u.Outbound = &usagev1.Traffic{Messages: 1e15, Frames: 1e15 + 1, PayloadBytes: 1e15 + 1, WireBytes: 1e15 + 1}
		}), invalid, "usage[1].outbound.frames: " + badCount + "; usage[1].outbound.payload_bytes: " + badCount +
			"; usage[1].outbound.wire_bytes: " + badCount},

		{"report no records", none, call(w.gateway.metering.ReportSessionRecords, &backplanev1.ReportSessionRecordsRequest{Batch: batch(1)}), invalid,
			"session_records: must contain at least 1 item(s)"},
		{"report a record without a name", none, records(func(r *usagev1.SessionRecord) { r.Name = "" }), invalid,
			"session_records[1].name: must be sessionRecords/{session_record}"},
		{"report a record of bad names", none, records(func(r *usagev1.SessionRecord) {
			r.Version, r.Application, r.Subscription = "v", "a", "s"
		}), invalid, "session_records[1].version: must be apis/{api}/versions/{version}; " +
			"session_records[1].application: must be applications/{application}; " +
			"session_records[1].subscription: must be subscriptions/{subscription}"},
		{"report a record without an end", none, records(func(r *usagev1.SessionRecord) { r.StartTime, r.EndTime = nil, nil }), invalid,
			"session_records[1].end_time: is required"},
		{"report a record with the beginning of time", none, records(func(r *usagev1.SessionRecord) {
			r.EndTime, r.LastInboundTime = &timestamppb.Timestamp{}, &timestamppb.Timestamp{Seconds: -1}
		}), invalid, "session_records[1].end_time: " + badTime + "; session_records[1].last_inbound_time: " + badTime},
		{"report a record with impossible times", none, records(func(r *usagev1.SessionRecord) {
			r.EndTime.Nanos, r.LastOutboundTime = 1e9, &timestamppb.Timestamp{Seconds: 1e12}
		}), invalid, "session_records[1].end_time: must be a time; session_records[1].last_outbound_time: must be a time"},
		{"report a record with long texts", none, records(func(r *usagev1.SessionRecord) {
			r.Session, r.Grant, r.ClientAddress, r.Detail = long(256), long(256), long(256), long(256)
		}), invalid, "session_records[1].session: " + badText + "; session_records[1].grant: " + badText +
			"; session_records[1].client_address: " + badText + "; session_records[1].detail: " + badText},
		{"report a record with bad codes", none, records(func(r *usagev1.SessionRecord) {
			r.CloseCodeFromClient, r.CloseCodeToClient, r.CloseCodeFromBackend, r.CloseCodeToBackend = 65536, 65536, 65536, math.MaxUint32
		}), invalid, "session_records[1].close_code_from_client: " + badCode + "; session_records[1].close_code_to_client: " + badCode +
			"; session_records[1].close_code_from_backend: " + badCode + "; session_records[1].close_code_to_backend: " + badCode},
		{"report a record of a huge change number", none, records(func(r *usagev1.SessionRecord) { r.RouteChangeNumber = 1e15 + 1 }), invalid,
			"session_records[1].route_change_number: " + badCount},
		{"report a record with NUL", none, records(func(r *usagev1.SessionRecord) { r.Detail = "\x00" }), invalid,
			"session_records[1].detail: " + noNUL},

		{"get a record of a bad name", w.ann, call(w.usage.GetSessionRecord, &usagev1.GetSessionRecordRequest{Name: "x"}), invalid,
			"name: must be sessionRecords/{session_record}"},
		{"get an unknown record", w.ann, call(w.usage.GetSessionRecord, &usagev1.GetSessionRecordRequest{Name: "sessionRecords/X"}), codes.NotFound,
			"sessionRecords/X not found"},
		{"list records by a reason that is none", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{Filter: `end_reason = "TIRED"`}), invalid,
			`filter: no end_reason "TIRED": there are ` + endReasons()},
		{"list records by the reason that is not set", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{Filter: `end_reason = "UNSPECIFIED"`}), invalid,
			`filter: no end_reason "UNSPECIFIED": there are ` + endReasons()},
		{"list records that end before they begin", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{StartTime: at(2), EndTime: at(1)}), invalid,
			"end_time: must be after start_time"},
		{"list usage of no time", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{StartTime: at(1), EndTime: at(1)}), invalid,
			"end_time: must be after start_time"},
		{"list usage of before 1970", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{StartTime: at(-1)}), invalid, "start_time: must be after 1970 began"},
		{"list usage by 7 minutes", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Step: durationpb.New(7 * time.Minute)}), invalid, badStep},
		{"list usage by 90 minutes", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Step: durationpb.New(90 * time.Minute)}), invalid, badStep},
		{"list usage by 36 hours", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Step: durationpb.New(36 * time.Hour)}), invalid, badStep},
		{"list usage by a second more than a day", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Step: durationpb.New(24*time.Hour + time.Second)}), invalid, badStep},
		{"list usage by a second", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Step: durationpb.New(time.Second)}), invalid,
			"step: must be greater than or equal to 60s and less than or equal to 34560000s"},
		{"list usage by owner", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{GroupBy: []string{"owner"}}), invalid,
			"group_by[0]: must be in list [api, version, application, subscription, plan]"},
		{"list usage by plan twice", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{GroupBy: []string{"plan", "plan"}}), invalid,
			"group_by: must not have the same value twice"},
		{"list usage in an order without a top", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{OrderBy: "bytes"}), invalid,
			"order_by: says what top compares: set top too, or neither"},
		{"list usage in no order", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Top: 1, OrderBy: "age"}), invalid,
			"order_by: must be in list [messages, bytes, sessions, dropped, paused, refused, observed]"},
		{"list the top 101 of usage", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Top: 101}), invalid,
			"top: must be greater than or equal to 0 and less than or equal to 100"},
		{"list usage of an API that is not there", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `api = "apis/none"`}), codes.NotFound,
			"apis/none not found"},
		{"list usage of a plan that is not there", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `plan = "plans/none"`}), codes.NotFound,
			"plans/none not found"},
		{"list usage of a version that is not there", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `version = "apis/a/versions/none"`}), codes.NotFound,
			"apis/a/versions/none not found"},
		{"list records of an application that is not there", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{Filter: `application = "applications/none"`}), codes.NotFound,
			"applications/none not found"},
		{"list subscriptions of an application that is not there", w.ann, call(w.subs.ListSubscriptions, &subscriptionv1.ListSubscriptionsRequest{Filter: `application = "applications/none"`}), codes.NotFound,
			"applications/none not found"},
		{"list usage by what is not there", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `hour = "1"`}), invalid,
			`filter: no field "hour": there are subscription, application, version, api, plan`},
		{"list usage by a bad subscription", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `subscription = "1"`}), invalid,
			"filter: subscription must be subscriptions/{subscription}"},
		{"list usage by a bad version", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{Filter: `version = "apis/a"`}), invalid,
			"filter: version must be apis/{api}/versions/{version}"},
		{"list records by a bad version", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{
			Filter: `version = "apis/a/versions/"`}), invalid, "filter: version must be apis/{api}/versions/{version}"},
		{"list less than nothing of records", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{PageSize: -1}), invalid, badPageSize},
		{"list records by a field twice", w.ann, call(w.usage.ListSessionRecords, &usagev1.ListSessionRecordsRequest{
			Filter: `end_reason = "IDLE" AND end_reason = "SLOW"`}), invalid, `filter: has the field "end_reason" twice`},
	})
}

// TestOAuthRefusals covers what the rules of the protos refuse, TestTokenRefusals
// the rest.
func TestOAuthRefusals(t *testing.T) {
	w := onSQLite(t)
	c := &oauth2v1.ClientCredentials{ClientId: long(129), ClientSecret: long(129)}
	const client = "client_credentials.client_id: must be at most 128 characters; client_credentials.client_secret: must be at most 128 characters"
	w.check(t, []refusal{
		{"token: too long", t.Context(), call(w.oauth.IssueToken, &oauth2v1.IssueTokenRequest{GrantType: long(129), ClientCredentials: c, Scope: long(1025)}),
			codes.InvalidArgument, "grant_type: must be at most 128 characters; " + client + "; scope: must be at most 1024 characters"},
		{"revoke: too long", t.Context(), call(w.oauth.RevokeToken, &oauth2v1.RevokeTokenRequest{Token: long(8193), ClientCredentials: c}),
			codes.InvalidArgument, "token: must be at most 8192 characters; " + client},
		{"introspect: too long", t.Context(), call(w.oauth.IntrospectToken, &oauth2v1.IntrospectTokenRequest{Token: long(8193), ClientCredentials: c}),
			codes.InvalidArgument, "token: must be at most 8192 characters; " + client},
		{"token: NUL", t.Context(), call(w.oauth.IssueToken, &oauth2v1.IssueTokenRequest{
			GrantType: "client_credentials", ClientCredentials: &oauth2v1.ClientCredentials{ClientId: "\x00"}}),
			codes.InvalidArgument, "client_credentials.client_id: " + noNUL},
	})
}
