package admin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// refused fails the test unless a form was not carried out because of exactly these
// entries, which are kept.
func refused(t *testing.T, p *webtest.Page, entries ...string) {
	t.Helper()
	if p.Status != http.StatusUnprocessableEntity {
		t.Errorf("%s = %d, want 422:\n%s", p.URL, p.Status, p.Text())
	}
	for i := 0; i+1 < len(entries); i += 2 {
		if p.Error(entries[i]) == "" || p.Value(entries[i]) != entries[i+1] {
			t.Errorf("%s has %q and the error %q, want %q and an error:\n%s", entries[i], p.Value(entries[i]), p.Error(entries[i]), entries[i+1], p.Text())
		}
	}
}

// plans adds, changes and deletes a plan, also against a change of somebody else.
func plans(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	b.Open("/admin")
	want(t, b.Click("Plans"), http.StatusOK, "Gold", "5,000 messages a minute")
	b.Click("Add plan")
	refused(t, b.Submit("Add plan", "display_name", ""), "display_name", "")
	refused(t, b.Submit("Add plan", "display_name", "Platinum", "attributes", "region"), "attributes", "region")
	refused(t, b.Submit("Add plan", "attributes", "a=1\r\na=2"), "attributes", "a=1\na=2")
	refused(t, b.Submit("Add plan", "display_name", "gold", "attributes", ""), "display_name", "gold")
	want(t, b.Submit("Add plan", "display_name", "Platinum", "billing", "COMMERCIAL", "price_label", "10 EUR a month", "attributes", "region=eu"), http.StatusOK,
		"Platinum is added", "It bounds nothing.", "Nothing has the plan. No live session is under it.", "commercial", "10 EUR a month", "region eu")
	path := b.Page.URL.Path
	late := b.Tab()
	late.Open(path + "/edit")
	b.Click("Change")
	want(t, b.Submit("Save", "description", "For the many.", "billing", ""), http.StatusOK, "Platinum is changed.", "For the many.", "Billing free")
	want(t, late.Submit("Save", "display_name", "Iridium"), http.StatusConflict, "Stored now: Platinum", "Stored now: For the many.", "Stored now: Free")
	want(t, late.Submit("Save"), http.StatusOK, "Iridium is changed.")
	want(t, late.Open("/admin/plans?query=irid"), http.StatusOK, "Iridium")
	if late.Page.Has("Gold") {
		t.Error("a search for Iridium finds Gold")
	}
	want(t, late.Open("/admin/plans?query=nothing"), http.StatusOK, "No plan found")

	used := usedPlan(t, s, "Plan in use", nil)
	want(t, b.Open("/admin/"+used.GetName()), http.StatusOK, "The plan is that of 1 version that offers it. No live session is under it.")
	want(t, b.Click("Delete"), http.StatusOK, "Not deleted: take it first from 1 version that offers it.")
	want(t, b.Do(http.MethodPost, "/admin/"+used.GetName()+"/delete", url.Values{}), http.StatusOK, "Not deleted:", "is in use by 1 version")
	b.Open(path)
	want(t, b.Click("Delete"), http.StatusOK, "Nothing has the plan.", "There are no live sessions that would end.")
	want(t, b.Submit("Delete"), http.StatusOK, "Iridium is deleted.")
	want(t, b.Open(path), http.StatusNotFound)
}

// usedPlan adds a plan that a version offers, whose API has the same name.
func usedPlan(t *testing.T, s *webtest.Tidegate, name string, edit func(*catalogv1.Version)) *catalogv1.Plan {
	t.Helper()
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "admin", s.Password)
	plan, err := catalog.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: name}})
	if err != nil {
		t.Fatal(err)
	}
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ReplaceAll(strings.ToLower(name), " ", "-")}})
	if err != nil {
		t.Fatal(err)
	}
	v := &catalogv1.Version{
		Version: "1.0.0", Plans: []string{plan.GetName()},
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://backend.test"}}}},
	}
	if edit != nil {
		edit(v)
	}
	if _, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: v}); err != nil {
		t.Fatal(err)
	}
	return plan
}

// limits gives a plan a limit of each kind, changes them and takes one away.
func limits(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	plan := usedPlan(t, s, "Limited", nil)
	path := "/admin/" + plan.GetName()
	b.Open(path)
	b.Click("Rate")
	want(t, b.Page, http.StatusOK, "Add a limit to Limited", "The plan is that of 1 version that offers it.")
	refused(t, b.Submit("Save", "amount", ""), "amount", "")
	refused(t, b.Submit("Save", "amount", "many", "per", "soon"), "amount", "many", "per", "soon")
	refused(t, b.Submit("Save", "amount", "0", "per", "2 h"), "amount", "0", "per", "2 h")
	refused(t, b.Submit("Save", "amount", "10", "per", "1 s", "reaction", "REFUSE"), "reaction", "REFUSE")
	refused(t, b.Submit("Save", "reaction", "", "name", "Not a name"), "name", "Not a name")
	late := b.Tab()
	late.Open(b.Page.URL.RequestURI())
	want(t, b.Submit("Save", "unit", "BYTES", "amount", "64 KiB", "burst", "1 MiB", "longest_pause", "30 s", "direction", "FROM_CLIENT", "per_connection", "on", "name", "up"), http.StatusOK,
		"The limits of Limited are changed.", "64 KiB a second from the client on each connection, 1 MiB at once; more waits")
	want(t, late.Submit("Save", "amount", "7"), http.StatusConflict, "Somebody else has changed this meanwhile")
	want(t, late.Submit("Save"), http.StatusOK, "7 messages a second, 7 messages at once; more waits")
	b.Open(path)
	b.Click("Quota")
	refused(t, b.Submit("Save", "amount", "5", "reaction", "REFUSE"), "reaction", "REFUSE")
	want(t, b.Submit("Save", "unit", "SESSIONS", "amount", "5,000", "window", "WEEK", "on_outage", "REFUSE", "observe", "on"), http.StatusOK, "5,000 sessions a week (only counted)")
	b.Click("Connections at once")
	refused(t, b.Submit("Save", "most", "9999999999"), "most", "9999999999")
	want(t, b.Submit("Save", "most", "3", "reaction", "CLOSE_OLDEST"), http.StatusOK, "3 connections at once; a newcomer ends the oldest")
	b.Click("Greatest message")
	refused(t, b.Submit("Save", "bytes", "2 GiB"), "bytes", "2 GiB")
	want(t, b.Submit("Save", "bytes", "1 MiB"), http.StatusOK, "messages of at most 1 MiB")
	b.Click("Greatest age of a session")
	refused(t, b.Submit("Save", "age", "31 d"), "age", "31 d")
	want(t, b.Submit("Save", "age", "12h"), http.StatusOK, "sessions of at most 12 h")

	// Saving a limit as it is changes nothing, and the others stay.
	before := stored(t, s, plan)
	for _, l := range before.GetLimits() {
		b.Open(path + "/limits/" + l.GetName())
		want(t, b.Submit("Save"), http.StatusOK, "are changed")
	}
	if diff := cmp.Diff(before.GetLimits(), stored(t, s, plan).GetLimits(), protocmp.Transform()); diff != "" {
		t.Errorf("saving limits as they are changes them:\n%s", diff)
	}
	b.Open(path)
	b.Click("Change up")
	want(t, b.Submit("Save", "reaction", "DROP", "amount", "32 KiB", "per", "1 min"), http.StatusOK, "32 KiB a minute from the client on each connection, 1 MiB at once; more is left out")
	rate := stored(t, s, plan).GetLimits()[0].GetRate()
	if want := (&catalogv1.Rate{
		Unit: catalogv1.Unit_UNIT_BYTES, Amount: 32 << 10, Per: durationpb.New(time.Minute), Burst: 1 << 20, Direction: catalogv1.Direction_DIRECTION_FROM_CLIENT, PerConnection: true,
	}); !cmp.Equal(rate, want, protocmp.Transform()) {
		t.Errorf("the rate is %v, want %v", rate, want)
	}
	b.Click("Remove up")
	want(t, b.Page, http.StatusOK, "Remove up from Limited?", "It lets pass: 32 KiB a minute", "The plan is that of 1 version that offers it.", "No session ends.")
	want(t, b.Submit("Remove"), http.StatusOK, "Limited has the limit up no more.", "3 connections at once")
	if len(stored(t, s, plan).GetLimits()) != len(before.GetLimits())-1 {
		t.Errorf("limits are left: %v", stored(t, s, plan).GetLimits())
	}
	want(t, b.Open(path+"/limits/up"), http.StatusNotFound)
}

// stored is a plan as it is stored.
func stored(t *testing.T, s *webtest.Tidegate, plan *catalogv1.Plan) *catalogv1.Plan {
	t.Helper()
	got, err := catalogv1.NewCatalogServiceClient(s.Conn).GetPlan(s.As(t, "admin", s.Password), &catalogv1.GetPlanRequest{Name: plan.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
