package e2e

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// roles are those that a user can have.
func roles() []string {
	return []string{identity.RoleAdmin, identity.RoleCreator, identity.RolePublisher, identity.RoleSubscriber}
}

// victim is a user with one object of every kind.
type victim struct {
	*user
	admin    *user
	password string
	// hidden are objects that only their owner, administrators and, of versions,
	// publishers see; published are those that all users see.
	hidden, published objects
	product           *product // the published one
	app               string   // a token of the application
}

// newVictim makes the user and the objects.
func (s *Stack) newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{admin: s.admin(t), password: "somebody has a long password"}
	s.makeUser(t, v.admin, "owner", v.password, identity.RoleCreator, identity.RolePublisher, identity.RoleSubscriber)
	v.user = s.signIn(t, "owner", v.password)
	x := v.publish(t, "Published", newBackend(t))
	v.quotaByDay(t, x)
	v.product, v.app = x, v.accessToken(t, x)
	ended := s.connect(t, s.WS+x.path, v.app)
	_ = ended.Close(websocket.StatusNormalClosure, "")
	api, err := v.catalog.CreateApi(v.ctx(t), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Hidden", Context: "/hidden"}})
	if err != nil {
		t.Fatal(err)
	}
	version, err := v.catalog.CreateVersion(v.ctx(t), &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://127.0.0.1:1/")}, Plans: []string{v.plan(t, "Gold")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v.hidden = objects{
		"apis/*": api.GetName(), "apis/*/versions/*": version.GetName(), "plans/*": v.plan(t, "Gold"), "users/*": v.name,
		"applications/*": x.app.GetName(), "applications/*/oauthClients/*": x.oauthClient.GetName(),
		"applications/*/oauthClients/*/secrets/*": x.secret.GetName(), "subscriptions/*": x.subscription.GetName(),
		"sessionRecords/*": v.endedRecord(t), "gateways/*/sessions/*": v.liveSession(t),
		"signingKeys/*": "signingKeys/1", "services/*": "services/catalog", "services/*/changes/*": "services/catalog/changes/1",
	}
	v.hidden["users/*/signIns/*"], v.hidden["quotaUses/*"] = v.signInElsewhere(t), v.quotaUse(t)
	v.hidden["applications/*/apiKeys/*"] = v.apiKey(t)
	rule, err := v.deny.CreateDenyRule(v.ctx(t), &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: x.api.GetName(), ClientAddress: "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	v.hidden["denyRules/*"] = rule.GetName()
	v.hidden["gateways/*"], _, _ = strings.Cut(v.hidden["gateways/*/sessions/*"], "/sessions/")
	v.published = maps.Clone(v.hidden)
	v.published["apis/*"], v.published["apis/*/versions/*"] = x.api.GetName(), x.version.GetName()
	return v
}

// apiKey makes an API key of the owner's application, and returns its name.
func (v *victim) apiKey(t *testing.T) string {
	t.Helper()
	key, err := v.admin.keys.CreateAPIKey(v.admin.ctx(t), &subscriptionv1.CreateAPIKeyRequest{
		Parent: v.product.app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: "web", Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if err != nil {
		t.Fatal(err)
	}
	return key.GetName()
}

// endedRecord waits until there is a record of a session, and returns its name.
func (v *victim) endedRecord(t *testing.T) (name string) {
	t.Helper()
	eventually(t, func() error {
		list, err := v.usage.ListSessionRecords(v.ctx(t), &usagev1.ListSessionRecordsRequest{})
		if err != nil {
			return err
		}
		if len(list.GetSessionRecords()) == 0 {
			return errors.New("there is no session record")
		}
		name = list.GetSessionRecords()[0].GetName()
		return nil
	})
	return name
}

// quotaUse waits until something was used of the quota, and returns its
// name.
func (v *victim) quotaUse(t *testing.T) (name string) {
	t.Helper()
	eventually(t, func() error {
		list, err := v.quotas.ListQuotaUses(v.ctx(t), &usagev1.ListQuotaUsesRequest{})
		if err != nil {
			return err
		}
		if len(list.GetQuotaUses()) == 0 {
			return errors.New("nothing was used of a quota")
		}
		name = list.GetQuotaUses()[0].GetName()
		return nil
	})
	return name
}

// liveSession returns the name of a session that was opened for it.
func (v *victim) liveSession(t *testing.T) string {
	t.Helper()
	conn := v.stack.connect(t, v.stack.WS+v.product.path, v.app)
	echo(t, conn, websocket.MessageText, "live")
	conn.CloseRead(t.Context()) // answers pings
	sessions := v.admin.liveSessions(t, v.product)
	if len(sessions) == 0 {
		t.Fatal("there is no live session")
	}
	return sessions[len(sessions)-1].GetName()
}

// signInElsewhere signs the owner in once more, and returns the name of that sign-in.
func (v *victim) signInElsewhere(t *testing.T) string {
	t.Helper()
	v.stack.signIn(t, "owner", v.password)
	all, err := v.admin.signIns.ListSignIns(v.admin.ctx(t), &identityv1.ListSignInsRequest{Parent: v.name})
	if err != nil {
		t.Fatal(err)
	}
	return all.GetSignIns()[len(all.GetSignIns())-1].GetName()
}

// makeUser makes a user with roles.
func (s *Stack) makeUser(t *testing.T, admin *user, name, password string, roles ...string) *identityv1.User {
	t.Helper()
	u, err := admin.users.CreateUser(admin.ctx(t), &identityv1.CreateUserRequest{
		User: &identityv1.User{Username: name, Roles: protoRoles(roles...)}, Password: password,
	})
	if err != nil {
		t.Fatalf("CreateUser(%s) = %v", name, err)
	}
	return u
}

// protoRoles returns the roles as the protos name them.
func protoRoles(roles ...string) (all []identityv1.User_Role) {
	for _, role := range roles {
		all = append(all, identityv1.User_Role(identityv1.User_Role_value["ROLE_"+strings.ToUpper(role)]))
	}
	return all
}

// become gives the owner one role alone, and signs in with it.
func (v *victim) become(t *testing.T, role string) {
	t.Helper()
	if _, err := v.admin.users.UpdateUser(v.admin.ctx(t), &identityv1.UpdateUserRequest{
		User: &identityv1.User{Name: v.name, Roles: protoRoles(role)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"roles"}},
	}); err != nil {
		t.Fatal(err)
	}
	v.user = v.stack.signIn(t, "owner", v.password)
	v.renew(t)
}

// renew makes anew what an owner ends by an attack on what is their own.
func (v *victim) renew(t *testing.T) {
	t.Helper()
	client := v.hidden["applications/*/oauthClients/*"]
	secrets, err := v.admin.apps.ListOAuthClientSecrets(v.admin.ctx(t), &subscriptionv1.ListOAuthClientSecretsRequest{Parent: client})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.GetOauthClientSecrets() { // there is a most
		if _, err := v.admin.apps.DeleteOAuthClientSecret(v.admin.ctx(t), &subscriptionv1.DeleteOAuthClientSecretRequest{Name: s.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	secret, err := v.admin.apps.CreateOAuthClientSecret(v.admin.ctx(t), &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client, OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.hidden["applications/*/oauthClients/*/secrets/*"] = secret.GetName()
	v.product.secret = secret
	v.app = v.admin.accessToken(t, v.product)
	v.hidden["gateways/*/sessions/*"] = v.liveSession(t)
	v.hidden["users/*/signIns/*"] = v.signInElsewhere(t)
	v.hidden["applications/*/apiKeys/*"] = v.apiKey(t)
}

// state is everything that belongs to the owner, and how many changes there were.
func (v *victim) state(t *testing.T) string {
	t.Helper()
	var all []any
	add := func(answer any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, answer)
	}
	p, ctx := v.admin, v.admin.ctx(t)
	for _, of := range []objects{v.hidden, v.published} {
		add(p.catalog.GetApi(ctx, &catalogv1.GetApiRequest{Name: of["apis/*"]}))
		add(p.catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: of["apis/*/versions/*"]}))
		add(p.catalog.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: of["apis/*"]}))
	}
	add(p.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{}))
	add(p.users.GetUser(ctx, &identityv1.GetUserRequest{Name: v.name}))
	add(p.signIns.GetSignIn(ctx, &identityv1.GetSignInRequest{Name: v.hidden["users/*/signIns/*"]}))
	add(p.users.ListUsers(ctx, &identityv1.ListUsersRequest{}))
	add(p.apps.GetApplication(ctx, &subscriptionv1.GetApplicationRequest{Name: v.hidden["applications/*"]}))
	add(p.apps.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: v.hidden["applications/*"]}))
	add(p.apps.ListOAuthClientSecrets(ctx, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: v.hidden["applications/*/oauthClients/*"]}))
	add(p.keys.ListAPIKeys(ctx, &subscriptionv1.ListAPIKeysRequest{Parent: v.hidden["applications/*"]}))
	add(p.subs.ListSubscriptions(ctx, &subscriptionv1.ListSubscriptionsRequest{Filter: fmt.Sprintf("application = %q", v.hidden["applications/*"])}))
	live, err := p.sessions.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: v.hidden["gateways/*/sessions/*"]})
	add(live.GetName(), err)
	return fmt.Sprint(all...)
}

// attacker returns somebody who shows a token.
func (s *Stack) attacker(t *testing.T, name, token string) *attacker {
	return &attacker{name: name, token: token, conn: s.dial(t), http: s.http(t), stack: s}
}

// TestEveryMethodByEveryCaller calls every method of every service over gRPC and
// REST: without a token, with garbage, with an application's token, as a user
// who has one role and attacks what belongs to another, and as the owner of
// these objects who has one role left. What must become of each call follows from
// the tables of rules, and nothing that is refused changes anything.
func TestEveryMethodByEveryCaller(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	v := s.newVictim(t)
	others := map[string]string{}
	for _, role := range roles() {
		s.makeUser(t, v.admin, "another-"+role, "another has a long password", role)
		others[role] = s.signIn(t, "another-"+role, "another has a long password").token
	}
	before := v.state(t)
	t.Run("strangers", func(t *testing.T) {
		for name, token := range map[string]string{"nobody": "", "garbage": "garbage", "an application": v.app} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.attacker(t, name, token).run(t, v.hidden, (*attack).byStranger, exceptions("", false))
			})
		}
	})
	t.Run("others", func(t *testing.T) {
		for _, role := range roles()[1:] {
			t.Run(role, func(t *testing.T) {
				t.Parallel()
				c := s.attacker(t, "another "+role, others[role])
				c.publishes = role == identity.RolePublisher
				c.run(t, v.hidden, func(a *attack) verdict { return a.byAnother(role) }, exceptions(role, false))
				c.sees, c.under, c.name = true, "/v1/apis/", c.name+", of what is published"
				c.run(t, v.published, func(a *attack) verdict { return a.byUserOfPublished(role) }, exceptions(role, false))
			})
		}
	})
	if after := v.state(t); after != before {
		t.Errorf("what was refused has changed\n%s\nto\n%s", before, after)
	}
	for _, role := range roles()[1:] {
		v.become(t, role)
		by := func(a *attack) verdict { return a.byOwner(role) }
		owner := s.attacker(t, "the owner as "+role, v.token)
		owner.sees = true
		owner.run(t, v.hidden, by, exceptions(role, true))
	}
	v.renew(t)
	admin := s.attacker(t, "another admin", others[identity.RoleAdmin])
	admin.sees = true
	admin.run(t, v.hidden, func(a *attack) verdict { return a.byUser(identity.RoleAdmin) }, exceptions(identity.RoleAdmin, false))
}
