package cli

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// apiKeyCmds are the commands about API keys.
type apiKeyCmds struct {
	Create apiKeyCreateCmd `cmd:"" help:"Create an API key of an application; its value is shown once."`
	List   apiKeyListCmd   `cmd:"" help:"List the API keys of an application, without their values."`
	Get    apiKeyGetCmd    `cmd:"" help:"Show an API key, without its value."`
	Update apiKeyUpdateCmd `cmd:"" help:"Change an API key; live sessions from where it is not good any more end."`
	Rotate apiKeyRotateCmd `cmd:"" help:"Give an API key another value, which is shown once; those before stay good for a while."`
	Delete apiKeyDeleteCmd `cmd:"" help:"Delete an API key: its live sessions end."`
}

// permitFlags say from where an API key is good.
type permitFlags struct {
	From    []string `sep:"none" placeholder:"ADDRESS" help:"Only clients at this IP address or in this network may use the key, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32; can be repeated."`
	Referer []string `sep:"none" placeholder:"PAGES" help:"Only these pages may use the key, such as shop.example.com, *.example.com or example.com/app/*; can be repeated. Browsers name only the host of a page. Protects keys that are in pages, and no others."`
}

// apiKeyCreateCmd makes an API key.
type apiKeyCreateCmd struct {
	App         string        `arg:"" help:"The application."`
	Name        string        `arg:"" help:"What the key is called, such as the program that it is for."`
	Sandbox     bool          `help:"Have the key lead to the sandbox stage instead of production."`
	Lifetime    time.Duration `placeholder:"TIME" help:"How long the key is valid, such as 90d. Default: for ever."`
	permitFlags `embed:""`
}

// Run makes the key.
func (c *apiKeyCreateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	key := &subscriptionv1.APIKey{
		DisplayName: c.Name, Stage: (&oauthClientFlags{Sandbox: c.Sandbox}).stage(),
		PermittedAddresses: some(c.From), PermittedReferers: some(c.Referer),
	}
	if c.Lifetime != 0 {
		key.ExpireTime = timestamppb.New(time.Now().Add(c.Lifetime))
	}
	if key, err = cl.apiKeys.CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{Parent: app.GetName(), ApiKey: key}); err != nil {
		return err
	}
	return s.showAPIKey(key)
}

// showAPIKey prints an API key, with its value where it has one.
func (s *shell) showAPIKey(k *subscriptionv1.APIKey) error {
	if s.whole() {
		return s.printWhole(k)
	}
	fields := [][2]string{{"API key", k.GetDisplayName()}, {"Stage", word(k.GetStage(), "STAGE_")}}
	for _, f := range [][2]string{
		{"Value", k.GetKey()}, {"Ends", when(k.GetExpireTime())}, {"From", strings.Join(k.GetPermittedAddresses(), ", ")},
		{"Pages", strings.Join(k.GetPermittedReferers(), ", ")}, {"Last used", when(k.GetLastUseTime())},
		{"Values before end", when(k.GetReplacedExpireTime())}, {"Created", when(k.GetCreateTime())},
	} {
		if f[1] != "" {
			fields = append(fields, f)
		}
	}
	if err := s.printFields(append(fields, [2]string{"Name", k.GetName()})...); err != nil {
		return err
	}
	if k.GetKey() != "" {
		s.note("The value is not shown again.")
	}
	return nil
}

// allAPIKeys returns the API keys of an application.
func (c *client) allAPIKeys(ctx context.Context, app string) ([]*subscriptionv1.APIKey, error) {
	var found []*subscriptionv1.APIKey
	err := everyPage(func(token string) (string, error) {
		page, err := c.apiKeys.ListAPIKeys(ctx, &subscriptionv1.ListAPIKeysRequest{Parent: app, PageSize: pageSize, PageToken: token})
		found = append(found, page.GetApiKeys()...)
		return page.GetNextPageToken(), err
	})
	return found, err
}

// apiKeyArgs name an API key of an application.
type apiKeyArgs struct {
	App string `arg:"" help:"The application."`
	Key string `arg:"" help:"The API key: what it is called, or its name, applications/…/apiKeys/…."`
}

// find returns the API key.
func (a *apiKeyArgs) find(ctx context.Context, cl *client) (*subscriptionv1.APIKey, error) {
	app, err := cl.application(ctx, "APP", a.App)
	if err != nil {
		return nil, err
	}
	return cl.apiKey(ctx, "KEY", app.GetName(), a.Key)
}

// keyFilter returns a filter by --key of sessions or records, empty without it. A key that
// was deleted is found by its name alone: the server knows whether there is anything of it.
func (c *client) keyFilter(ctx context.Context, app, key string) (string, error) {
	switch {
	case key == "":
		return "", nil
	case strings.HasPrefix(key, "applications/") && strings.Count(key, "/") == 3:
		return filter("api_key", key), nil
	case app == "":
		return "", usagef("--key: %q is no name of an API key, which is applications/…/apiKeys/…; what it is called needs --app beside it", key)
	}
	of, err := c.application(ctx, "--app", app)
	if err != nil {
		return "", err
	}
	found, err := c.apiKey(ctx, "--key", of.GetName(), key)
	if err != nil {
		return "", err
	}
	return filter("api_key", found.GetName()), nil
}

// apiKey returns an API key of an application by its name or what it is called; arg is the
// argument that says it.
func (c *client) apiKey(ctx context.Context, arg, app, key string) (*subscriptionv1.APIKey, error) {
	all, err := c.allAPIKeys(ctx, app)
	if err != nil {
		return nil, err
	}
	var found []*subscriptionv1.APIKey
	var names []string
	for _, k := range all {
		if k.GetName() == key {
			return k, nil
		}
		if strings.EqualFold(k.GetDisplayName(), key) {
			found, names = append(found, k), append(names, k.GetName())
		}
	}
	switch len(found) {
	case 0:
		return nil, unknown(arg, "API key", key, "apikey list")
	case 1:
		return found[0], nil
	}
	return nil, failed(codes.InvalidArgument, "%s: %d API keys are called %q: give one of %s", arg, len(found), key, strings.Join(names, ", "))
}

// apiKeyListCmd lists API keys.
type apiKeyListCmd struct {
	App string `arg:"" help:"The application."`
}

// Run lists the keys.
func (c *apiKeyListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	all, err := cl.allAPIKeys(ctx, app.GetName())
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.ListAPIKeysResponse{ApiKeys: all})
	}
	var rows [][]string
	for _, k := range all {
		rows = append(rows, []string{
			k.GetDisplayName(), word(k.GetStage(), "STAGE_"), when(k.GetLastUseTime()), when(k.GetExpireTime()),
			strings.Join(append(k.GetPermittedAddresses(), k.GetPermittedReferers()...), ", "), k.GetName(),
		})
	}
	return s.printTable([]string{"API KEY", "STAGE", "LAST USED", "ENDS", "FROM", "NAME"}, rows)
}

// apiKeyGetCmd shows an API key.
type apiKeyGetCmd struct {
	apiKeyArgs `embed:""`
}

// Run shows the key.
func (c *apiKeyGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	return s.showAPIKey(k)
}

// apiKeyUpdateCmd changes an API key. What is not given stays.
type apiKeyUpdateCmd struct {
	apiKeyArgs  `embed:""`
	Rename      string `placeholder:"NAME" help:"What the key is called from now on."`
	permitFlags `embed:""`
}

// Run changes what is given; --from= and --referer= permit everything.
func (c *apiKeyUpdateCmd) Run(ctx context.Context, s *shell) error {
	change, mask := &subscriptionv1.APIKey{DisplayName: c.Rename}, &fieldmaskpb.FieldMask{}
	if c.Rename != "" {
		mask.Paths = append(mask.Paths, "display_name")
	}
	if len(c.From) > 0 {
		change.PermittedAddresses = some(c.From)
		mask.Paths = append(mask.Paths, "permitted_addresses")
	}
	if len(c.Referer) > 0 {
		change.PermittedReferers = some(c.Referer)
		mask.Paths = append(mask.Paths, "permitted_referers")
	}
	if len(mask.GetPaths()) == 0 {
		return usagef("nothing to change: give --rename, --from or --referer")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	change.Name, change.Etag = k.GetName(), k.GetEtag()
	if k, err = cl.apiKeys.UpdateAPIKey(ctx, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: change, UpdateMask: mask}); err != nil {
		return err
	}
	return s.showAPIKey(k)
}

// apiKeyRotateCmd gives an API key another value.
type apiKeyRotateCmd struct {
	apiKeyArgs `embed:""`
	Overlap    time.Duration `default:"24h" placeholder:"TIME" help:"How long the values before stay good, at most 30d; 0s ends them, and their live sessions, at once. Default: 24h."`
	yesFlag    `embed:""`
}

// Run rotates the key.
func (c *apiKeyRotateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if c.Overlap == 0 {
		err := s.confirm(ctx, c.Yes, "Ends the values of the API key "+k.GetDisplayName()+" at once", func() []string {
			return []string{cl.liveSessions(ctx, where("api_key", k.GetName()))}
		})
		if err != nil {
			return err
		}
	}
	k, err = cl.apiKeys.RotateAPIKey(ctx, &subscriptionv1.RotateAPIKeyRequest{Name: k.GetName(), Etag: k.GetEtag(), Overlap: durationpb.New(c.Overlap)})
	if err != nil {
		return err
	}
	return s.showAPIKey(k)
}

// apiKeyDeleteCmd deletes an API key.
type apiKeyDeleteCmd struct {
	apiKeyArgs `embed:""`
	yesFlag    `embed:""`
}

// Run deletes the key.
func (c *apiKeyDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	label := "the API key " + k.GetDisplayName()
	err = s.confirm(ctx, c.Yes, "Deletes "+label, func() []string { return []string{cl.liveSessions(ctx, where("api_key", k.GetName()))} })
	if err != nil {
		return err
	}
	if _, err := cl.apiKeys.DeleteAPIKey(ctx, &subscriptionv1.DeleteAPIKeyRequest{Name: k.GetName(), Etag: k.GetEtag()}); err != nil {
		return err
	}
	return s.deleted(k.GetName(), label)
}
