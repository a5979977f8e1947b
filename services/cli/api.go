package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// apiCmds are the commands about APIs.
type apiCmds struct {
	Create    apiCreateCmd    `cmd:"" help:"Create an API and its first version."`
	Publish   apiPublishCmd   `cmd:"" help:"Publish a version."`
	Demote    apiDemoteCmd    `cmd:"" help:"Withdraw a version from the gateways; its live sessions end."`
	List      apiListCmd      `cmd:"" help:"List APIs."`
	Get       apiGetCmd       `cmd:"" help:"Show an API and its versions, or several APIs."`
	Update    apiUpdateCmd    `cmd:"" help:"Change an API."`
	Transfer  apiTransferCmd  `cmd:"" help:"Give an API to another user."`
	Delete    apiDeleteCmd    `cmd:"" help:"Delete an API."`
	Endpoints apiEndpointsCmd `cmd:"" help:"Show what gateways know of a version's endpoints: whether they work, and their connections."`
	Version   versionCmds     `cmd:"" help:"Versions of an API."`
}

// versionFlags say what a version is.
type versionFlags struct {
	File            string   `short:"f" placeholder:"FILE" help:"YAML or JSON file with the version, as tidegate api version get -o yaml prints it; - for standard input."`
	Endpoint        []string `sep:"none" placeholder:"URL" help:"Backend of the production stage: a ws, wss, http or https URL; can be repeated for several that take each other's place. Its path and query may have {uri.path.N} and {uri.query.NAME}, of the client's."`
	SandboxEndpoint []string `sep:"none" placeholder:"URL" help:"Backend of the sandbox stage; can be repeated."`
	Plan            []string `sep:"none" placeholder:"PLAN" help:"Plan to offer; can be repeated."`
	securityFlags   `embed:""`
	Origin          []string       `sep:"none" placeholder:"ORIGIN" help:"Origin that may connect, such as https://example.com, app://localhost, file:// or null; can be repeated. Default: any."`
	Tag             []string       `sep:"none" placeholder:"WORD" help:"Word to find the version by; can be repeated."`
	Description     *string        `placeholder:"TEXT" help:"What it is for."`
	MaxSessionAge   *time.Duration `placeholder:"DURATION" help:"How long a session may live, such as 12h. Default: no limit."`
	IdleTimeout     *time.Duration `placeholder:"DURATION" help:"How long a session may be without a message, such as 10m. Default: as long as the gateway allows."`
	trafficFlags    `embed:""`
	addressFlags    `embed:""`
	backendFlags    `embed:""`
	connectionFlags `embed:""`
	balanceFlags    `embed:""`
	httpFlags       `embed:""`
}

// message returns the version that the flags describe.
func (f *versionFlags) message(ctx context.Context, s *shell, cl *client, version string) (*catalogv1.Version, error) {
	plans, err := cl.plansOf(ctx, "--plan", f.Plan)
	if err != nil {
		return nil, err
	}
	v := &catalogv1.Version{
		Version:        version,
		Tags:           f.Tag,
		Plans:          plans,
		AllowedOrigins: f.Origin,
	}
	setValue(&v.Description, f.Description)
	setSpan(&v.MaxSessionAge, f.MaxSessionAge)
	setSpan(&v.IdleTimeout, f.IdleTimeout)
	e := &catalogv1.Endpoints{Production: endpoints(f.Endpoint), Sandbox: endpoints(f.SandboxEndpoint)}
	balanced, err := f.setBalance(e, nil)
	if err != nil {
		return nil, err
	}
	if len(e.GetProduction())+len(e.GetSandbox())+len(balanced) > 0 {
		v.Endpoints = e
	}
	if v.Security, err = f.schemes(); err != nil {
		return nil, err
	}
	if _, err = f.set(ctx, s, v); err != nil {
		return nil, err
	}
	if _, err = f.setHTTP(v, nil); err != nil {
		return nil, err
	}
	if _, err = f.setConnections(ctx, s, v, nil); err != nil {
		return nil, err
	}
	if _, err := f.setAddresses(v); err != nil {
		return nil, err
	}
	if _, err = f.setTraffic(ctx, cl, v); err == nil && f.File != "" {
		return s.newVersionFile(ctx, cl, f.File, v)
	}
	return v, err
}

// update returns the flags as those that change a version.
func (f *versionFlags) update() *versionUpdateCmd {
	return &versionUpdateCmd{
		Endpoint: f.Endpoint, SandboxEndpoint: f.SandboxEndpoint, Plan: f.Plan, Origin: f.Origin, Tag: f.Tag,
		Description: f.Description, MaxSessionAge: f.MaxSessionAge, IdleTimeout: f.IdleTimeout,
		securityFlags: f.securityFlags, trafficFlags: f.trafficFlags, addressFlags: f.addressFlags, backendFlags: f.backendFlags,
		connectionFlags: f.connectionFlags, balanceFlags: f.balanceFlags, httpFlags: f.httpFlags,
	}
}

// endpoints returns the endpoints of a stage with these URLs, of which empty ones are none.
func endpoints(urls []string) (all []*catalogv1.Endpoint) {
	for _, url := range some(urls) {
		all = append(all, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: url}})
	}
	return all
}

// check refuses a version that lacks something before anything is created.
func (f *versionFlags) check(publish bool) error {
	switch {
	case f.File != "": // which the server checks
	case len(some(f.Endpoint)) == 0 && len(some(f.SandboxEndpoint)) == 0:
		return usagef("--endpoint: a backend is needed, as --endpoint ws://localhost:8080 (or --sandbox-endpoint)")
	case publish && len(f.Plan) == 0 && !f.anonymous() && (f.Subscriptionless == nil || !*f.Subscriptionless):
		return usagef("--plan: a plan is needed with --publish, as --plan Gold (or --security none); list them with: tidegate plan list")
	}
	return nil
}

// apiCreateCmd creates an API.
type apiCreateCmd struct {
	Name         string `arg:"" help:"The API's name, such as EchoWebSocket."`
	Context      string `placeholder:"PATH" help:"First part of the address at the gateway, such as /echo. Default: the name in lower case."`
	Version      string `default:"1.0.0" help:"The first version."`
	versionFlags `embed:""`
	Default      bool `default:"true" negatable:"" help:"Make it the version that the address without a version leads to."`
	DefaultPaths bool `help:"The default version also gets the paths that name no version, such as /CONTEXT/socket.io/."`
	Publish      bool `help:"Publish it at once."`
}

// Run creates the API, its version, and publishes it: all of it, or nothing.
func (c *apiCreateCmd) Run(ctx context.Context, s *shell) error {
	if err := c.check(c.Publish); err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if c.Context == "" {
		c.Context = "/" + strings.ToLower(c.Name)
	}
	var description string
	setValue(&description, c.Description)
	c.Description = nil // it is the API's
	v, err := c.message(ctx, s, cl, c.Version)
	if err != nil {
		return err
	}
	api, err := cl.catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{
		DisplayName: c.Name, Context: c.Context, Description: description, DefaultVersionPaths: c.DefaultPaths,
	}})
	if err != nil {
		return err
	}
	made, err := cl.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: v})
	if err == nil {
		v, err = cl.finishVersion(ctx, made, c.Default, c.Publish)
	}
	if err != nil {
		return s.undo(ctx, err, c.Name, func(ctx context.Context) error {
			cl.takeBack(ctx, made)
			_, err := cl.catalog.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: api.GetName(), Force: true})
			return err
		})
	}
	return s.showVersion(v, c.Name+"/"+v.GetVersion(), "Created")
}

// undoTime is how long undo may take.
const undoTime = 10 * time.Second

// undo deletes what a command created before it failed, so that the command can be
// repeated. It has a deadline of its own, because the command's may have passed.
func (s *shell) undo(ctx context.Context, err error, label string, takeBack func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if undo := takeBack(ctx); undo != nil && !absent(undo) {
		return fmt.Errorf("%w; %s was created and could not be deleted again: %w", s.explain(err), label, s.explain(undo))
	}
	return err
}

// parent returns the resource name above a resource name.
func parent(name string) string {
	parts := strings.Split(name, "/")
	return strings.Join(parts[:max(0, len(parts)-2)], "/")
}

// apiGetCmd shows APIs.
type apiGetCmd struct {
	APIs []string `arg:"" name:"api" help:"The API, such as EchoWebSocket, or several; at most 1000."`
}

// Run shows the API and its versions, or several APIs as list does.
func (c *apiGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if len(c.APIs) > 1 {
		return c.several(ctx, s, cl)
	}
	api, err := cl.api(ctx, c.APIs[0])
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(api)
	}
	versions, err := cl.versions(ctx, api.GetName(), "")
	if err != nil {
		return err
	}
	label := cl.labels()
	fields := [][2]string{
		{"API", api.GetDisplayName()}, {"Name", api.GetName()}, {"Context", api.GetContext()},
		{"Owner", label.user(ctx, api.GetOwner())}, {"Description", api.GetDescription()},
		{"Default version's paths", defaultPaths(api)},
		{"Created", when(api.GetCreateTime())}, {"Changed", when(api.GetUpdateTime())},
	}
	for _, v := range versions {
		text := v.GetVersion() + ", " + word(v.GetState(), "STATE_")
		if v.GetName() == api.GetDefaultVersion() {
			text += ", default"
		}
		fields = append(fields, [2]string{"Version", text})
		for _, a := range v.GetAddresses() {
			fields = append(fields, [2]string{"", a})
		}
	}
	return s.printFields(fields...)
}

// defaultPaths says which paths the default version gets beside its own; empty for
// none.
func defaultPaths(api *catalogv1.Api) string {
	if !api.GetDefaultVersionPaths() {
		return ""
	}
	return "all that name no version"
}

// apiUpdateCmd changes an API.
type apiUpdateCmd struct {
	API         string  `arg:"" name:"api" help:"The API, such as EchoWebSocket."`
	Rename      *string `placeholder:"NAME" help:"New name."`
	Context     *string `placeholder:"PATH" help:"New first part of the address; fixed once a version is published."`
	Description *string `placeholder:"TEXT" help:"What it is for."`
	Default     *string `placeholder:"VERSION" help:"Version that the address without a version leads to, such as 1.0.0; empty for none."`

	DefaultPaths *bool `negatable:"" help:"Whether the default version also gets the paths that name no version, such as /CONTEXT/socket.io/."`
}

// Run changes what is given.
func (c *apiUpdateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	api, err := cl.api(ctx, c.API)
	if err != nil {
		return err
	}
	change, mask := &catalogv1.Api{Name: api.GetName(), Etag: api.GetEtag()}, &fieldmaskpb.FieldMask{}
	set := func(path string, to, value *string) {
		if value != nil {
			*to, mask.Paths = *value, append(mask.Paths, path)
		}
	}
	set("display_name", &change.DisplayName, c.Rename)
	set("context", &change.Context, c.Context)
	set("description", &change.Description, c.Description)
	if c.Default != nil {
		name := ""
		if *c.Default != "" {
			v, err := cl.versionOf(ctx, "--default", api, *c.Default)
			if err != nil {
				return err
			}
			name = v.GetName()
		}
		set("default_version", &change.DefaultVersion, &name)
	}
	if c.DefaultPaths != nil {
		change.DefaultVersionPaths = *c.DefaultPaths
		mask.Paths = append(mask.Paths, "default_version_paths")
	}
	if len(mask.Paths) == 0 {
		return usagef("nothing to change: give --rename, --context, --description, --default or --default-paths")
	}
	if api, err = cl.catalog.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: change, UpdateMask: mask}); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(api)
	}
	return s.printFields([2]string{"Changed", api.GetDisplayName()})
}

// apiTransferCmd gives an API to another user.
type apiTransferCmd struct {
	API      string `arg:"" name:"api" help:"The API, such as EchoWebSocket."`
	Username string `arg:"" help:"The new owner; me for yourself, which an administrator can do."`
}

// Run gives the API to the user.
func (c *apiTransferCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	api, err := cl.api(ctx, c.API)
	if err != nil {
		return err
	}
	// Only administrators can look users up, so the server does.
	owner := c.Username
	if owner == "me" {
		owner = "users/me"
	}
	api, err = cl.catalog.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: api.GetName(), Owner: owner, Etag: api.GetEtag()})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(api)
	}
	return s.printFields([2]string{"Given", api.GetDisplayName()}, [2]string{"Owner", c.Username})
}

// apiDeleteCmd deletes an API.
type apiDeleteCmd struct {
	API   string `arg:"" name:"api" help:"The API, such as EchoWebSocket."`
	Force bool   `help:"Delete its versions too, if none is published."`

	yesFlag `embed:""`
}

// Run deletes the API.
func (c *apiDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	api, err := cl.api(ctx, c.API)
	if err != nil {
		return err
	}
	err = s.confirm(ctx, c.Yes, "Deletes the API "+api.GetDisplayName(), func() []string {
		versions, err := cl.versions(ctx, api.GetName(), "")
		subs := 0
		for _, v := range versions {
			of, failed := cl.subscriptions(ctx, filter("version", v.GetName()))
			subs, err = subs+len(of), errors.Join(err, failed)
		}
		return []string{number(len(versions), err, "version", "versions"), number(subs, err, "subscription", "subscriptions")}
	})
	if err != nil {
		return err
	}
	_, err = cl.catalog.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: api.GetName(), Etag: api.GetEtag(), Force: c.Force})
	if err != nil {
		return err
	}
	return s.deleted(api.GetName(), api.GetDisplayName())
}

// deleted says that something was deleted.
func (s *shell) deleted(name, label string) error {
	if s.whole() {
		return s.printValue(map[string]any{"deleted": name, "with": append([]string{}, s.took...)})
	}
	return s.printFields(append([][2]string{{"Deleted", label}}, s.along()...)...)
}
