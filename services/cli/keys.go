package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/cli/internal/oauth"
	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// keysCmds are the commands about consumer keys.
type keysCmds struct {
	Generate   keysGenerateCmd   `cmd:"" help:"Make a consumer key and secret; the secret is shown once, and kept for tidegate token."`
	List       keysListCmd       `cmd:"" help:"List the keys of an application, without secrets."`
	Regenerate keysRegenerateCmd `cmd:"" help:"Make a new secret for a key; the old one ends, tokens go on."`
	Delete     keysDeleteCmd     `cmd:"" help:"Delete a key: its tokens and live sessions end."`
}

// keyFlags name a key of an application.
type keyFlags struct {
	App     string `arg:"" help:"The application."`
	Sandbox bool   `help:"The key for the sandbox endpoint instead of the production one."`
}

func (f *keyFlags) keyType() subscriptionv1.KeyType {
	if f.Sandbox {
		return subscriptionv1.KeyType_KEY_TYPE_SANDBOX
	}
	return subscriptionv1.KeyType_KEY_TYPE_PRODUCTION
}

// find returns the key and its application.
func (f *keyFlags) find(ctx context.Context, cl *client) (*subscriptionv1.Application, *subscriptionv1.Key, error) {
	app, err := cl.application(ctx, "APP", f.App)
	if err != nil {
		return nil, nil, err
	}
	keys, err := cl.keys(ctx, app.GetName())
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		if k.GetType() == f.keyType() {
			return app, k, nil
		}
	}
	hint := ""
	if f.Sandbox {
		hint = " --sandbox"
	}
	return nil, nil, fmt.Errorf("APP: %s has no %s key; make one with: tidegate keys generate %s%s",
		app.GetDisplayName(), word(f.keyType(), "KEY_TYPE_"), quote.Word(f.App), hint)
}

// keys returns the keys of an application.
func (c *client) keys(ctx context.Context, app string) ([]*subscriptionv1.Key, error) {
	var found []*subscriptionv1.Key
	err := everyPage(func(token string) (string, error) {
		page, err := c.subs.ListKeys(ctx, &subscriptionv1.ListKeysRequest{Parent: app, PageSize: pageSize, PageToken: token})
		found = append(found, page.GetKeys()...)
		return page.GetNextPageToken(), err
	})
	return found, err
}

// keep stores a key's secret for the command token.
func (c *client) keep(k *subscriptionv1.Key) error {
	return c.store.update(func(st *state) error {
		server := st.server(c.address)
		if server.Keys == nil {
			server.Keys = map[string]storedKey{}
		}
		server.Keys[k.GetName()] = storedKey{
			Type: word(k.GetType(), "KEY_TYPE_"), ConsumerKey: k.GetConsumerKey(), ConsumerSecret: k.GetConsumerSecret(),
		}
		return nil
	})
}

// forget removes stored keys whose names begin with prefix.
func (c *client) forget(prefix string) error {
	return c.store.update(func(st *state) error {
		maps.DeleteFunc(st.server(c.address).Keys, func(name string, _ storedKey) bool {
			return strings.HasPrefix(name, prefix)
		})
		return nil
	})
}

// showSecret keeps a key that was made and shows it, secret and all.
func (s *shell) showSecret(cl *client, app *subscriptionv1.Application, k *subscriptionv1.Key) error {
	kept := cl.keep(k)
	var err error
	if s.json() {
		err = s.printJSON(k)
	} else {
		err = s.printFields([2]string{"Application", app.GetDisplayName()}, [2]string{"Type", word(k.GetType(), "KEY_TYPE_")},
			[2]string{"Consumer key", k.GetConsumerKey()}, [2]string{"Consumer secret", k.GetConsumerSecret()})
	}
	if kept == nil {
		s.note("The secret is not shown again; it is kept in %s for: tidegate token %s", cl.store.path(), quote.Word(app.GetDisplayName()))
	}
	return errors.Join(kept, err)
}

// keysGenerateCmd makes a key.
type keysGenerateCmd struct {
	keyFlags `embed:""`
}

// Run makes the key.
func (c *keysGenerateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	k, err := cl.subs.CreateKey(ctx, &subscriptionv1.CreateKeyRequest{Parent: app.GetName(), Key: &subscriptionv1.Key{Type: c.keyType()}})
	if err != nil {
		return err
	}
	return s.showSecret(cl, app, k)
}

// keysListCmd lists keys.
type keysListCmd struct {
	App string `arg:"" help:"The application."`
}

// Run lists the keys.
func (c *keysListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, err := cl.application(ctx, "APP", c.App)
	if err != nil {
		return err
	}
	keys, err := cl.keys(ctx, app.GetName())
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(&subscriptionv1.ListKeysResponse{Keys: keys})
	}
	var rows [][]string
	for _, k := range keys {
		rows = append(rows, []string{word(k.GetType(), "KEY_TYPE_"), k.GetConsumerKey(), when(k.GetUpdateTime()), k.GetName()})
	}
	return s.printTable([]string{"TYPE", "CONSUMER KEY", "SECRET MADE", "NAME"}, rows)
}

// keysRegenerateCmd makes a new secret.
type keysRegenerateCmd struct {
	keyFlags `embed:""`
}

// Run makes the secret.
func (c *keysRegenerateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if k, err = cl.subs.RegenerateSecret(ctx, &subscriptionv1.RegenerateSecretRequest{Name: k.GetName(), Etag: k.GetEtag()}); err != nil {
		return err
	}
	return s.showSecret(cl, app, k)
}

// keysDeleteCmd deletes a key.
type keysDeleteCmd struct {
	keyFlags `embed:""`
}

// Run deletes the key.
func (c *keysDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	app, k, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if _, err := cl.subs.DeleteKey(ctx, &subscriptionv1.DeleteKeyRequest{Name: k.GetName(), Etag: k.GetEtag()}); err != nil {
		return err
	}
	if err := cl.forget(k.GetName()); err != nil {
		return err
	}
	return s.deleted(k.GetName(), "the "+word(k.GetType(), "KEY_TYPE_")+" key of "+app.GetDisplayName())
}

// tokenFlags say in whose name a token is got.
type tokenFlags struct {
	Sandbox    bool   `help:"A token for the sandbox endpoint."`
	Key        string `placeholder:"KEY" help:"Consumer key, instead of an application's that is kept."`
	Secret     string `placeholder:"SECRET" help:"Its consumer secret; --secret-file keeps it off the command line."`
	SecretFile string `placeholder:"FILE" help:"File with the consumer secret."`
	Portal     string `placeholder:"URL" help:"The portal, which has the token endpoint. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
}

// tokenCmd gets or revokes a token.
type tokenCmd struct {
	App        string `arg:"" optional:"" help:"The application, whose key was made here with keys generate."`
	tokenFlags `embed:""`
	Revoke     string `placeholder:"TOKEN" help:"Revoke this token instead; its live sessions end."`
}

// Run gets the token, or revokes one.
func (c *tokenCmd) Run(ctx context.Context, s *shell) error {
	endpoint, who, err := c.endpoint(ctx, s, c.App)
	if err != nil {
		return err
	}
	if c.Revoke != "" {
		if err := endpoint.Revoke(ctx, who, c.Revoke); err != nil {
			return s.portalError(endpoint.Portal, err)
		}
		s.note("Revoked.")
		return nil
	}
	token, err := endpoint.Token(ctx, who)
	if err != nil {
		return s.portalError(endpoint.Portal, err)
	}
	if s.json() {
		return s.printValue(token)
	}
	s.note("The token ends at %s.", time.Now().Add(token.Life()).Format(time.RFC3339))
	_, err = fmt.Fprintln(s.Stdout, token.AccessToken)
	return err
}

// portalError says what helps when the portal cannot be reached.
func (s *shell) portalError(portal string, err error) error {
	if _, refused := errors.AsType[*oauth.Error](err); refused {
		return err
	}
	if helpful := unreachable(portal, "--portal", err); !strings.HasPrefix(helpful.Error(), "cannot connect") {
		return helpful
	}
	return err
}

// endpoint returns the OAuth2 endpoints and the credentials that the flags, or
// the application's stored key, give.
func (f *tokenFlags) endpoint(ctx context.Context, s *shell, app string) (*oauth.Client, oauth.Credentials, error) {
	var none oauth.Credentials
	secret, err := f.secret()
	if err != nil {
		return nil, none, err
	}
	if (f.Key == "") != (secret == "") {
		return nil, none, usagef("--key and --secret (or --secret-file) go together")
	}
	if (app == "") == (f.Key == "") {
		return nil, none, usagef("give an application, or --key and --secret")
	}
	cl, err := s.dial()
	if err != nil {
		return nil, none, err
	}
	who := oauth.Credentials{Key: f.Key, Secret: secret}
	if app != "" {
		if who, err = f.stored(ctx, cl, app); err != nil {
			return nil, none, err
		}
	}
	portal := f.Portal
	if portal == "" {
		keys, err := cl.oauth.GetSigningKeys(ctx, &oauth2v1.GetSigningKeysRequest{})
		if err != nil {
			return nil, none, err
		}
		portal = keys.GetIssuer()
	}
	if !strings.HasPrefix(portal, "https://") {
		return nil, none, usagef("--portal: %q is not an https:// URL", portal)
	}
	return &oauth.Client{Portal: portal, HTTP: cl.http()}, who, nil
}

// secret returns the secret that the flags give.
func (f *tokenFlags) secret() (string, error) {
	if f.SecretFile == "" {
		return f.Secret, nil
	}
	if f.Secret != "" {
		return "", usagef("--secret and --secret-file: give one of them")
	}
	text, err := os.ReadFile(f.SecretFile)
	if err != nil {
		return "", fmt.Errorf("--secret-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// stored returns the credentials of an application that keys generate kept.
func (f *tokenFlags) stored(ctx context.Context, cl *client, app string) (oauth.Credentials, error) {
	_, k, err := (&keyFlags{App: app, Sandbox: f.Sandbox}).find(ctx, cl)
	if err != nil {
		return oauth.Credentials{}, err
	}
	known, err := cl.store.read()
	if err != nil {
		return oauth.Credentials{}, err
	}
	kept, ok := known.server(cl.address).Keys[k.GetName()]
	if !ok {
		return oauth.Credentials{}, fmt.Errorf("APP: the secret of %s is not kept here; give --key and --secret, or make a new one with: tidegate keys regenerate %s",
			app, quote.Word(app))
	}
	return oauth.Credentials{Key: kept.ConsumerKey, Secret: kept.ConsumerSecret}, nil
}
