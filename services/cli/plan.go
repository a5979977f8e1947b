package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// planCmds are the commands about plans.
type planCmds struct {
	Create planCreateCmd `cmd:"" help:"Create a plan."`
	List   planListCmd   `cmd:"" help:"List plans with their limits."`
	Get    planGetCmd    `cmd:"" help:"Show a plan and what uses it, or several plans."`
	Update planUpdateCmd `cmd:"" help:"Change a plan; live sessions go on, under its new limits within a second."`
	Delete planDeleteCmd `cmd:"" help:"Delete a plan that nothing uses."`
}

// planFlags say what a plan is.
type planFlags struct {
	File        string  `short:"f" placeholder:"FILE" help:"YAML or JSON file with the plan, as tidegate plan get -o yaml prints it; - for standard input."`
	Description *string `placeholder:"TEXT" help:"What it is for."`
	limitFlags  `embed:""`
	PriceLabel  *string  `placeholder:"TEXT" help:"What it costs, for users to read, such as \"10 EUR a month\"."`
	Billing     string   `enum:"free,commercial," default:"" placeholder:"KIND" help:"Whether it costs something: free (the default) or commercial. Nothing is charged."`
	Attribute   []string `sep:"none" placeholder:"NAME=VALUE" help:"Attribute of your own, for users to read; can be repeated."`
}

// change is a plan with new values and the fields that they are for.
type planChange struct {
	plan *catalogv1.Plan
	mask *fieldmaskpb.FieldMask
	// given names the flag of each limit, in their order.
	given []string
}

// read returns what the flags, or the file, say of a plan.
func (f *planFlags) read(s *shell) (*planChange, error) {
	limits, err := f.limits()
	if err != nil {
		return nil, err
	}
	attributes, err := attributesOf(f.Attribute)
	if err != nil {
		return nil, err
	}
	c := &planChange{plan: &catalogv1.Plan{Attributes: attributes}, mask: &fieldmaskpb.FieldMask{}}
	for _, g := range limits {
		c.plan.Limits, c.given = append(c.plan.Limits, g.limit), append(c.given, g.flag)
	}
	c.set("limits", len(limits) > 0)
	c.set("attributes", len(f.Attribute) > 0)
	if f.Description != nil {
		c.plan.Description = *f.Description
		c.set("description", true)
	}
	if f.PriceLabel != nil {
		c.plan.PriceLabel = *f.PriceLabel
		c.set("price_label", true)
	}
	if f.Billing != "" {
		c.plan.Billing = catalogv1.Plan_Billing(catalogv1.Plan_Billing_value["BILLING_"+strings.ToUpper(f.Billing)])
		c.set("billing", true)
	}
	if f.File == "" {
		return c, nil
	}
	if len(c.mask.GetPaths()) > 0 {
		return nil, usagef("--file: says all of the plan; give it, or other flags")
	}
	file := &resourceFile{name: f.File, kind: "plan", such: "display_name and limits"}
	c = &planChange{plan: &catalogv1.Plan{}}
	paths, err := file.read(s, c.plan)
	c.mask = &fieldmaskpb.FieldMask{Paths: paths}
	return c, err
}

// set adds a field to the mask, if it is given.
func (c *planChange) set(path string, given bool) {
	if given && !slices.Contains(c.mask.GetPaths(), path) {
		c.mask.Paths = append(c.mask.Paths, path)
	}
}

// attributesOf reads NAME=VALUE; an empty text says that there are none.
func attributesOf(texts []string) (map[string]string, error) {
	all := map[string]string{}
	for _, text := range some(texts) {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("--attribute: %q is not NAME=VALUE", text)
		}
		all[name] = value
	}
	return all, nil
}

// planCreateCmd creates a plan.
type planCreateCmd struct {
	Name      string `arg:"" optional:"" help:"The plan's name, such as Platinum. Default: that of the file."`
	planFlags `embed:""`
}

// Run creates the plan.
func (c *planCreateCmd) Run(ctx context.Context, s *shell) error {
	if c.Name == "" && c.File == "" {
		return usagef("NAME: missing; see tidegate plan create --help")
	}
	change, err := c.read(s)
	if err != nil {
		return err
	}
	plan := change.plan
	plan.Name, plan.Etag = "", ""
	if c.Name != "" {
		plan.DisplayName = c.Name
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	s.change = change
	if plan, err = cl.catalog.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: plan}); err != nil {
		return err
	}
	return s.showPlan(plan, "Created")
}

// showPlan prints a plan after what was done to it.
func (s *shell) showPlan(p *catalogv1.Plan, done string, more ...[2]string) error {
	if s.whole() {
		return s.printWhole(p)
	}
	fields := append([][2]string{{done, p.GetDisplayName()}, {"Name", p.GetName()}}, limitFields(p)...)
	return s.printFields(append(fields, more...)...)
}

// limitFields are the limits of a plan, one in each line.
func limitFields(p *catalogv1.Plan) [][2]string {
	if len(p.GetLimits()) == 0 {
		return [][2]string{{"Limit", "none"}}
	}
	var fields [][2]string
	for _, l := range p.GetLimits() {
		fields = append(fields, [2]string{"Limit", l.GetName() + ": " + limitWords(l)})
	}
	return fields
}

// planListCmd lists plans.
type planListCmd struct {
	Query string `placeholder:"TEXT" help:"Show only plans with this in their name."`
	Order string `enum:"oldest,newest,name,name-desc" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first), newest, name or name-desc. Default: oldest."`
}

// Run lists the plans.
func (c *planListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &catalogv1.ListPlansResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{
			Query: c.Query, OrderBy: orderBy(c.Order), PageSize: pageSize, PageToken: token,
		})
		list.Plans = append(list.Plans, page.GetPlans()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	return s.showPlans(list.GetPlans())
}

// showPlans prints plans as a table.
func (s *shell) showPlans(plans []*catalogv1.Plan) error {
	var rows [][]string
	for _, p := range plans {
		rows = append(rows, []string{p.GetDisplayName(), planWords(p), price(p), p.GetDescription(), p.GetName()})
	}
	return s.printTable([]string{"PLAN", "LIMITS", "PRICE", "DESCRIPTION", "NAME"}, rows)
}

// price is what a plan costs, in words.
func price(p *catalogv1.Plan) string {
	switch {
	case p.GetPriceLabel() != "":
		return p.GetPriceLabel()
	case p.GetBilling() == catalogv1.Plan_BILLING_COMMERCIAL:
		return "commercial"
	}
	return "free"
}

// planGetCmd shows plans.
type planGetCmd struct {
	Plans []string `arg:"" name:"plan" help:"The plan, such as Gold, or several; at most 1000."`
}

// Run shows the plan, or several as list does.
func (c *planGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if len(c.Plans) > 1 {
		return c.several(ctx, s, cl)
	}
	p, err := cl.planOf(ctx, "PLAN", c.Plans[0])
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	fields := append([][2]string{{"Plan", p.GetDisplayName()}, {"Name", p.GetName()}}, limitFields(p)...)
	fields = append(fields, [2]string{"Price", price(p)}, [2]string{"Description", p.GetDescription()})
	for _, name := range slices.Sorted(maps.Keys(p.GetAttributes())) {
		fields = append(fields, [2]string{"Attribute", name + "=" + p.GetAttributes()[name]})
	}
	return s.printFields(append(fields, [2]string{"Used by", list(some(cl.planUses(ctx, p.GetName())))},
		[2]string{"Created", when(p.GetCreateTime())}, [2]string{"Changed", when(p.GetUpdateTime())})...)
}

// planUses are what uses a plan, in words; none for those who may not know it.
func (c *client) planUses(ctx context.Context, name string) []string {
	use, err := c.catalog.GetPlanUse(ctx, &catalogv1.GetPlanUseRequest{Name: name})
	switch {
	case status.Code(err) == codes.PermissionDenied:
		return nil
	case err != nil:
		return []string{"its versions", "its subscriptions", "its applications", c.planSessions(ctx, name)}
	}
	return []string{
		number(int(use.GetVersions()), nil, "version that offers it", "versions that offer it"),
		number(int(use.GetTrafficVersions()), nil, "version that has it for all its traffic", "versions that have it for all their traffic"),
		number(int(use.GetSubscriptionlessVersions()), nil, "version that needs no subscription", "versions that need no subscription"),
		number(int(use.GetSubscriptions()), nil, "subscription", "subscriptions"),
		number(int(use.GetApplications()), nil, "application", "applications"),
		c.planSessions(ctx, name),
	}
}

// planSessions is the number of live sessions under a plan at any place.
func (c *client) planSessions(ctx context.Context, name string) string {
	page, err := c.sessions.ListSessions(ctx, &gatewayv1.ListSessionsRequest{
		Parent: allGateways, Filter: filter("plan", name), PageSize: 1, ReturnPartialSuccess: true,
	})
	if err == nil && len(page.GetUnreachable()) > 0 {
		return "its live sessions"
	}
	return number(int(page.GetTotalSize()), err, "live session", "live sessions")
}

// planUpdateCmd changes a plan. What is not given stays.
type planUpdateCmd struct {
	Plan        string  `arg:"" help:"The plan, such as Gold."`
	Rename      *string `placeholder:"NAME" help:"New name."`
	planFlags   `embed:""`
	AddLimit    bool     `help:"Add the limits that are given, in the place of those of the same name, to those that the plan has. Without it they replace all limits."`
	RemoveLimit []string `sep:"none" placeholder:"LIMIT" help:"Remove the limit of this name; can be repeated. The others stay."`

	yesFlag `embed:""`
}

// Run changes what is given.
func (c *planUpdateCmd) Run(ctx context.Context, s *shell) error {
	change, err := c.read(s)
	if err != nil {
		return err
	}
	if c.AddLimit && len(change.given) == 0 {
		return usagef("--add-limit: there is no limit to add: give --rate, --quota, --connections, --message-size or --session-age")
	}
	if c.File != "" && (c.Rename != nil || len(c.RemoveLimit) > 0) {
		return usagef("--file: says all of the plan; give it, or other flags")
	}
	if c.Rename != nil {
		change.plan.DisplayName = *c.Rename
		change.set("display_name", true)
	}
	if len(change.mask.GetPaths()) == 0 && len(c.RemoveLimit) == 0 {
		return usagef("nothing to change: give --file, --rename, --description, --rate, --quota, --connections, --message-size, --session-age, --remove-limit, --price-label, --billing or --attribute")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.planOf(ctx, "PLAN", c.Plan)
	if err != nil {
		return err
	}
	if err := c.keep(p, change); err != nil {
		return err
	}
	if name := change.plan.GetName(); name != "" && name != p.GetName() {
		return usagef("--file: %s has the name %s, and %s is %s", c.File, name, c.Plan, p.GetName())
	}
	change.plan.Name = p.GetName()
	if change.plan.GetEtag() == "" {
		change.plan.Etag = p.GetEtag()
	}
	// What does not change limits touches nobody's traffic.
	if slices.Contains(change.mask.GetPaths(), "limits") {
		err := s.confirm(ctx, c.Yes, "Changes the limits of the plan "+p.GetDisplayName(), func() []string { return cl.planUses(ctx, p.GetName()) })
		if err != nil {
			return err
		}
	}
	s.change = change
	if p, err = cl.catalog.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: change.plan, UpdateMask: change.mask}); err != nil {
		return err
	}
	return s.showPlan(p, "Changed", s.along()...)
}

// keep puts the limits of a plan that stay before those that are given.
func (c *planUpdateCmd) keep(p *catalogv1.Plan, change *planChange) error {
	if !c.AddLimit && len(c.RemoveLimit) == 0 {
		return nil
	}
	there := map[string]bool{}
	for _, l := range p.GetLimits() {
		there[l.GetName()] = true
	}
	for _, name := range c.RemoveLimit {
		if !there[name] {
			return usagef("--remove-limit: %s has no limit %q; see tidegate plan get %s", p.GetDisplayName(), name, quote.Word(p.GetDisplayName()))
		}
	}
	var limits []*catalogv1.Limit
	var given []string
	for _, l := range p.GetLimits() {
		replaced := slices.ContainsFunc(change.plan.GetLimits(), func(n *catalogv1.Limit) bool { return n.GetName() == l.GetName() })
		if !replaced && !slices.Contains(c.RemoveLimit, l.GetName()) {
			limits, given = append(limits, l), append(given, "PLAN: its limit "+l.GetName())
		}
	}
	change.plan.Limits, change.given = append(limits, change.plan.GetLimits()...), append(given, change.given...)
	change.set("limits", true)
	return nil
}

// planDeleteCmd deletes a plan.
type planDeleteCmd struct {
	Plan string `arg:"" help:"The plan, such as Gold."`

	yesFlag `embed:""`
}

// Run deletes the plan.
func (c *planDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.planOf(ctx, "PLAN", c.Plan)
	if err != nil {
		return err
	}
	err = s.confirm(ctx, c.Yes, "Deletes the plan "+p.GetDisplayName(), func() []string { return cl.planUses(ctx, p.GetName()) })
	if err != nil {
		return err
	}
	if _, err := cl.catalog.DeletePlan(ctx, &catalogv1.DeletePlanRequest{Name: p.GetName(), Etag: p.GetEtag()}); err != nil {
		return err
	}
	return s.deleted(p.GetName(), p.GetDisplayName())
}
