package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// oauthClientCmds are the commands about OAuth clients.
type oauthClientCmds struct {
	Create oauthClientCreateCmd `cmd:"" help:"Create an OAuth client with a secret, which is shown once and stored for tidegate token."`
	List   oauthClientListCmd   `cmd:"" help:"List the OAuth clients of an application."`
	Delete oauthClientDeleteCmd `cmd:"" help:"Delete an OAuth client: its tokens and live sessions end."`
	Secret secretCmds           `cmd:"" help:"Secrets of an OAuth client."`
}

// secretCmds are the commands about secrets.
type secretCmds struct {
	Create secretCreateCmd `cmd:"" help:"Create another secret, which is shown once and stored for tidegate token; the others stay valid."`
	List   secretListCmd   `cmd:"" help:"List the secrets of an OAuth client, without their values."`
	Delete secretDeleteCmd `cmd:"" help:"Delete a secret; tokens that were issued with it stay valid."`
}

// oauthClientFlags name an OAuth client of an application.
type oauthClientFlags struct {
	App     string `arg:"" help:"The application."`
	Sandbox bool   `help:"Use the OAuth client of the sandbox stage instead of production."`
}

func (f *oauthClientFlags) stage() catalogv1.Stage {
	if f.Sandbox {
		return catalogv1.Stage_STAGE_SANDBOX
	}
	return catalogv1.Stage_STAGE_PRODUCTION
}

// flag returns what a command line has behind the application to name this stage.
func (f *oauthClientFlags) flag() string {
	if f.Sandbox {
		return " --sandbox"
	}
	return ""
}

// find returns the OAuth client and its application.
func (f *oauthClientFlags) find(ctx context.Context, cl *client) (*subscriptionv1.Application, *subscriptionv1.OAuthClient, error) {
	app, err := cl.application(ctx, "APP", f.App)
	if err != nil {
		return nil, nil, err
	}
	all, err := cl.oauthClients(ctx, app.GetName())
	if err != nil {
		return nil, nil, err
	}
	for _, c := range all {
		if c.GetStage() == f.stage() {
			return app, c, nil
		}
	}
	return nil, nil, failed(codes.FailedPrecondition, "APP: %s has no %s OAuth client; create one with: tidegate oauth-client create %s%s",
		app.GetDisplayName(), word(f.stage(), "STAGE_"), quote.Word(f.App), f.flag())
}

// oauthClients returns the OAuth clients of an application.
func (c *client) oauthClients(ctx context.Context, app string) ([]*subscriptionv1.OAuthClient, error) {
	var found []*subscriptionv1.OAuthClient
	err := everyPage(func(token string) (string, error) {
		page, err := c.apps.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: app, PageSize: pageSize, PageToken: token})
		found = append(found, page.GetOauthClients()...)
		return page.GetNextPageToken(), err
	})
	return found, err
}

// oauthClientFilter returns a filter by --oauth-client of sessions, empty without it. An OAuth
// client that was deleted is found by its name alone.
func (c *client) oauthClientFilter(ctx context.Context, app, client string) (string, error) {
	stage := catalogv1.Stage(catalogv1.Stage_value["STAGE_"+strings.ToUpper(client)])
	switch {
	case client == "":
		return "", nil
	case strings.HasPrefix(client, "applications/") && strings.Count(client, "/") == 3:
		return filter("oauth_client", client), nil
	case app == "" || stage == 0:
		return "", usagef("--oauth-client: %q is no name of an OAuth client, which is applications/…/oauthClients/…; production and sandbox need --app beside them", client)
	}
	of, err := c.application(ctx, "--app", app)
	if err != nil {
		return "", err
	}
	all, err := c.oauthClients(ctx, of.GetName())
	for _, found := range all {
		if found.GetStage() == stage {
			return filter("oauth_client", found.GetName()), nil
		}
	}
	if err != nil {
		return "", err
	}
	return "", failed(codes.FailedPrecondition, "--oauth-client: %s has no %s OAuth client", of.GetDisplayName(), client)
}

// lifetimeFlag says how long a new secret is valid.
type lifetimeFlag struct {
	Lifetime time.Duration `placeholder:"TIME" help:"How long the secret is valid, such as 90d. Default: for ever."`
}

// newSecret creates a secret of an OAuth client.
func (f *lifetimeFlag) newSecret(ctx context.Context, cl *client, parent string) (*subscriptionv1.OAuthClientSecret, error) {
	secret := &subscriptionv1.OAuthClientSecret{}
	if f.Lifetime != 0 {
		secret.ExpireTime = timestamppb.New(time.Now().Add(f.Lifetime))
	}
	return cl.apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{Parent: parent, OauthClientSecret: secret})
}

// showSecret keeps a secret for the command token, and shows it.
func (s *shell) showSecret(cl *client, app *subscriptionv1.Application, c *subscriptionv1.OAuthClient, secret *subscriptionv1.OAuthClientSecret) error {
	kept := cl.store.update(func(st *state) error {
		server := st.server(cl.address)
		if server.OAuthClients == nil {
			server.OAuthClients = map[string]storedOAuthClient{}
		}
		server.OAuthClients[c.GetName()] = storedOAuthClient{
			ClientID: c.GetClientId(), Secret: secret.GetName(), ClientSecret: secret.GetSecret(),
		}
		return nil
	})
	var err error
	if s.whole() {
		err = s.printSecret(c, secret)
	} else {
		fields := [][2]string{
			{"Application", app.GetDisplayName()}, {"Stage", word(c.GetStage(), "STAGE_")},
			{"Client id", c.GetClientId()}, {"Secret", secret.GetSecret()},
		}
		if end := secret.GetExpireTime(); end != nil {
			fields = append(fields, [2]string{"Ends", when(end)})
		}
		err = s.printFields(append(fields, [2]string{"Name", secret.GetName()})...)
	}
	if kept == nil {
		s.note("The secret is not shown again; it is kept in %s for: tidegate token %s", cl.store.path(), quote.Word(app.GetDisplayName()))
	}
	return errors.Join(kept, err)
}

// printSecret prints an OAuth client and a secret as one object.
func (s *shell) printSecret(c *subscriptionv1.OAuthClient, secret *subscriptionv1.OAuthClientSecret) error {
	client, err1 := marshal(c)
	value, err2 := marshal(secret)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return s.printValue(map[string]json.RawMessage{"oauthClient": client, "oauthClientSecret": value})
}

// oauthClientCreateCmd makes an OAuth client with a secret.
type oauthClientCreateCmd struct {
	oauthClientFlags `embed:""`
	lifetimeFlag     `embed:""`
}

// Run makes both, or neither.
func (c *oauthClientCreateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	made, err := cl.apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: c.stage()},
	})
	if st, ok := statusOf(err); ok && st.Code() == codes.AlreadyExists {
		return answered(st, fmt.Errorf("%s; create another secret with: tidegate oauth-client secret create %s%s", st.Message(), quote.Word(c.App), c.flag()))
	}
	if err != nil {
		return err
	}
	secret, err := c.newSecret(ctx, cl, made.GetName())
	if err != nil {
		return s.undo(ctx, err, "the OAuth client", func(ctx context.Context) error {
			_, err := cl.apps.DeleteOAuthClient(ctx, &subscriptionv1.DeleteOAuthClientRequest{Name: made.GetName()})
			return err
		})
	}
	return s.showSecret(cl, app, made, secret)
}

// oauthClientListCmd lists OAuth clients.
type oauthClientListCmd struct {
	App string `arg:"" help:"The application."`
}

// Run lists the OAuth clients.
func (c *oauthClientListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	all, err := cl.oauthClients(ctx, app.GetName())
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.ListOAuthClientsResponse{OauthClients: all})
	}
	var rows [][]string
	for _, c := range all {
		rows = append(rows, []string{word(c.GetStage(), "STAGE_"), c.GetClientId(), when(c.GetCreateTime()), c.GetName()})
	}
	return s.printTable([]string{"STAGE", "CLIENT ID", "CREATED", "NAME"}, rows)
}

// oauthClientDeleteCmd deletes an OAuth client.
type oauthClientDeleteCmd struct {
	oauthClientFlags `embed:""`
	yesFlag          `embed:""`
}

// Run deletes the OAuth client.
func (c *oauthClientDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, found, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	label := "the " + word(found.GetStage(), "STAGE_") + " OAuth client of " + app.GetDisplayName()
	err = s.confirm(ctx, c.Yes, "Deletes "+label, func() []string {
		return []string{"its secrets", "its tokens", "the live sessions under them"}
	})
	if err != nil {
		return err
	}
	if _, err := cl.apps.DeleteOAuthClient(ctx, &subscriptionv1.DeleteOAuthClientRequest{Name: found.GetName(), Etag: found.GetEtag()}); err != nil {
		return err
	}
	if err := cl.forgetBelow(found.GetName()); err != nil {
		return err
	}
	return s.deleted(found.GetName(), label)
}

// secretCreateCmd makes another secret.
type secretCreateCmd struct {
	oauthClientFlags `embed:""`
	lifetimeFlag     `embed:""`
}

// Run makes the secret.
func (c *secretCreateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, found, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	secret, err := c.newSecret(ctx, cl, found.GetName())
	if err != nil {
		return err
	}
	return s.showSecret(cl, app, found, secret)
}

// secretListCmd lists secrets.
type secretListCmd struct {
	oauthClientFlags `embed:""`
}

// Run lists the secrets.
func (c *secretListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	_, found, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	list := &subscriptionv1.ListOAuthClientSecretsResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.apps.ListOAuthClientSecrets(ctx, &subscriptionv1.ListOAuthClientSecretsRequest{
			Parent: found.GetName(), PageSize: pageSize, PageToken: token,
		})
		list.OauthClientSecrets = append(list.OauthClientSecrets, page.GetOauthClientSecrets()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, secret := range list.GetOauthClientSecrets() {
		rows = append(rows, []string{when(secret.GetCreateTime()), when(secret.GetExpireTime()), secret.GetName()})
	}
	return s.printTable([]string{"CREATED", "ENDS", "NAME"}, rows)
}

// secretDeleteCmd deletes a secret.
type secretDeleteCmd struct {
	Secret string `arg:"" help:"The secret's name, applications/…/oauthClients/…/secrets/…."`

	yesFlag `embed:""`
}

// Run deletes the secret.
func (c *secretDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	err = s.confirm(ctx, c.Yes, "Deletes the secret "+c.Secret+": no token is issued with it any more; those that were stay valid", func() []string { return nil })
	if err != nil {
		return err
	}
	_, err = cl.apps.DeleteOAuthClientSecret(ctx, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: c.Secret})
	if absent(err) {
		return unknown("SECRET", "secret", c.Secret, "oauth-client secret list")
	}
	if err != nil {
		return err
	}
	if err := cl.forget(func(_ string, kept storedOAuthClient) bool { return kept.Secret == c.Secret }); err != nil {
		return err
	}
	return s.deleted(c.Secret, c.Secret)
}

// forget removes what is kept of OAuth clients that are gone.
func (c *client) forget(gone func(name string, kept storedOAuthClient) bool) error {
	return c.store.update(func(st *state) error {
		maps.DeleteFunc(st.server(c.address).OAuthClients, gone)
		return nil
	})
}

// forgetBelow removes what is kept of the OAuth client or application with this
// name.
func (c *client) forgetBelow(name string) error {
	return c.forget(func(client string, _ storedOAuthClient) bool {
		return strings.HasPrefix(client+"/", name+"/")
	})
}
