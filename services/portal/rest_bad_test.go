package portal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

const jsonType = "application/json"

// badRequest is a request that REST must refuse, and how.
type badRequest struct {
	name    string
	request []string // method, path, body, then headers; a body comes with its Content-Type unless headers are given
	status  int
	code    codes.Code
	message string
}

func get(path string) []string   { return []string{"GET", path, ""} }
func post(body string) []string  { return []string{"POST", "/v1/apis", body} }
func patch(body string) []string { return []string{"PATCH", "/v1/apis/a1/versions/v1", body} }

// TestRESTRefusesRequests sends what has no route, no right form or no right to
// be sent.
func TestRESTRefusesRequests(t *testing.T) {
	start(t).refuses(t, []badRequest{
		{"unknown path", get("/v1/nothing"), 404, codes.NotFound, "the path /v1/nothing was not found"},
		{"unknown path outside", get("/nothing"), 404, codes.NotFound, "the path /nothing was not found"},
		{"no path", get("/v1/"), 404, codes.NotFound, "the path /v1/ was not found"},
		{"path that is not UTF-8", get("/v1/%ff"), 404, codes.NotFound, "the path /v1/? was not found"},
		{"slash in an id", get("/v1/apis/a%2fversions"), 404, codes.NotFound, "the path /v1/apis/a/versions was not found"},
		{"unknown verb", []string{"POST", "/v1/apis/a1/versions/v1:retire", ""}, 404, codes.NotFound, "the path /v1/apis/a1/versions/v1:retire was not found"},
		{"wrong method", []string{"PUT", "/v1/apis", ""}, 405, codes.Unimplemented, "the method PUT is not allowed here, only GET, HEAD, POST"},
		{"wrong method of one object", []string{"POST", "/v1/apis/a1", "{}"}, 405, codes.Unimplemented, "the method POST is not allowed here, only GET, HEAD, PATCH, DELETE"},
		{"wrong method of a verb", get("/v1/users:signIn"), 405, codes.Unimplemented, "the method GET is not allowed here, only POST"},
		{"preflight", []string{"OPTIONS", "/v1/apis", "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST"}, 405, codes.Unimplemented, "the method OPTIONS is not allowed here, only GET, HEAD, POST"},
		{"override of the method", []string{"POST", "/v1/apis/a1", "x=1", "X-HTTP-Method-Override", "DELETE", "Content-Type", "application/x-www-form-urlencoded"}, 405, codes.Unimplemented, "the method POST is not allowed here, only GET, HEAD, PATCH, DELETE"},

		{"no content type", []string{"POST", "/v1/apis", "{}", "X-None", ""}, 415, codes.InvalidArgument, "the body needs one Content-Type: application/json"},
		{"two content types", []string{"POST", "/v1/apis", "{}", "Content-Type", jsonType, "Content-Type", jsonType}, 415, codes.InvalidArgument, "the body needs one Content-Type: application/json"},
		{"form", []string{"POST", "/v1/apis", "a=b", "Content-Type", "application/x-www-form-urlencoded"}, 415, codes.InvalidArgument, `the Content-Type must be application/json, not "application/x-www-form-urlencoded"`},
		{"other charset", []string{"POST", "/v1/apis", "{}", "Content-Type", "application/json; charset=latin1"}, 415, codes.InvalidArgument, `the Content-Type must be application/json, not "application/json; charset=latin1"`},
		{"compressed", []string{"POST", "/v1/apis", "{}", "Content-Type", jsonType, "Content-Encoding", "gzip"}, 415, codes.InvalidArgument, "the body must be sent without a Content-Encoding"},
		{"too large", post(`{"description":"` + strings.Repeat("x", 1<<20) + `"}`), 413, codes.InvalidArgument, "the body must have at most 1048576 bytes"},
		{"body of a GET", []string{"GET", "/v1/apis", "{}"}, 400, codes.InvalidArgument, "this method takes no body"},
		{"body of a DELETE", []string{"DELETE", "/v1/apis/a1", "{}"}, 400, codes.InvalidArgument, "this method takes no body"},

		{"two authorizations", []string{"GET", "/v1/apis", "", "Authorization", "Bearer a", "Authorization", "Bearer b"}, 401, codes.Unauthenticated, "the request carries more than one authorization"},
		{"authorization that is not ASCII", []string{"GET", "/v1/apis", "", "Authorization", "Bearer é"}, 401, codes.Unauthenticated, "the authorization must be Bearer, a space and a token"},

		{"wrong method of a document", []string{"POST", "/openapi.json", "{}"}, 405, codes.Unimplemented, "the method POST is not allowed here, only GET, HEAD"},
		{"wrong method of the first page", []string{"DELETE", "/", ""}, 405, codes.Unimplemented, "the method DELETE is not allowed here, only GET, HEAD"},
	})
}

// TestRESTRefusesBodies sends bodies that do not fit their method.
func TestRESTRefusesBodies(t *testing.T) {
	start(t).refuses(t, []badRequest{
		{"no JSON", post("hello"), 400, codes.InvalidArgument, "the body is not valid JSON: syntax error at byte 1"},
		{"cut off", post(`{"displayName":`), 400, codes.InvalidArgument, "the body is not valid JSON: syntax error at byte 15"},
		{"more after the end", post(`{} {}`), 400, codes.InvalidArgument, "the body is not valid JSON: syntax error at byte 4"},
		{"not UTF-8", post("{\"displayName\":\"\xff\"}"), 400, codes.InvalidArgument, "the body is not UTF-8"},
		{"half a character", post(`{"displayName":"\ud800"}`), 400, codes.InvalidArgument, `displayName: has half a character, as \ud800`},
		{"number with a sign", []string{"POST", "/v1/plans", `{"limits":[{"rate":{"amount":"+5"}}]}`}, 400, codes.InvalidArgument, "limits[0].rate.amount: must be a whole number"},
		{"number with an exponent", []string{"POST", "/v1/plans", `{"limits":[{"rate":{"amount":1e3}}]}`}, 400, codes.InvalidArgument, "limits[0].rate.amount: must be a whole number"},
		{"list", post("[]"), 400, codes.InvalidArgument, "the body must be a JSON object"},
		{"null", post("null"), 400, codes.InvalidArgument, "the body must be a JSON object"},
		{"too deep", post(strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), 400, codes.InvalidArgument, "the body is not valid JSON: syntax error at byte 10001"},
		{"unknown field", post(`{"displayname":"x"}`), 400, codes.InvalidArgument, "displayname: unknown field"},
		{"unknown field inside", patch(`{"endpoints":{"test":"x"}}`), 400, codes.InvalidArgument, "endpoints.test: unknown field"},
		{"several mistakes", patch(`{"tags":"x","plans":[1],"nope":1}`), 400, codes.InvalidArgument, "tags: must be a list; plans[0]: must be a string; nope: unknown field"},
		{"many mistakes", post(many(1000)), 400, codes.InvalidArgument, strings.TrimSuffix(strings.Repeat("x: unknown field; ", 20), "; ")},
		{"long unknown field", post(`{"` + strings.Repeat("é", 100) + `":1}`), 400, codes.InvalidArgument, strings.Repeat("é", 64) + "…: unknown field"},
		{"field twice", post(`{"displayName":"x","displayName":"y"}`), 400, codes.InvalidArgument, "displayName: is given more than once"},
		{"field twice by both names", post(`{"displayName":"x","display_name":"y"}`), 400, codes.InvalidArgument, "displayName: is given more than once"},
		{"number for a string", post(`{"displayName":5}`), 400, codes.InvalidArgument, "displayName: must be a string"},
		{"object for a string", post(`{"displayName":{}}`), 400, codes.InvalidArgument, "displayName: must be a string"},
		{"null in a list", patch(`{"tags":[null]}`), 400, codes.InvalidArgument, "tags[0]: must be a string"},
		{"list for a map", []string{"POST", "/v1/plans", `{"attributes":["x"]}`}, 400, codes.InvalidArgument, "attributes: must be an object"},
		{"key twice in a map", []string{"POST", "/v1/plans", `{"attributes":{"a":"1","a":"2"}}`}, 400, codes.InvalidArgument, `attributes["a"]: is given more than once`},
		{"number in a map of strings", []string{"POST", "/v1/plans", `{"attributes":{"a":1}}`}, 400, codes.InvalidArgument, `attributes["a"]: must be a string`},
		{"string for an object", patch(`{"endpoints":"ws://x"}`), 400, codes.InvalidArgument, "endpoints: must be an object"},
		{"unknown word", []string{"POST", "/v1/users", `{"user":{"roles":["ADMIN"]}}`}, 400, codes.InvalidArgument,
			"user.roles[0]: must be one of ROLE_ADMIN, ROLE_CREATOR, ROLE_PUBLISHER, ROLE_SUBSCRIBER"},
		{"number for a word", []string{"POST", "/v1/users", `{"user":{"roles":[1]}}`}, 400, codes.InvalidArgument,
			"user.roles[0]: must be one of ROLE_ADMIN, ROLE_CREATOR, ROLE_PUBLISHER, ROLE_SUBSCRIBER"},
		{"no duration", patch(`{"maxSessionAge":"1h"}`), 400, codes.InvalidArgument, `maxSessionAge: must be a number of seconds, as "90s"`},
		{"no time", patch(`{"createTime":"yesterday"}`), 400, codes.InvalidArgument, `createTime: must be a time, as "2026-01-31T23:59:59Z"`},
		{"no number", []string{"POST", "/v1/plans", `{"limits":[{"rate":{"amount":"many"}}]}`}, 400, codes.InvalidArgument, "limits[0].rate.amount: must be a whole number"},
		{"part of a number", []string{"POST", "/v1/plans", `{"limits":[{"rate":{"amount":1.5}}]}`}, 400, codes.InvalidArgument, "limits[0].rate.amount: must be a whole number"},
		{"too large a number", []string{"POST", "/v1/plans", `{"limits":[{"rate":{"amount":9223372036854775808}}]}`}, 400, codes.InvalidArgument, "limits[0].rate.amount: must be a whole number"},
		{"another name in the body", patch(`{"name":"apis/a2/versions/v1"}`), 400, codes.InvalidArgument, "name: differs from the one in the path"},
		{"another name in a verb's body", []string{"POST", "/v1/apis/a1/versions/v1:publish", `{"name":"x"}`}, 400, codes.InvalidArgument, "name: differs from the one in the path"},
	})
}

// TestRESTRefusesParameters sends parameters that do not fit their method.
func TestRESTRefusesParameters(t *testing.T) {
	start(t).refuses(t, []badRequest{
		{"unknown parameter", get("/v1/apis?limit=5"), 400, codes.InvalidArgument, "limit: is not a parameter of this method"},
		{"parameter beside a body", []string{"POST", "/v1/apis?displayName=x", "{}"}, 400, codes.InvalidArgument, "displayName: is not a parameter of this method"},
		{"field of the path as a parameter", get("/v1/apis/a1?name=apis/a2"), 400, codes.InvalidArgument, "name: is not a parameter of this method"},
		{"parameter twice", get("/v1/apis?pageSize=5&pageSize=6"), 400, codes.InvalidArgument, "pageSize: is given more than once"},
		{"parameter twice by both names", get("/v1/apis?pageSize=5&page_size=6"), 400, codes.InvalidArgument, "pageSize: is given more than once"},
		{"parameter in brackets", get("/v1/apis?filter[a]=b"), 400, codes.InvalidArgument, "filter[a]: is not a parameter of this method"},
		{"no number in the query", get("/v1/apis?pageSize=ten"), 400, codes.InvalidArgument, "pageSize: must be a whole number of 32 bits"},
		{"empty number in the query", get("/v1/apis?pageSize="), 400, codes.InvalidArgument, "pageSize: must be a whole number of 32 bits"},
		{"too large a number in the query", get("/v1/apis?pageSize=2147483648"), 400, codes.InvalidArgument, "pageSize: must be a whole number of 32 bits"},
		{"no time in the query", get("/v1/usage?startTime=yesterday"), 400, codes.InvalidArgument, "startTime: must be a time, as 2026-01-31T23:59:59Z"},
		{"no duration in the query", get("/v1/usage?step=1h"), 400, codes.InvalidArgument, "step: must be a duration in seconds, as 3600s"},
		{"not UTF-8 in a list in the query", get("/v1/usage?groupBy=api&groupBy=%ff"), 400, codes.InvalidArgument, "groupBy: must be UTF-8"},
		{"no truth in the query", []string{"DELETE", "/v1/apis/a1?force=yes", ""}, 400, codes.InvalidArgument, "force: must be true or false"},
		{"not UTF-8 in the query", get("/v1/apis?filter=%ff"), 400, codes.InvalidArgument, "filter: must be UTF-8"},
		{"not UTF-8 in a parameter's name", get("/v1/apis?%ff=1"), 400, codes.InvalidArgument, "?: is not a parameter of this method"},
		{"malformed query", get("/v1/apis?filter=%zz"), 400, codes.InvalidArgument, "the query is malformed"},
		{"semicolon in the query", get("/v1/apis?a=1;b=2"), 400, codes.InvalidArgument, "the query is malformed"},
		{"hole in a mask", []string{"PATCH", "/v1/apis/a1?updateMask=description,", "{}"}, 400, codes.InvalidArgument, "updateMask: must be field names separated by commas"},
		{"no service in the path", get("/v1/services/gateway/watchers"), 404, codes.NotFound, "services/gateway not found"},
		{"not UTF-8 in the path", get("/v1/apis/%ff"), 400, codes.InvalidArgument, "name: must be UTF-8"},
	})
}

// refuses sends requests that must be refused; no service hears of any of them.
func (s *site) refuses(t *testing.T, tests []badRequest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := tt.request[3:]
			if len(headers) == 0 && tt.request[2] != "" {
				headers = []string{"Content-Type", jsonType}
			}
			got := s.do(t, tt.request[0], tt.request[1], tt.request[2], headers...)
			st := statusOf(t, got)
			if got.status != tt.status || codes.Code(st.GetCode()) != tt.code || st.GetMessage() != tt.message {
				t.Errorf("%s %s = %d %v %q, want %d %v %q", tt.request[0], tt.request[1],
					got.status, codes.Code(st.GetCode()), st.GetMessage(), tt.status, tt.code, tt.message)
			}
			reason := fault.Reason(status.FromProto(st).Err())
			if want := reasonOf(tt); reason != want {
				t.Errorf("%s %s has the reason %q, want %q", tt.request[0], tt.request[1], reason, want)
			}
			if got.status == http.StatusMethodNotAllowed && !strings.HasSuffix(st.GetMessage(), "only "+got.header.Get("Allow")) {
				t.Errorf("Allow = %q, want what the message says: %q", got.header.Get("Allow"), st.GetMessage())
			}
		})
	}
	if c, n := s.last(); n > 0 {
		t.Errorf("%d calls reached a service, the last was %s %v; want none", n, c.method, c.request)
	}
}

// reasonOf returns the reason that a refusal of the portal's own has.
func reasonOf(b badRequest) string {
	switch {
	case b.status == http.StatusRequestEntityTooLarge:
		return fault.ReasonBodyTooLarge
	case b.status == http.StatusUnsupportedMediaType:
		return fault.ReasonUnsupportedMediaType
	case b.status == http.StatusMethodNotAllowed:
		return fault.ReasonMethodNotAllowed
	case strings.HasPrefix(b.message, "the path "):
		return fault.ReasonPathNotFound
	case strings.HasPrefix(b.message, "the body "):
		return fault.ReasonMalformedBody
	case b.code == codes.InvalidArgument:
		return "INVALID_ARGUMENT"
	case b.code == codes.Unauthenticated:
		return "UNAUTHENTICATED"
	}
	return "NOT_FOUND"
}

// many is an object with n unknown members.
func many(n int) string {
	return "{" + strings.TrimSuffix(strings.Repeat(`"x":1,`, n), ",") + "}"
}

// statusOf reads the body of an error.
func statusOf(t *testing.T, a answer) *spb.Status {
	t.Helper()
	st := &spb.Status{}
	if err := protojson.Unmarshal([]byte(a.body), st); err != nil {
		t.Fatalf("answer %d %q is no google.rpc.Status: %v", a.status, a.body, err)
	}
	if kind := a.header.Get("Content-Type"); kind != jsonType {
		t.Errorf("Content-Type = %q, want %q", kind, jsonType)
	}
	return st
}

// TestRESTViolations looks at the details of a refusal.
func TestRESTViolations(t *testing.T) {
	s := start(t)
	got := s.do(t, "POST", "/v1/apis", `{"displayName":1,"nope":2}`, "Content-Type", jsonType)
	want := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "displayName", Description: "must be a string"}, {Field: "nope", Description: "unknown field"},
	}}
	details := statusOf(t, got).GetDetails()
	if len(details) != 2 {
		t.Fatalf("details = %v, want the violations and the reason", details)
	}
	m, err := details[0].UnmarshalNew()
	if err != nil || !proto.Equal(m, want) {
		t.Errorf("details = %v, %v, want %v", m, err, want)
	}
}

// TestRESTNamesFields has a service find a mistake: REST names the field as its client
// has sent it.
func TestRESTNamesFields(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_CreateVersion_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.InvalidAll(
			fault.Violation{Field: "version.endpoints.production[0].url", Message: "must be a ws:// or wss:// URL"},
			fault.Violation{Field: "version.max_session_age", Message: "must not be negative"})
	})
	got := s.do(t, "POST", "/v1/apis/a1/versions", `{"endpoints":{"production":[{"url":"http://b"}]}}`, "Content-Type", jsonType)
	want := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "endpoints.production[0].url", Description: "must be a ws:// or wss:// URL"}, {Field: "maxSessionAge", Description: "must not be negative"},
	}}
	st := statusOf(t, got)
	m, err := st.GetDetails()[0].UnmarshalNew()
	if err != nil || !proto.Equal(m, want) || st.GetMessage() != "endpoints.production[0].url: must be a ws:// or wss:// URL; maxSessionAge: must not be negative" {
		t.Errorf("POST = %v, %v, want %v and its message", st, err, want)
	}
	s.on(catalogv1.CatalogService_ListApis_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Invalid("page_token", "belongs to another list or filter")
	})
	if st := statusOf(t, s.do(t, "GET", "/v1/apis?page_token=x", "")); st.GetMessage() != "pageToken: belongs to another list or filter" {
		t.Errorf("GET = %q, want REST's name of the parameter", st.GetMessage())
	}
}

// TestRESTPassesStatuses sends each kind of refusal of a service through REST.
func TestRESTPassesStatuses(t *testing.T) {
	s := start(t)
	tests := []struct {
		err       error
		status    int
		challenge string
		retry     string
	}{
		{fault.NotFound("api %q", "a1"), 404, "", ""},
		{fault.AlreadyExists("the context is taken"), 409, "", ""},
		{fault.Invalid("api.context", "must begin with a slash"), 400, "", ""},
		{fault.Denied("this needs the role admin"), 403, "", ""},
		{fault.WithReason(fault.Unauthenticated("the token has expired"), "TOKEN_EXPIRED"), 401, `Bearer realm="tidegate", error="invalid_token"`, ""},
		{fault.Precondition("the version is published"), 400, "", ""},
		{fault.Aborted("the etag is stale"), 409, "", ""},
		{fault.Exhausted("too many sign-ins"), 429, "", ""},
		{fault.RetryAfter(fault.Exhausted("too many failures"), 1500*time.Millisecond), 429, "", "2"},
		{fault.Unavailable("the database is away, try again"), 503, "", ""},
		{fault.Unimplemented("not here"), 501, "", ""},
	}
	for _, tt := range tests {
		s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
			return nil, tt.err
		})
		got := s.do(t, "GET", "/v1/apis/a1", "", "Authorization", "Bearer token")
		want := status.Convert(tt.err).Proto()
		if st := statusOf(t, got); got.status != tt.status || !proto.Equal(st, want) {
			t.Errorf("GET with %v = %d %v, want %d %v", tt.err, got.status, st, tt.status, want)
		}
		if c := got.header.Get("Www-Authenticate"); c != tt.challenge {
			t.Errorf("GET with %v: WWW-Authenticate = %q, want %q", tt.err, c, tt.challenge)
		}
		if after := got.header.Get("Retry-After"); after != tt.retry {
			t.Errorf("GET with %v: Retry-After = %q, want %q", tt.err, after, tt.retry)
		}
	}
}

// TestRESTWithoutToken is told by the challenge that no token came.
func TestRESTWithoutToken(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Unauthenticated("sign in first")
	})
	got := s.do(t, "GET", "/v1/apis/a1", "")
	if c := got.header.Get("Www-Authenticate"); got.status != 401 || c != `Bearer realm="tidegate"` {
		t.Errorf("GET = %d, WWW-Authenticate %q, want 401 and a challenge without an error", got.status, c)
	}
}

// TestRESTUnknownDetail drops a detail whose type the portal does not know.
func TestRESTUnknownDetail(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Forward(status.FromProto(&spb.Status{
			Code: int32(codes.NotFound), Message: "gone", Details: []*anypb.Any{{TypeUrl: "example.com/Unknown", Value: []byte("x")}},
		}).Err())
	})
	got := s.do(t, "GET", "/v1/apis/a1", "")
	if st := statusOf(t, got); got.status != 404 || st.GetMessage() != "gone" || len(st.GetDetails()) != 1 || fault.Reason(status.FromProto(st).Err()) != "NOT_FOUND" {
		t.Errorf("GET = %d %v, want 404, gone, and the reason alone", got.status, st)
	}
}

// TestRESTMetadata shows that nothing but the token and the trace becomes
// metadata, and that a call has a deadline.
func TestRESTMetadata(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_GetApi_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &catalogv1.Api{}, nil
	})
	s.do(t, "GET", "/v1/apis/a1", "", "Authorization", "Bearer token", "Traceparent", "00-1-2-01", "Tracestate", "a=b",
		"Cookie", "a=b", "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Host", "example.com", "Grpc-Metadata-Role", "admin",
		"Grpc-Metadata-Authorization", "Bearer other", "Grpc-Timeout", "1u", "X-Tidegate-User", "users/1", "Te", "trailers", "Accept", "text/html")
	c, _ := s.last()
	got := map[string][]string{}
	for name, values := range c.metadata {
		if !slices.Contains([]string{":authority", "content-type", "user-agent", "grpc-accept-encoding"}, name) {
			got[name] = values
		}
	}
	raw, err := json.Marshal(got)
	if want := `{"authorization":["Bearer token"],"tidegate-client-address":["127.0.0.1"],"traceparent":["00-1-2-01"],"tracestate":["a=b"]}`; err != nil || string(raw) != want {
		t.Errorf("metadata = %s, %v, want %s", raw, err, want)
	}
	if left := time.Until(c.deadline); left <= 0 || left > 30*time.Second {
		t.Errorf("the call's deadline is in %v, want within 30s", left)
	}
}

// TestRESTUpdates shows which mask a PATCH sends.
func TestRESTUpdates(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_UpdateVersion_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &catalogv1.Version{}, nil
	})
	tests := []struct{ query, body, mask string }{
		{"", `{"description":""}`, "description"},
		{"", `{"max_session_age":null,"tags":[],"etag":"1"}`, "max_session_age,tags"},
		{"", `{"name":"apis/a1/versions/v1","state":"STATE_CREATED","createTime":"2026-01-31T00:00:00Z","plans":[]}`, "state,create_time,plans"},
		{"", `{"endpoints":{"sandbox":[{"url":"ws://b"}]}}`, "endpoints.sandbox"},
		{"", `{"endpoints":{"production":null,"sandbox":[{"url":"ws://b"}]},"security":[{"none":{}}]}`,
			"endpoints.production,endpoints.sandbox,security"},
		{"", `{"endpoints":null,"security":[],"maxSessionAge":"60s"}`, "endpoints,security,max_session_age"},
		{"?updateMask=endpoints", `{"endpoints":{"sandbox":[{"url":"ws://b"}]}}`, "endpoints"},
		{"", `{"etag":"1"}`, ""},
		{"", ``, ""},
		{"?updateMask=maxSessionAge,endpoints.production", `{"description":"x"}`, "max_session_age,endpoints.production"},
		{"?update_mask=max_session_age", `{}`, "max_session_age"},
	}
	for _, tt := range tests {
		got := s.do(t, "PATCH", "/v1/apis/a1/versions/v1"+tt.query, tt.body, "Content-Type", "application/json; charset=UTF-8")
		c, _ := s.last()
		req, ok := c.request.(*catalogv1.UpdateVersionRequest)
		if !ok {
			t.Fatalf("PATCH %s %s = %d %s, and no call", tt.query, tt.body, got.status, got.body)
		}
		if mask := strings.Join(req.GetUpdateMask().GetPaths(), ","); got.status != 200 || mask != tt.mask || req.GetVersion().GetName() != "apis/a1/versions/v1" {
			t.Errorf("PATCH %s %s = %d with the mask %q for %q, want 200 with %q", tt.query, tt.body, got.status, mask, req.GetVersion().GetName(), tt.mask)
		}
	}
}

// TestRESTEmpty shows what answers without values look like.
func TestRESTEmpty(t *testing.T) {
	s := start(t)
	s.on(catalogv1.CatalogService_ListApis_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &catalogv1.ListApisResponse{}, nil
	})
	s.on(changev1.ChangeService_ListWatchers_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &changev1.ListWatchersResponse{}, nil
	})
	s.on(gatewayv1.SessionService_CloseSession_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &emptypb.Empty{}, nil
	})
	tests := []struct{ method, path, want string }{
		{"GET", "/v1/apis", `{"apis":[],"nextPageToken":""}`},
		{"HEAD", "/v1/apis", ""},
		{"GET", "/v1/services/subscription/watchers", `{"watchers":[]}`},
		{"GET", "/v1/services/-/watchers", `{"watchers":[]}`},
		{"POST", "/v1/gateways/x1/sessions/s:close", `{}`},
	}
	for _, tt := range tests {
		got := s.do(t, tt.method, tt.path, "", "Authorization", "Bearer token")
		if body := strings.ReplaceAll(got.body, " ", ""); got.status != 200 || body != tt.want {
			t.Errorf("%s %s = %d %s, want 200 %s", tt.method, tt.path, got.status, body, tt.want)
		}
		if cc := got.header.Get("Cache-Control"); cc != "no-store" {
			t.Errorf("%s %s: Cache-Control = %q, want no-store", tt.method, tt.path, cc)
		}
	}
}
