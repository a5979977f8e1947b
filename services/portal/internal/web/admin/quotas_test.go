package admin_test

import (
	"context"
	"net/http"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// applications gives an application a plan, also against a change of somebody else.
func applications(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	s.User(t, "owner-of-one", ui.Subscriber)
	_, err := subscriptionv1.NewApplicationServiceClient(s.Conn).CreateApplication(s.As(t, "owner-of-one", webtest.UserPassword), &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: "Lighthouse"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Open("/admin")
	want(t, b.Click("Applications"), http.StatusOK, "Lighthouse", "none 0 ")
	b.Click("Set plan of Lighthouse")
	want(t, b.Page, http.StatusOK, "Plan of Lighthouse", "The application has 0 live sessions")
	late := b.Tab()
	late.Open(b.Page.URL.Path)
	want(t, b.Submit("Save", "plan", b.Page.Option("plan", "Gold")), http.StatusOK, "The plan of Lighthouse is changed.", "Gold")
	want(t, late.Submit("Save", "plan", late.Page.Option("plan", "Silver")), http.StatusConflict, "Stored now: Gold")
	want(t, late.Submit("Save", "plan", ""), http.StatusOK, "The plan of Lighthouse is changed.")
	want(t, b.Open("/admin/applications?query=lighth"), http.StatusOK, "Lighthouse", "none 0 ")
	want(t, b.Open("/admin/applications?query=nothing"), http.StatusOK, "No application found")
	want(t, b.Open("/admin/applications?owner=bob"), http.StatusUnprocessableEntity)
	want(t, b.Open("/admin/applications/none/plan"), http.StatusNotFound)
}

// quotas adds to a quota and resets it.
func quotas(t *testing.T, s *webtest.Tidegate) {
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "admin", s.Password)
	plan, err := catalog.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: "A month", Limits: []*catalogv1.Limit{{
		Name: "few", Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 10, Window: catalogv1.Quota_WINDOW_MONTH}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	name := published(t, s, "Metered", plan.GetName()).GetName()
	connect(t, s.WS+"/metered/1")
	b := browser(t, s)
	wait, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.Open("/admin")
	b.Click("Quotas")
	list := ui.Filtered("/admin/quotas", "version", name)
	for !b.Open(list).Has("Metered 1 A month few 10 sessions a month 1 session 10 %") {
		if wait.Err() != nil {
			t.Fatalf("no quota is shown:\n%s", b.Page.Text())
		}
	}
	b.Click("Metered 1")
	want(t, b.Page, http.StatusOK, "Quota of Metered 1", "A month, limit few", "Used 1 session, 10 %", "Left 9 sessions")
	refused(t, b.Submit("Add", "amount", ""), "amount", "")
	refused(t, b.Submit("Add", "amount", "a few"), "amount", "a few")
	refused(t, b.Submit("Add", "amount", "0"), "amount", "0")
	want(t, b.Submit("Add", "amount", "1,000"), http.StatusOK, "1,000 sessions more may pass in the present window.", "Added 1,000 sessions", "Left 1,009 sessions")
	want(t, b.Submit("Reset"), http.StatusOK, "The quota is reset", "Used 0 sessions, 0 %")
	want(t, b.Open("/admin/quotas/none"), http.StatusNotFound)
	want(t, b.Open("/admin/quotas?version=none"), http.StatusUnprocessableEntity)
	want(t, b.Open(list+"&unit=BYTES"), http.StatusOK, "No quota found")
}
