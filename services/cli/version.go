package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// versionCmds are the commands about versions.
type versionCmds struct {
	Create versionCreateCmd `cmd:"" help:"Create a version of an API."`
	List   versionListCmd   `cmd:"" help:"List versions."`
	Get    versionGetCmd    `cmd:"" help:"Show a version, or several."`
	Check  versionCheckCmd  `cmd:"" help:"Have all gateways connect to a version's endpoints, and close."`
	Update versionUpdateCmd `cmd:"" help:"Change a version; live sessions go on as they began."`
	Delete versionDeleteCmd `cmd:"" help:"Delete a version that is not published."`
}

// versionCreateCmd creates a version.
type versionCreateCmd struct {
	API          string `arg:"" name:"api" help:"The API, such as EchoWebSocket."`
	Version      string `arg:"" help:"The version, such as 1.1.0."`
	From         string `placeholder:"VERSION" help:"Version of the API whose settings it takes over, such as 1.0.0; what is given changes them as an update would."`
	versionFlags `embed:""`
	Default      bool `help:"Make it the version that the address without a version leads to."`
	Publish      bool `help:"Publish it at once."`
}

// Run creates the version, and publishes it: all of it, or nothing.
func (c *versionCreateCmd) Run(ctx context.Context, s *shell) error {
	if c.From == "" {
		if err := c.check(c.Publish); err != nil {
			return err
		}
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	api, err := cl.api(ctx, c.API)
	if err != nil {
		return err
	}
	label := api.GetDisplayName() + "/" + c.Version
	create := c.createNew
	if c.From != "" && c.File == "" {
		create = c.createCopy
	}
	made, err := create(ctx, s, cl, api)
	v := made
	if err == nil {
		v, err = cl.finishVersion(ctx, made, c.Default, c.Publish)
	}
	switch {
	case err != nil && made == nil:
		return err
	case err != nil:
		return s.undo(ctx, err, label, func(ctx context.Context) error {
			cl.takeBack(ctx, made)
			_, err := cl.catalog.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: made.GetName()})
			return err
		})
	}
	return s.showVersion(v, label, "Created")
}

// createNew creates the version that the flags or the file describe.
func (c *versionCreateCmd) createNew(ctx context.Context, s *shell, cl *client, api *catalogv1.Api) (made *catalogv1.Version, err error) {
	req := &catalogv1.CreateVersionRequest{Parent: api.GetName()}
	if c.From != "" {
		source, err := cl.versionOf(ctx, "--from", api, c.From)
		if err != nil {
			return nil, err
		}
		req.SourceVersion = source.GetName()
	}
	if req.Version, err = c.message(ctx, s, cl, c.Version); err != nil {
		return nil, err
	}
	return cl.catalog.CreateVersion(ctx, req)
}

// createCopy creates a version that takes over everything, and changes what is given, as an update
// of the other version would: so a flag for a part of a field, or for no value, says nothing of
// the rest. Where the change fails it returns the version, too.
func (c *versionCreateCmd) createCopy(ctx context.Context, s *shell, cl *client, api *catalogv1.Api) (*catalogv1.Version, error) {
	source, err := cl.versionOf(ctx, "--from", api, c.From)
	if err != nil {
		return nil, err
	}
	change, mask, err := c.update().given(ctx, s, cl, source)
	if err != nil {
		return nil, err
	}
	made, err := cl.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
		Parent: api.GetName(), SourceVersion: source.GetName(), Version: &catalogv1.Version{Version: c.Version},
	})
	if err != nil || len(mask.Paths) == 0 {
		return made, err
	}
	change.Name, change.Etag = made.GetName(), made.GetEtag()
	changed, err := cl.catalog.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: change, UpdateMask: mask})
	if err != nil {
		return made, err
	}
	return changed, nil
}

// versionListCmd lists versions.
type versionListCmd struct {
	APIs  []string `arg:"" name:"api" optional:"" help:"The APIs, at most 100. Default: all."`
	State string   `enum:"created,published," default:"" placeholder:"STATE" help:"Show only versions in this state: created or published."`
	Tag   string   `placeholder:"WORD" help:"Show only versions with this tag."`
	Query string   `placeholder:"TEXT" help:"Show only versions with this in their description, or in the name or context of their API."`
	Order string   `enum:"oldest,newest,api,api-desc" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first), newest, api (by its name) or api-desc. Default: oldest."`
}

// Run lists the versions.
func (c *versionListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	req := &catalogv1.ListVersionsRequest{Parent: "apis/-", Query: c.Query, OrderBy: orderBy(c.Order)}
	for _, name := range c.APIs {
		api, err := cl.api(ctx, name)
		if err != nil {
			return err
		}
		req.Apis = append(req.Apis, api.GetName())
	}
	var state, tag string
	if c.State != "" {
		state = filter("state", strings.ToUpper(c.State))
	}
	if c.Tag != "" {
		tag = filter("tags", c.Tag)
	}
	req.Filter = join(state, tag)
	versions, err := cl.listVersions(ctx, req)
	if err != nil && !absent(err) {
		return err
	}
	if s.whole() {
		return s.printWhole(&catalogv1.ListVersionsResponse{Versions: versions})
	}
	return s.showVersions(ctx, cl, versions)
}

// showVersions prints versions as a table.
func (s *shell) showVersions(ctx context.Context, cl *client, versions []*catalogv1.Version) error {
	label := cl.labels()
	var rows [][]string
	for _, v := range versions {
		rows = append(rows, []string{
			label.api(ctx, parent(v.GetName())) + "/" + v.GetVersion(), word(v.GetState(), "STATE_"),
			strings.Join(all(ctx, v.GetPlans(), label.plan), ", "), strings.Join(furtherAddresses(v), " "), v.GetName(),
		})
	}
	return s.printTable([]string{"VERSION", "STATE", "PLANS", "FURTHER ADDRESSES", "NAME"}, rows)
}

// versionGetCmd shows versions.
type versionGetCmd struct {
	Versions []string `arg:"" name:"version" help:"The version, such as EchoWebSocket/1.0.0, or several; at most 1000."`
}

// Run shows the version, or several as list does.
func (c *versionGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if len(c.Versions) > 1 {
		return c.several(ctx, s, cl)
	}
	v, err := cl.version(ctx, "VERSION", c.Versions[0])
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(v)
	}
	label := cl.labels()
	fields := [][2]string{
		{"Version", label.version(ctx, v.GetName())}, {"Name", v.GetName()}, {"State", word(v.GetState(), "STATE_")},
		{"Endpoint", urls(v.GetEndpoints().GetProduction())}, {"Sandbox endpoint", urls(v.GetEndpoints().GetSandbox())},
		{"Health check", healthWords(v.GetEndpoints().GetHealthCheck())}, {"Suspension", suspensionWords(v.GetEndpoints().GetSuspension())},
		{"Time-outs of backends", timeoutWords(v.GetEndpoints().GetTimeouts())},
		{"Security", schemeLabels(v.GetSecurity())}, {"Plans", strings.Join(all(ctx, v.GetPlans(), label.plan), ", ")},
		{"Origins", strings.Join(v.GetAllowedOrigins(), ", ")}, {"Tags", strings.Join(v.GetTags(), ", ")},
		{"Traffic plan", label.plan(ctx, v.GetTrafficPlan())}, {"Without subscription", yes(v.GetSubscriptionless())},
		{"Greatest message", maxMessage(v)}, {"Error frames", errorFramesWords(v.GetErrorFrames())},
		{"Endings for clients", endingWords(v.GetClientEndings())},
		{"Longest session", span(v.GetMaxSessionAge())}, {"Idle time-out", span(v.GetIdleTimeout())}, {"Host for backends", backendHost(v.GetBackendOptions())},
		{"Origin for backends", option(v.GetBackendOptions().GetOrigin() == 0, v.GetBackendOptions().GetOrigin(), "ORIGIN_")},
		{"Identity for backends", option(v.GetBackendOptions().GetIdentity() == 0, v.GetBackendOptions().GetIdentity(), "IDENTITY_")},
		{"Passes credentials on", yes(v.GetPassCredential())}, {"Compression", yes(v.GetDeflate())},
		{"Headers for backends", headerRuleWords(v.GetBackendOptions().GetHeaders())},
		{"Pings", option(v.GetPings() == 0, v.GetPings(), "PINGS_")}, {"Description", v.GetDescription()},
		{"Created", when(v.GetCreateTime())}, {"Changed", when(v.GetUpdateTime())},
	}
	fields = append(fields, connectionFields(v)...)
	for _, a := range v.GetAddresses() {
		fields = append(fields, [2]string{"Address", a})
	}
	fields = append(fields, addressFields(v)...)
	fields = append(fields, httpFields(v.GetHttp())...)
	return s.printFields(append(fields, warnings(v)...)...)
}

// span is a duration in words, empty for none.
func span(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return d.AsDuration().String()
}

// urls are the endpoints of a stage in words.
func urls(endpoints []*catalogv1.Endpoint) string {
	all := make([]string, len(endpoints))
	for i, e := range endpoints {
		all[i] = e.GetUrl()
	}
	return strings.Join(all, ", ")
}

// versionUpdateCmd changes a version. What is not given stays.
type versionUpdateCmd struct {
	Version         string         `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
	File            string         `short:"f" placeholder:"FILE" help:"YAML or JSON file with the version, as tidegate api version get -o yaml prints it; - for standard input. What it does not have stays."`
	Endpoint        []string       `sep:"none" placeholder:"URL" help:"Backend of the production stage; can be repeated; empty for none. Replaces all of the stage."`
	SandboxEndpoint []string       `sep:"none" placeholder:"URL" help:"Backend of the sandbox stage; can be repeated; empty for none. Replaces all of the stage."`
	Plan            []string       `sep:"none" placeholder:"PLAN" help:"Plan to offer; can be repeated. Replaces all plans."`
	Origin          []string       `sep:"none" placeholder:"ORIGIN" help:"Origin that may connect; can be repeated; empty for any. Replaces all origins."`
	Tag             []string       `sep:"none" placeholder:"WORD" help:"Tag; can be repeated; empty for none. Replaces all tags."`
	Description     *string        `placeholder:"TEXT" help:"What is particular to this version."`
	MaxSessionAge   *time.Duration `placeholder:"DURATION" help:"How long a session may live; 0 for no limit."`
	IdleTimeout     *time.Duration `placeholder:"DURATION" help:"How long a session may be without a message; 0 for as long as the gateway allows."`
	securityFlags   `embed:""`
	trafficFlags    `embed:""`
	addressFlags    `embed:""`
	backendFlags    `embed:""`
	connectionFlags `embed:""`
	balanceFlags    `embed:""`
	httpFlags       `embed:""`
}

// Run changes what is given.
func (c *versionUpdateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return err
	}
	change, mask, err := c.given(ctx, s, cl, v)
	if err != nil {
		return err
	}
	if c.File != "" {
		if len(mask.Paths) > 0 {
			return usagef(onlyFile)
		}
		if change, mask.Paths, err = s.changeByFile(ctx, cl, c.File, v); err != nil {
			return err
		}
	}
	if len(mask.Paths) == 0 {
		return usagef("nothing to change: give --file, --endpoint, --sandbox-endpoint, --plan, --security, --place, --origin, --address, --tag, --description, --max-session-age, --idle-timeout, --traffic-plan, --subscriptionless, --max-message, --error-frames, --ending, --backend-host, --backend-origin, --backend-header, --backend-identity, --pass-credential, --deflate, --pings, or one of the flags of --health-, --suspend-, --backend- and --http-")
	}
	if v, err = cl.catalog.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: change, UpdateMask: mask}); err != nil {
		return err
	}
	return s.showVersion(v, cl.labels().version(ctx, v.GetName()), "Changed")
}

// given returns what the flags change of v, and the fields that it is for.
func (c *versionUpdateCmd) given(ctx context.Context, s *shell, cl *client, v *catalogv1.Version) (*catalogv1.Version, *fieldmaskpb.FieldMask, error) {
	plans, err := cl.plansOf(ctx, "--plan", c.Plan)
	if err != nil {
		return nil, nil, err
	}
	security, err := c.schemes()
	if err != nil {
		return nil, nil, err
	}
	change, mask := c.change(v, plans, security)
	spoken, err := c.set(ctx, s, change)
	if err != nil {
		return nil, nil, err
	}
	traffic, err := c.setTraffic(ctx, cl, change)
	if err != nil {
		return nil, nil, err
	}
	balanced, err := c.setBalance(change.GetEndpoints(), v.GetEndpoints())
	if err != nil {
		return nil, nil, err
	}
	http, err := c.setHTTP(change, v.GetHttp())
	if err != nil {
		return nil, nil, err
	}
	connections, err := c.setConnections(ctx, s, change, v)
	if err != nil {
		return nil, nil, err
	}
	addresses, err := c.setAddresses(change)
	if err != nil {
		return nil, nil, err
	}
	mask.Paths = append(mask.Paths, slices.Concat(spoken, traffic, balanced, addresses, connections)...)
	if !slices.Contains(connections, "http") {
		mask.Paths = append(mask.Paths, http...)
	}
	return change, mask, nil
}

// change returns the new values and the fields that they are for.
func (c *versionUpdateCmd) change(v *catalogv1.Version, plans []string, security []*catalogv1.SecurityScheme) (*catalogv1.Version, *fieldmaskpb.FieldMask) {
	change := &catalogv1.Version{Name: v.GetName(), Etag: v.GetEtag(), Endpoints: &catalogv1.Endpoints{}}
	mask := &fieldmaskpb.FieldMask{}
	given := func(path string) { mask.Paths = append(mask.Paths, path) }
	if len(c.Endpoint) > 0 {
		change.Endpoints.Production = endpoints(c.Endpoint)
		given("endpoints.production")
	}
	if len(c.SandboxEndpoint) > 0 {
		change.Endpoints.Sandbox = endpoints(c.SandboxEndpoint)
		given("endpoints.sandbox")
	}
	if len(plans) > 0 {
		change.Plans = plans
		given("plans")
	}
	if len(security) > 0 {
		change.Security = security
		given("security")
	}
	if len(c.Origin) > 0 {
		change.AllowedOrigins = some(c.Origin)
		given("allowed_origins")
	}
	if len(c.Tag) > 0 {
		change.Tags = some(c.Tag)
		given("tags")
	}
	if c.Description != nil {
		change.Description = *c.Description
		given("description")
	}
	for _, d := range []struct {
		given *time.Duration
		to    **durationpb.Duration
		path  string
	}{{c.MaxSessionAge, &change.MaxSessionAge, "max_session_age"}, {c.IdleTimeout, &change.IdleTimeout, "idle_timeout"}} {
		if d.given == nil {
			continue
		}
		if *d.given != 0 {
			*d.to = durationpb.New(*d.given)
		}
		given(d.path)
	}
	return change, mask
}

// some returns the words that are not empty.
func some(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
}

// versionDeleteCmd deletes a version.
type versionDeleteCmd struct {
	Version string `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`

	yesFlag `embed:""`
}

// Run deletes the version.
func (c *versionDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return err
	}
	label := cl.labels().version(ctx, v.GetName())
	err = s.confirm(ctx, c.Yes, "Deletes the version "+label, func() []string {
		subs, err := cl.subscriptions(ctx, filter("version", v.GetName()))
		return []string{number(len(subs), err, "subscription", "subscriptions")}
	})
	if err != nil {
		return err
	}
	if _, err := cl.catalog.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}); err != nil {
		return err
	}
	return s.deleted(v.GetName(), label)
}
