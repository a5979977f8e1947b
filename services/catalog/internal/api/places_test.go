package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestPlaces: every place comes back as it was given, and stands in the route.
func TestPlaces(t *testing.T) {
	f := onSQLite(t)
	want := []*catalogv1.SecurityScheme{oauth2(
		place("header:X-Api-Key"), place("header:authorization:raw"), place("header:X-Token:bearer"), place("query:auth:base64"),
		place("query:a[b]"), place("cookie:__Host-session"), place("subprotocol"),
		place("first-message,at=/t~1~0,if=/method=TOKEN AUTH,protocol=mqtt,protocol=stomp,pass-on"),
	)}
	v, err := f.CreateVersion(t.Context(), &catalogv1.CreateVersionRequest{Parent: f.api("Places").GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")}, Security: want, AllowedOrigins: []string{"https://a.example"},
	}}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.GetVersion(t.Context(), &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann); err != nil || cmp.Diff(want, got.GetSecurity(), protocmp.Transform()) != "" {
		t.Errorf("GetVersion: %v, security %s", err, cmp.Diff(want, got.GetSecurity(), protocmp.Transform()))
	}
}
