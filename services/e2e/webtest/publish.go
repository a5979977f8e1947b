package webtest

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// Publish publishes what Create makes, and waits until the gateway serves it.
func (s *Tidegate) Publish(t testing.TB, ctx context.Context, name, backend string, edits ...func(*catalogv1.Version)) *catalogv1.Version {
	t.Helper()
	v := s.Create(t, ctx, name, backend, edits...)
	var header metadata.MD
	v, err := catalogv1.NewCatalogServiceClient(s.Conn).PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, grpc.Header(&header))
	must(t, err)
	s.Applied(t, ctx, header)
	return v
}

// Create makes version 1.0.0 of a new API, whose context is its name in lower case with "-"
// for spaces. The version has the plans Gold and Silver and one production endpoint; edits may
// change that. ctx says whose it is (As).
func (s *Tidegate) Create(t testing.TB, ctx context.Context, name, backend string, edits ...func(*catalogv1.Version)) *catalogv1.Version {
	t.Helper()
	catalog := catalogv1.NewCatalogServiceClient(s.Conn)
	v := &catalogv1.Version{
		Version:   "1.0.0",
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}}},
	}
	plans, err := catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: 1000})
	must(t, err)
	for _, plan := range plans.GetPlans() {
		if name := plan.GetDisplayName(); name == "Gold" || name == "Silver" {
			v.Plans = append(v.Plans, plan.GetName())
		}
	}
	for _, edit := range edits {
		edit(v)
	}
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{
		DisplayName: name, Context: "/" + strings.ReplaceAll(strings.ToLower(name), " ", "-"),
	}})
	must(t, err)
	v, err = catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: v})
	must(t, err)
	return v
}

// ForAll is an edit that lets everybody connect to a version.
func ForAll(v *catalogv1.Version) {
	v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
}

// Token subscribes a new application to a version, and returns a token of it, which the
// gateway takes. ctx says whose it is (As).
func (s *Tidegate) Token(t testing.TB, ctx context.Context, application string, v *catalogv1.Version) string {
	t.Helper()
	applications := subscriptionv1.NewApplicationServiceClient(s.Conn)
	app, err := applications.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: application}})
	must(t, err)
	_, err = applications.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	must(t, err)
	var header metadata.MD
	_, err = subscriptionv1.NewSubscriptionServiceClient(s.Conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: v.GetName(), Plan: v.GetPlans()[0]},
	}, grpc.Header(&header))
	must(t, err)
	issued, err := subscriptionv1.NewTokenServiceClient(s.Conn).IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{
		Application: app.GetName(), Version: v.GetName(),
	})
	must(t, err)
	s.Applied(t, ctx, header)
	return issued.GetAccessToken()
}

// Applied waits until all that watch have applied the change that the header of an answer
// names.
func (s *Tidegate) Applied(t testing.TB, ctx context.Context, header metadata.MD) {
	t.Helper()
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	got, err := changev1.NewChangeServiceClient(s.Conn).WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
	must(t, err)
	if !got.GetApplied() {
		t.Fatalf("the change %s is not applied: %v", change, got.GetPendingWatchers())
	}
}
