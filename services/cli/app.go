package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// planCmds are the commands about plans.
type planCmds struct {
	List planListCmd `cmd:"" help:"List plans."`
}

// planListCmd lists plans.
type planListCmd struct{}

// Run lists the plans.
func (c *planListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &catalogv1.ListPlansResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: pageSize, PageToken: token})
		list.Plans = append(list.Plans, page.GetPlans()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, p := range list.GetPlans() {
		quota := "any number"
		if q := p.GetQuota(); q != nil {
			quota = fmt.Sprintf("%d a %s", q.GetMessages(), word(q.GetWindow(), "WINDOW_"))
		}
		enforced := "yes"
		if !p.GetLimitsEnforced() {
			enforced = "not yet"
		}
		rows = append(rows, []string{p.GetDisplayName(), quota, enforced, p.GetDescription(), p.GetName()})
	}
	return s.printTable([]string{"PLAN", "MESSAGES", "ENFORCED", "DESCRIPTION", "NAME"}, rows)
}

// appCmds are the commands about applications.
type appCmds struct {
	Create appCreateCmd `cmd:"" help:"Create an application."`
	List   appListCmd   `cmd:"" help:"List applications."`
	Get    appGetCmd    `cmd:"" help:"Show an application, its OAuth clients and subscriptions."`
	Delete appDeleteCmd `cmd:"" help:"Delete an application with its OAuth clients and subscriptions; its live sessions end."`
}

// appCreateCmd creates an application.
type appCreateCmd struct {
	Name        string `arg:"" help:"The application's name."`
	Description string `placeholder:"TEXT" help:"What it does."`
}

// Run creates the application.
func (c *appCreateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: c.Name, Description: c.Description},
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(app)
	}
	return s.printFields([2]string{"Created", app.GetDisplayName()}, [2]string{"Name", app.GetName()})
}

// appListCmd lists applications.
type appListCmd struct{}

// Run lists the applications.
func (c *appListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &subscriptionv1.ListApplicationsResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.apps.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{PageSize: pageSize, PageToken: token})
		list.Applications = append(list.Applications, page.GetApplications()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	for _, a := range list.GetApplications() {
		rows = append(rows, []string{a.GetDisplayName(), label.user(ctx, a.GetOwner()), a.GetDescription(), a.GetName()})
	}
	return s.printTable([]string{"APPLICATION", "OWNER", "DESCRIPTION", "NAME"}, rows)
}

// appGetCmd shows an application.
type appGetCmd struct {
	App string `arg:"" help:"The application."`
}

// Run shows the application.
func (c *appGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(app)
	}
	clients, err := cl.oauthClients(ctx, app.GetName())
	if err != nil {
		return err
	}
	subs, err := cl.subscriptions(ctx, filter("application", app.GetName()))
	if err != nil {
		return err
	}
	label := cl.labels()
	fields := [][2]string{
		{"Application", app.GetDisplayName()}, {"Name", app.GetName()}, {"Owner", label.user(ctx, app.GetOwner())},
		{"Description", app.GetDescription()}, {"Created", when(app.GetCreateTime())},
	}
	for _, c := range clients {
		fields = append(fields, [2]string{"OAuth client", word(c.GetStage(), "STAGE_") + ", client id " + c.GetClientId()})
	}
	for _, sub := range subs {
		fields = append(fields, [2]string{"Subscription", label.version(ctx, sub.GetVersion()) + ", " + label.plan(ctx, sub.GetPlan())})
	}
	return s.printFields(fields...)
}

// appDeleteCmd deletes an application.
type appDeleteCmd struct {
	App string `arg:"" help:"The application."`
}

// Run deletes the application.
func (c *appDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	if _, err := cl.apps.DeleteApplication(ctx, &subscriptionv1.DeleteApplicationRequest{Name: app.GetName(), Etag: app.GetEtag()}); err != nil {
		return err
	}
	if err := cl.forgetBelow(app.GetName()); err != nil {
		return err
	}
	return s.deleted(app.GetName(), app.GetDisplayName())
}

// subscribeCmd subscribes an application.
type subscribeCmd struct {
	App     string `arg:"" help:"The application."`
	Version string `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
	Plan    string `placeholder:"PLAN" help:"One of the plans that the version offers. Default: the plan, if the version offers only one."`
}

// Run makes the subscription.
func (c *subscribeCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return err
	}
	plan, err := cl.choosePlan(ctx, v, c.Plan)
	if err != nil {
		return err
	}
	sub, err := cl.subs.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: v.GetName(), Plan: plan},
	})
	label := cl.labels()
	if status.Code(err) == codes.AlreadyExists {
		return fmt.Errorf("%s is already subscribed to %s", app.GetDisplayName(), label.version(ctx, v.GetName()))
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(sub)
	}
	return s.printFields([2]string{"Subscribed", app.GetDisplayName()}, [2]string{"To", label.version(ctx, v.GetName())},
		[2]string{"Plan", label.plan(ctx, plan)}, [2]string{"Name", sub.GetName()})
}

// choosePlan returns the plan that was named, or the only one on offer.
func (c *client) choosePlan(ctx context.Context, v *catalogv1.Version, text string) (string, error) {
	offered := v.GetPlans()
	labels := c.labels()
	if len(offered) == 0 {
		return "", fmt.Errorf("VERSION: %s offers no plan to subscribe to", labels.version(ctx, v.GetName()))
	}
	if text == "" {
		if len(offered) > 1 {
			return "", usagef("--plan: name one of %s", strings.Join(all(ctx, offered, labels.plan), ", "))
		}
		return offered[0], nil
	}
	plan, err := c.plan(ctx, "--plan", text)
	if err == nil && !slices.Contains(offered, plan) {
		err = fmt.Errorf("--plan: %s does not offer it; it offers %s", labels.version(ctx, v.GetName()), strings.Join(all(ctx, offered, labels.plan), ", "))
	}
	return plan, err
}

// subscriptionCmds are the commands about subscriptions.
type subscriptionCmds struct {
	List   subscriptionListCmd   `cmd:"" help:"List subscriptions."`
	Delete subscriptionDeleteCmd `cmd:"" help:"Delete a subscription; its live sessions end."`
}

// subscriptionListCmd lists subscriptions.
type subscriptionListCmd struct {
	App string `placeholder:"APP" help:"Show only those of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Show only those to this version, such as EchoWebSocket/1.0.0."`
}

// Run lists the subscriptions.
func (c *subscriptionListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	subs, err := cl.subscriptions(ctx, only)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.ListSubscriptionsResponse{Subscriptions: subs})
	}
	label := cl.labels()
	var rows [][]string
	for _, sub := range subs {
		rows = append(rows, []string{
			label.application(ctx, sub.GetApplication()), label.version(ctx, sub.GetVersion()),
			label.plan(ctx, sub.GetPlan()), sub.GetName(),
		})
	}
	return s.printTable([]string{"APPLICATION", "VERSION", "PLAN", "NAME"}, rows)
}

// trafficFilter returns a filter by --app and --api.
func (c *client) trafficFilter(ctx context.Context, app, version string) (string, error) {
	var byApp, byVersion string
	if app != "" {
		a, err := c.application(ctx, "--app", app)
		if err != nil {
			return "", err
		}
		byApp = filter("application", a.GetName())
	}
	if version != "" {
		v, err := c.version(ctx, "--api", version)
		if err != nil {
			return "", err
		}
		byVersion = filter("version", v.GetName())
	}
	return join(byApp, byVersion), nil
}

// subscriptions returns the subscriptions that a filter admits.
func (c *client) subscriptions(ctx context.Context, filter string) ([]*subscriptionv1.Subscription, error) {
	var found []*subscriptionv1.Subscription
	err := everyPage(func(token string) (string, error) {
		page, err := c.subs.ListSubscriptions(ctx, &subscriptionv1.ListSubscriptionsRequest{
			Filter: filter, PageSize: pageSize, PageToken: token,
		})
		found = append(found, page.GetSubscriptions()...)
		return page.GetNextPageToken(), err
	})
	return found, err
}

// subscriptionDeleteCmd deletes a subscription.
type subscriptionDeleteCmd struct {
	Subscription string `arg:"" help:"The subscription's name, subscriptions/…, or the application."`
	Version      string `arg:"" optional:"" help:"The version, if the first argument is an application."`
}

// Run deletes the subscription.
func (c *subscriptionDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	name, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	_, err = cl.subs.DeleteSubscription(ctx, &subscriptionv1.DeleteSubscriptionRequest{Name: name})
	if absent(err) {
		return unknown("SUBSCRIPTION", "subscription", name, "subscription list")
	}
	if err != nil {
		return err
	}
	return s.deleted(name, name)
}

// find returns the subscription's name.
func (c *subscriptionDeleteCmd) find(ctx context.Context, cl *client) (string, error) {
	if named(c.Subscription, "subscriptions") {
		if c.Version != "" {
			return "", usagef("VERSION: %q is too much beside the name of a subscription", c.Version)
		}
		return c.Subscription, nil
	}
	if c.Version == "" {
		return "", usagef("SUBSCRIPTION: give subscriptions/…, or an application and a version")
	}
	app, err := cl.application(ctx, "APP", c.Subscription)
	if err != nil {
		return "", err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return "", err
	}
	found, err := cl.subscriptions(ctx, join(filter("application", app.GetName()), filter("version", v.GetName())))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not subscribed to %s", app.GetDisplayName(), cl.labels().version(ctx, v.GetName()))
	}
	return found[0].GetName(), nil
}
