package rest

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// TestNames shows what REST makes of the fields that services name.
func TestNames(t *testing.T) {
	all, err := newRoutes(catalogv1.File_tidegate_catalog_v1_catalog_service_proto)
	if err != nil {
		t.Fatal(err)
	}
	create, update := "POST /v1/{parent=apis/*}/versions", "PATCH /v1/{version.name=apis/*/versions/*}"
	for _, tt := range []struct {
		route          string
		err            error
		field, message string
	}{
		{create, fault.Invalid("version.endpoints.production[0].url", "must be ws or wss"), "endpoints.production[0].url", "endpoints.production[0].url: must be ws or wss"},
		{create, fault.Invalid("version.max_session_age", "must not be negative"), "maxSessionAge", "maxSessionAge: must not be negative"},
		{create, fault.Invalid("version.nope", "unknown field"), "nope", "nope: unknown field"},
		{create, fault.Invalid("version", "must be set"), "", "the body: must be set"},
		{create, fault.Invalid("parent", "must be apis/{api}"), "parent", "parent: must be apis/{api}"},
		{create, fault.Invalid("", "max_session_age and version.tags[0] exclude each other"), "", "maxSessionAge and tags[0] exclude each other"},
		{create, fault.Invalid("version.tags", `"max_session_age" is no tag`), "tags", `tags: "max_session_age" is no tag`},
		{update, fault.Invalid("version.name", "differs"), "name", "name: differs"},
		{update, fault.Invalid("update_mask", `no field "max_session_age": there are max_session_age, tags`), "updateMask",
			`updateMask: no field "maxSessionAge": there are maxSessionAge, tags`},
		{"GET /v1/{parent=apis/*}/versions", fault.Invalid("page_size", "must not be negative"), "pageSize", "pageSize: must not be negative"},
		{"GET /v1/{parent=apis/*}/versions", fault.Invalid("filter", `no field "x": there are page_size`), "filter", `filter: no field "x": there are page_size`},
		{create, fault.AlreadyExists(`version.version: the API has a version "1"`), "", `version: the API has a version "1"`},
		{update, fault.Denied("without the role, max_session_age cannot be changed"), "", "without the role, maxSessionAge cannot be changed"},
		{create, fault.NotFound("apis/max_session_age"), "", "apis/max_session_age not found"},
	} {
		rt := all[tt.route]
		if rt == nil {
			t.Errorf("there is no route %s", tt.route)
			continue
		}
		st := rt.status(status.Convert(tt.err))
		field := ""
		for _, d := range st.Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				field = bad.GetFieldViolations()[0].GetField()
			}
		}
		if field != tt.field || st.Message() != tt.message || fault.Reason(st.Err()) != fault.Reason(tt.err) {
			t.Errorf("%s with %v: field %q, message %q, reason %q; want %q, %q", tt.route, tt.err, field, st.Message(), fault.Reason(st.Err()), tt.field, tt.message)
		}
	}
	several := fault.InvalidAll(fault.Violation{Field: "version.max_session_age", Message: "a"}, fault.Violation{Field: "parent", Message: "b"})
	if got, want := all[create].status(status.Convert(several)).Message(), "maxSessionAge: a; parent: b"; got != want {
		t.Errorf("two violations: %q, want %q", got, want)
	}
	var none *route
	if st := status.Convert(several); none.status(st) != st {
		t.Error("without a route a status is changed")
	}
}
