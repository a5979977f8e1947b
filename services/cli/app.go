package cli

import (
	"context"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// appCmds are the commands about applications.
type appCmds struct {
	Create appCreateCmd `cmd:"" help:"Create an application."`
	List   appListCmd   `cmd:"" help:"List applications."`
	Get    appGetCmd    `cmd:"" help:"Show an application, its OAuth clients and subscriptions, or several applications."`
	Update appUpdateCmd `cmd:"" help:"Change an application."`
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
type appListCmd struct {
	Query string `placeholder:"TEXT" help:"Show only those with this in their name."`
	Order string `enum:"oldest,newest,name,name-desc" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first), newest, name or name-desc. Default: oldest."`
}

// Run lists the applications.
func (c *appListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &subscriptionv1.ListApplicationsResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.apps.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{
			Query: c.Query, OrderBy: orderBy(c.Order), PageSize: pageSize, PageToken: token,
		})
		list.Applications = append(list.Applications, page.GetApplications()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	return s.showApplications(ctx, cl, list.GetApplications())
}

// showApplications prints applications as a table.
func (s *shell) showApplications(ctx context.Context, cl *client, apps []*subscriptionv1.Application) error {
	label := cl.labels()
	var rows [][]string
	for _, a := range apps {
		rows = append(rows, []string{a.GetDisplayName(), label.user(ctx, a.GetOwner()), a.GetDescription(), a.GetName()})
	}
	return s.printTable([]string{"APPLICATION", "OWNER", "DESCRIPTION", "NAME"}, rows)
}

// applications returns the applications that a filter admits.
func (c *client) applications(ctx context.Context, filter string) ([]*subscriptionv1.Application, error) {
	var found []*subscriptionv1.Application
	err := everyPage(func(token string) (string, error) {
		page, err := c.apps.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{Filter: filter, PageSize: pageSize, PageToken: token})
		found = append(found, page.GetApplications()...)
		return page.GetNextPageToken(), err
	})
	return found, err
}

// appGetCmd shows applications.
type appGetCmd struct {
	Apps []string `arg:"" name:"app" help:"The application, or several; at most 1000."`
}

// Run shows the application, or several as list does.
func (c *appGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if len(c.Apps) > 1 {
		return c.several(ctx, s, cl)
	}
	app, err := cl.application(ctx, "APP", c.Apps[0])
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
	if app.GetPlan() != "" {
		fields = append(fields, [2]string{"Plan", label.plan(ctx, app.GetPlan())})
	}
	for _, c := range clients {
		fields = append(fields, [2]string{"OAuth client", word(c.GetStage(), "STAGE_") + ", client id " + c.GetClientId()})
	}
	for _, sub := range subs {
		text := label.version(ctx, sub.GetVersion()) + ", " + label.plan(ctx, sub.GetPlan())
		if sub.GetState() == subscriptionv1.Subscription_STATE_BLOCKED {
			text += ", blocked"
		}
		fields = append(fields, [2]string{"Subscription", text})
	}
	return s.printFields(fields...)
}

// appUpdateCmd changes an application.
type appUpdateCmd struct {
	App         string  `arg:"" help:"The application."`
	Rename      *string `placeholder:"NAME" help:"New name."`
	Description *string `placeholder:"TEXT" help:"What it does; empty for nothing."`
	Plan        *string `placeholder:"PLAN" help:"Plan of all the application's traffic together; empty for none. Only an administrator changes it."`
}

// Run changes what is given.
func (c *appUpdateCmd) Run(ctx context.Context, s *shell) error {
	if c.Rename == nil && c.Description == nil && c.Plan == nil {
		return usagef("nothing to change: give --rename, --description or --plan")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	change, mask := &subscriptionv1.Application{Name: app.GetName(), Etag: app.GetEtag()}, &fieldmaskpb.FieldMask{}
	if c.Rename != nil {
		change.DisplayName, mask.Paths = *c.Rename, append(mask.Paths, "display_name")
	}
	if c.Description != nil {
		change.Description, mask.Paths = *c.Description, append(mask.Paths, "description")
	}
	if c.Plan != nil {
		mask.Paths = append(mask.Paths, "plan")
		if *c.Plan != "" {
			if change.Plan, err = cl.plan(ctx, "--plan", *c.Plan); err != nil {
				return err
			}
		}
	}
	if app, err = cl.apps.UpdateApplication(ctx, &subscriptionv1.UpdateApplicationRequest{Application: change, UpdateMask: mask}); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(app)
	}
	fields := [][2]string{{"Changed", app.GetDisplayName()}, {"Description", app.GetDescription()}}
	if app.GetPlan() != "" {
		fields = append(fields, [2]string{"Plan", cl.labels().plan(ctx, app.GetPlan())})
	}
	return s.printFields(fields...)
}

// appDeleteCmd deletes an application.
type appDeleteCmd struct {
	App string `arg:"" help:"The application."`

	yesFlag `embed:""`
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
	err = s.confirm(ctx, c.Yes, "Deletes the application "+app.GetDisplayName(), func() []string {
		clients, err1 := cl.oauthClients(ctx, app.GetName())
		of := filter("application", app.GetName())
		subs, err2 := cl.subscriptions(ctx, of)
		return []string{
			number(len(clients), err1, "OAuth client", "OAuth clients"), number(len(subs), err2, "subscription", "subscriptions"),
			cl.liveSessions(ctx, of),
		}
	})
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
