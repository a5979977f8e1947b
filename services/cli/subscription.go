package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

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
		return answered(status.Convert(err), fmt.Errorf("%s is already subscribed to %s", app.GetDisplayName(), label.version(ctx, v.GetName())))
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
		return "", failed(codes.FailedPrecondition, "VERSION: %s offers no plan to subscribe to", labels.version(ctx, v.GetName()))
	}
	if text == "" {
		if len(offered) > 1 {
			return "", usagef("--plan: name one of %s", strings.Join(all(ctx, offered, labels.plan), ", "))
		}
		return offered[0], nil
	}
	plan, err := c.plan(ctx, "--plan", text)
	if err == nil && !slices.Contains(offered, plan) {
		err = failed(codes.FailedPrecondition, "%s", labels.notOffered(ctx, v))
	}
	return plan, err
}

// notOffered says that a version does not offer the plan that was named.
func (l *labels) notOffered(ctx context.Context, v *catalogv1.Version) string {
	return fmt.Sprintf("--plan: %s does not offer it; it offers %s", l.version(ctx, v.GetName()), strings.Join(all(ctx, v.GetPlans(), l.plan), ", "))
}

// subscriptionCmds are the commands about subscriptions.
type subscriptionCmds struct {
	List    subscriptionListCmd    `cmd:"" help:"List subscriptions."`
	Get     subscriptionGetCmd     `cmd:"" help:"Show a subscription, or several."`
	Update  subscriptionUpdateCmd  `cmd:"" help:"Change the plan of a subscription; its live sessions go on."`
	Block   subscriptionBlockCmd   `cmd:"" help:"Block a subscription to a version of one's own: its live sessions end."`
	Restore subscriptionRestoreCmd `cmd:"" help:"Restore a blocked subscription."`
	Delete  subscriptionDeleteCmd  `cmd:"" help:"Delete a subscription; its live sessions end."`
}

// subscriptionListCmd lists subscriptions.
type subscriptionListCmd struct {
	App   string `placeholder:"APP" help:"Show only those of this application."`
	API   string `name:"api" placeholder:"VERSION" help:"Show only those to this version, such as EchoWebSocket/1.0.0."`
	Plan  string `placeholder:"PLAN" help:"Show only those under this plan."`
	State string `enum:"active,blocked," default:"" placeholder:"STATE" help:"Show only those in this state: active or blocked."`
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
	var byPlan, byState string
	if c.Plan != "" {
		plan, err := cl.plan(ctx, "--plan", c.Plan)
		if err != nil {
			return err
		}
		byPlan = filter("plan", plan)
	}
	if c.State != "" {
		byState = filter("state", strings.ToUpper(c.State))
	}
	subs, err := cl.subscriptions(ctx, join(only, byPlan, byState))
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.ListSubscriptionsResponse{Subscriptions: subs})
	}
	return s.showSubscriptions(ctx, cl, subs)
}

// showSubscriptions prints subscriptions as a table.
func (s *shell) showSubscriptions(ctx context.Context, cl *client, subs []*subscriptionv1.Subscription) error {
	label := cl.labels()
	var rows [][]string
	for _, sub := range subs {
		rows = append(rows, []string{
			sub.GetApplicationDisplayName(), sub.GetApplicationOwnerUsername(), label.version(ctx, sub.GetVersion()),
			label.plan(ctx, sub.GetPlan()), word(sub.GetState(), "STATE_"), sub.GetName(),
		})
	}
	return s.printTable([]string{"APPLICATION", "OWNER", "VERSION", "PLAN", "STATE", "NAME"}, rows)
}

// subscriptionGetCmd shows subscriptions.
type subscriptionGetCmd struct {
	Subscription string   `arg:"" help:"The subscription's name, subscriptions/…, or the application."`
	More         []string `arg:"" name:"version" optional:"" help:"The version, if the first argument is an application; else names of more subscriptions, at most 1000 in all."`
}

// Run shows the subscription, or several as list does.
func (c *subscriptionGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if len(c.More) > 1 || len(c.More) == 1 && named(c.Subscription, "subscriptions") {
		return c.several(ctx, s, cl)
	}
	one := subscriptionArg{Subscription: c.Subscription, Version: strings.Join(c.More, "")}
	sub, err := one.find(ctx, cl)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(sub)
	}
	label := cl.labels()
	return s.printFields([2]string{"Subscription", sub.GetName()}, [2]string{"Application", sub.GetApplicationDisplayName()},
		[2]string{"Owner", sub.GetApplicationOwnerUsername()}, [2]string{"To", label.version(ctx, sub.GetVersion())}, [2]string{"Plan", label.plan(ctx, sub.GetPlan())},
		[2]string{"State", word(sub.GetState(), "STATE_")}, [2]string{"Created", when(sub.GetCreateTime())})
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

// subscriptionArg names a subscription.
type subscriptionArg struct {
	Subscription string `arg:"" help:"The subscription's name, subscriptions/…, or the application."`
	Version      string `arg:"" optional:"" help:"The version, if the first argument is an application."`
}

// subscriptionUpdateCmd changes a subscription.
type subscriptionUpdateCmd struct {
	subscriptionArg `embed:""`
	Plan            string `required:"" placeholder:"PLAN" help:"New plan, one of those that the version offers; of a version of one's own, any."`
}

// Run changes the plan.
func (c *subscriptionUpdateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	sub, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	plan, err := cl.plan(ctx, "--plan", c.Plan)
	if err != nil {
		return err
	}
	label, of := cl.labels(), sub.GetVersion()
	sub, err = cl.subs.UpdateSubscription(ctx, &subscriptionv1.UpdateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Name: sub.GetName(), Plan: plan, Etag: sub.GetEtag()},
		UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
	})
	if fault.Reason(err) == fault.ReasonPlanNotOffered {
		if v, unread := cl.catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: of}); unread == nil {
			return answered(status.Convert(err), errors.New(label.notOffered(ctx, v)))
		}
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(sub)
	}
	return s.printFields([2]string{"Changed", label.subscription(ctx, sub)}, [2]string{"Plan", label.plan(ctx, plan)}, [2]string{"Name", sub.GetName()})
}

// subscriptionBlockCmd blocks a subscription.
type subscriptionBlockCmd struct {
	subscriptionArg `embed:""`
	yesFlag         `embed:""`
}

// Run blocks the subscription.
func (c *subscriptionBlockCmd) Run(ctx context.Context, s *shell) error {
	return c.change(ctx, s, func(cl *client, sub *subscriptionv1.Subscription) (*subscriptionv1.Subscription, error) {
		if sub.GetState() != subscriptionv1.Subscription_STATE_BLOCKED {
			err := s.confirm(ctx, c.Yes, "Blocks the subscription of "+cl.labels().subscription(ctx, sub), func() []string {
				return []string{cl.liveSessions(ctx, filter("subscription", sub.GetName()))}
			})
			if err != nil {
				return nil, err
			}
		}
		return cl.subs.BlockSubscription(ctx, &subscriptionv1.BlockSubscriptionRequest{Name: sub.GetName(), Etag: sub.GetEtag()})
	})
}

// subscriptionRestoreCmd restores a blocked subscription.
type subscriptionRestoreCmd struct {
	subscriptionArg `embed:""`
}

// Run restores the subscription.
func (c *subscriptionRestoreCmd) Run(ctx context.Context, s *shell) error {
	return c.change(ctx, s, func(cl *client, sub *subscriptionv1.Subscription) (*subscriptionv1.Subscription, error) {
		return cl.subs.RestoreSubscription(ctx, &subscriptionv1.RestoreSubscriptionRequest{Name: sub.GetName(), Etag: sub.GetEtag()})
	})
}

// change changes the state of the subscription as do does, and prints the result.
func (c *subscriptionArg) change(ctx context.Context, s *shell, do func(*client, *subscriptionv1.Subscription) (*subscriptionv1.Subscription, error)) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	sub, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if sub, err = do(cl, sub); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(sub)
	}
	return s.printFields([2]string{"Changed", cl.labels().subscription(ctx, sub)}, [2]string{"State", word(sub.GetState(), "STATE_")}, [2]string{"Name", sub.GetName()})
}

// subscriptionDeleteCmd deletes a subscription.
type subscriptionDeleteCmd struct {
	subscriptionArg `embed:""`
	yesFlag         `embed:""`
}

// Run deletes the subscription.
func (c *subscriptionDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	sub, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	label := cl.labels().subscription(ctx, sub)
	err = s.confirm(ctx, c.Yes, "Deletes the subscription of "+label, func() []string {
		return []string{cl.liveSessions(ctx, filter("subscription", sub.GetName()))}
	})
	if err != nil {
		return err
	}
	_, err = cl.subs.DeleteSubscription(ctx, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName(), Etag: sub.GetEtag()})
	if err != nil {
		return err
	}
	return s.deleted(sub.GetName(), label)
}

// find returns the subscription.
func (c *subscriptionArg) find(ctx context.Context, cl *client) (*subscriptionv1.Subscription, error) {
	if named(c.Subscription, "subscriptions") {
		if c.Version != "" {
			return nil, usagef("VERSION: %q is too much beside the name of a subscription", c.Version)
		}
		sub, err := cl.subs.GetSubscription(ctx, &subscriptionv1.GetSubscriptionRequest{Name: c.Subscription})
		if absent(err) {
			err = unknown("SUBSCRIPTION", "subscription", c.Subscription, "subscription list")
		}
		return sub, err
	}
	if c.Version == "" {
		return nil, usagef("SUBSCRIPTION: give subscriptions/…, or an application and a version")
	}
	app, err := cl.application(ctx, "APP", c.Subscription)
	if err != nil {
		return nil, err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return nil, err
	}
	found, err := cl.subscriptions(ctx, join(filter("application", app.GetName()), filter("version", v.GetName())))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, failed(codes.NotFound, "%s is not subscribed to %s", app.GetDisplayName(), cl.labels().version(ctx, v.GetName()))
	}
	return found[0], nil
}
