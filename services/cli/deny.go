package cli

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// denyCmds are the commands about deny rules.
type denyCmds struct {
	Create denyCreateCmd `cmd:"" help:"Deny clients: their handshakes are refused, and their live sessions end within a second."`
	List   denyListCmd   `cmd:"" help:"List deny rules: all, or those of one's own APIs."`
	Get    denyGetCmd    `cmd:"" help:"Show a deny rule."`
	Update denyUpdateCmd `cmd:"" help:"Change a deny rule; live sessions that it matches then end."`
	Delete denyDeleteCmd `cmd:"" help:"Delete a deny rule: what it kept out may come in again."`
}

// denyFlags are the conditions of a deny rule. Where several are given, all must hold.
type denyFlags struct {
	API          []string `name:"api" sep:"none" placeholder:"API" help:"Deny this API, such as EchoWebSocket, or this version of it, such as EchoWebSocket/1.0.0; can be repeated for versions of one API. Only administrators make rules without an API."`
	App          *string  `placeholder:"APP" help:"Deny this application."`
	Subscription *string  `placeholder:"NAME" help:"Deny this subscription, such as subscriptions/7fkq3c2m9x."`
	From         *string  `placeholder:"ADDRESS" help:"Deny this IP address or network of clients, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."`
}

// denyChange is a deny rule with new values and the fields that they are for.
type denyChange struct {
	rule *catalogv1.DenyRule
	mask *fieldmaskpb.FieldMask
}

func (c *denyChange) set(paths ...string) { c.mask.Paths = append(c.mask.Paths, paths...) }

// of is a stored rule with the new conditions. Its reason and expiry stay: they end no
// session.
func (c *denyChange) of(stored *catalogv1.DenyRule) *catalogv1.DenyRule {
	next := proto.CloneOf(stored)
	for _, path := range c.mask.GetPaths() {
		switch path {
		case "api":
			next.Api = c.rule.GetApi()
		case "versions":
			next.Versions = c.rule.GetVersions()
		case "application":
			next.Application = c.rule.GetApplication()
		case "subscription":
			next.Subscription = c.rule.GetSubscription()
		case "client_address":
			next.ClientAddress = c.rule.GetClientAddress()
		}
	}
	return next
}

// read returns what the flags say of a rule. An empty value says that there is no such
// condition.
func (f *denyFlags) read(ctx context.Context, cl *client) (*denyChange, error) {
	c := &denyChange{rule: &catalogv1.DenyRule{}, mask: &fieldmaskpb.FieldMask{}}
	if len(f.API) > 0 {
		c.set("api", "versions")
	}
	for _, text := range some(f.API) {
		if err := c.addAPI(ctx, cl, text); err != nil {
			return nil, err
		}
	}
	if f.App != nil {
		name, err := cl.deniedApplication(ctx, *f.App)
		if err != nil {
			return nil, err
		}
		c.rule.Application = name
		c.set("application")
	}
	if f.Subscription != nil {
		c.rule.Subscription = *f.Subscription
		c.set("subscription")
	}
	if f.From != nil {
		c.rule.ClientAddress = *f.From
		c.set("client_address")
	}
	return c, nil
}

// addAPI adds what one --api names: an API, or a version.
func (c *denyChange) addAPI(ctx context.Context, cl *client, text string) error {
	api, version := "", ""
	found, err := cl.findAPI(ctx, text)
	switch {
	case err != nil:
		return err
	case found != nil:
		api = found.GetName()
	default:
		v, err := cl.version(ctx, "--api", text)
		if err != nil {
			return err
		}
		api, version = parent(v.GetName()), v.GetName()
	}
	if before := c.rule.GetApi(); before != "" && (before != api || version == "" || len(c.rule.GetVersions()) == 0) {
		return usagef("--api: several must be versions of one API, such as EchoWebSocket/1.0.0 and EchoWebSocket/2.0.0")
	}
	c.rule.Api = api
	if version != "" {
		c.rule.Versions = append(c.rule.Versions, version)
	}
	return nil
}

// deniedApplication returns the name of an application. A name of one that the user does not see is
// taken as it is: whose APIs it uses need not see it.
func (c *client) deniedApplication(ctx context.Context, text string) (string, error) {
	if text == "" || named(text, "applications") {
		return text, nil
	}
	app, err := c.application(ctx, "--app", text)
	return app.GetName(), err
}

// denyCreateCmd creates a deny rule.
type denyCreateCmd struct {
	denyFlags `embed:""`
	Reason    string         `placeholder:"TEXT" help:"Why; clients are never told."`
	Lifetime  *time.Duration `placeholder:"TIME" help:"How long the rule holds, such as 24h or 7d. Default: until it is deleted."`

	yesFlag `embed:""`
}

// Run creates the rule.
func (c *denyCreateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	change, err := c.read(ctx, cl)
	if err != nil {
		return err
	}
	r := change.rule
	if r.GetApi() == "" && r.GetApplication() == "" && r.GetSubscription() == "" && r.GetClientAddress() == "" {
		return usagef("nothing to deny: give --api, --app, --subscription or --from")
	}
	r.Reason = c.Reason
	if c.Lifetime != nil {
		r.ExpireTime = timestamppb.New(time.Now().Add(*c.Lifetime))
	}
	if err := s.confirmDenial(ctx, cl, c.Yes, r); err != nil {
		return err
	}
	r, err = cl.deny.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: r})
	if err != nil {
		return err
	}
	return s.showDenyRule(ctx, cl, r, "Created")
}

// showDenyRule prints a rule, after what was done to it, and what went with it.
func (s *shell) showDenyRule(ctx context.Context, cl *client, r *catalogv1.DenyRule, done string) error {
	if s.whole() {
		return s.printWhole(r)
	}
	label := cl.labels()
	fields := [][2]string{{done, r.GetName()}}
	for _, f := range [][2]string{
		{"API", r.GetApiDisplayName()}, {"Versions", versionsOf(ctx, label, r)}, {"Application", label.application(ctx, r.GetApplication())},
		{"Subscription", r.GetSubscription()}, {"From", r.GetClientAddress()}, {"Reason", r.GetReason()}, {"Until", when(r.GetExpireTime())},
		{"By", label.user(ctx, r.GetCreator())}, {"Changed", when(r.GetUpdateTime())},
	} {
		if f[1] != "" {
			fields = append(fields, f)
		}
	}
	if r.GetAdministrative() {
		fields = append(fields, [2]string{"Changed by", "administrators only"})
	}
	return s.printFields(append(fields, s.along()...)...)
}

// versionsOf are the version strings of a rule's versions.
func versionsOf(ctx context.Context, label *labels, r *catalogv1.DenyRule) string {
	var all []string
	for _, name := range r.GetVersions() {
		all = append(all, strings.TrimPrefix(label.version(ctx, name), r.GetApiDisplayName()+"/"))
	}
	return strings.Join(all, ", ")
}

// denyListCmd lists deny rules.
type denyListCmd struct {
	API          string `name:"api" placeholder:"API" help:"Show only those of this API, such as EchoWebSocket."`
	App          string `placeholder:"APP" help:"Show only those of this application."`
	Subscription string `placeholder:"NAME" help:"Show only those of this subscription."`
	From         string `placeholder:"ADDRESS" help:"Show only those that cover this IP address or network."`
	Order        string `enum:"oldest,newest" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first) or newest. Default: oldest."`
}

// Run lists the rules.
func (c *denyListCmd) Run(ctx context.Context, s *shell) error {
	if _, err := netip.ParsePrefix(c.From); c.From != "" && err != nil {
		if _, err := netip.ParseAddr(c.From); err != nil {
			return usagef("--from: %q is no IP address or network, such as 203.0.113.7 or 203.0.113.0/24", c.From)
		}
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	api := ""
	if c.API != "" {
		found, err := cl.findAPI(ctx, c.API)
		if err != nil {
			return err
		}
		if found == nil {
			return unknown("--api", "API", c.API, "api list")
		}
		api = found.GetName()
	}
	app, err := cl.deniedApplication(ctx, c.App)
	if err != nil {
		return err
	}
	only := join(where("api", api), where("application", app), where("subscription", c.Subscription), where("client_address", c.From))
	list := &catalogv1.ListDenyRulesResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.deny.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{
			Filter: only, OrderBy: orderBy(c.Order), PageSize: pageSize, PageToken: token,
		})
		list.DenyRules = append(list.DenyRules, page.GetDenyRules()...)
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
	for _, r := range list.GetDenyRules() {
		rows = append(rows, []string{
			strings.TrimSuffix(r.GetApiDisplayName()+" "+versionsOf(ctx, label, r), " "), label.application(ctx, r.GetApplication()),
			r.GetSubscription(), r.GetClientAddress(), when(r.GetExpireTime()), r.GetReason(), r.GetName(),
		})
	}
	return s.printTable([]string{"API", "APPLICATION", "SUBSCRIPTION", "FROM", "UNTIL", "REASON", "NAME"}, rows)
}

// denyRule returns the rule that the argument RULE names.
func (c *client) denyRule(ctx context.Context, text string) (*catalogv1.DenyRule, error) {
	name := text
	if !strings.Contains(name, "/") {
		name = "denyRules/" + name
	}
	r, err := c.deny.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: name})
	if absent(err) {
		err = unknown("RULE", "deny rule", text, "deny list")
	}
	return r, err
}

// denyGetCmd shows a deny rule.
type denyGetCmd struct {
	Rule string `arg:"" help:"The rule, such as denyRules/7fkq3c2m9x."`
}

// Run shows the rule.
func (c *denyGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	r, err := cl.denyRule(ctx, c.Rule)
	if err != nil {
		return err
	}
	return s.showDenyRule(ctx, cl, r, "Rule")
}

// denyUpdateCmd changes a deny rule. What is not given stays.
type denyUpdateCmd struct {
	Rule      string `arg:"" help:"The rule, such as denyRules/7fkq3c2m9x."`
	denyFlags `embed:""`
	Reason    *string        `placeholder:"TEXT" help:"Why; clients are never told."`
	Lifetime  *time.Duration `placeholder:"TIME" help:"How long the rule holds from now on, such as 24h or 7d; 0s for until it is deleted."`

	yesFlag `embed:""`
}

// Run changes what is given.
func (c *denyUpdateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	change, err := c.read(ctx, cl)
	if err != nil {
		return err
	}
	if c.Reason != nil {
		change.rule.Reason = *c.Reason
		change.set("reason")
	}
	if c.Lifetime != nil {
		if *c.Lifetime != 0 {
			change.rule.ExpireTime = timestamppb.New(time.Now().Add(*c.Lifetime))
		}
		change.set("expire_time")
	}
	if len(change.mask.GetPaths()) == 0 {
		return usagef("nothing to change: give --api, --app, --subscription, --from, --reason or --lifetime")
	}
	r, err := cl.denyRule(ctx, c.Rule)
	if err != nil {
		return err
	}
	change.rule.Name, change.rule.Etag = r.GetName(), r.GetEtag()
	if next := change.of(r); !proto.Equal(next, r) {
		if err := s.confirmDenial(ctx, cl, c.Yes, next); err != nil {
			return err
		}
	}
	if r, err = cl.deny.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: change.rule, UpdateMask: change.mask}); err != nil {
		return err
	}
	return s.showDenyRule(ctx, cl, r, "Changed")
}

// denyDeleteCmd deletes a deny rule.
type denyDeleteCmd struct {
	Rule string `arg:"" help:"The rule, such as denyRules/7fkq3c2m9x."`
}

// Run deletes the rule.
func (c *denyDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	r, err := cl.denyRule(ctx, c.Rule)
	if err != nil {
		return err
	}
	if _, err := cl.deny.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: r.GetName(), Etag: r.GetEtag()}); err != nil {
		return err
	}
	conditions := slices.DeleteFunc([]string{r.GetApiDisplayName(), r.GetApplication(), r.GetSubscription(), r.GetClientAddress()}, func(c string) bool { return c == "" })
	return s.deleted(r.GetName(), "the rule for "+list(conditions))
}
