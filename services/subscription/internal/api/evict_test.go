package api_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// judged is a verdict as a gateway caches it.
type judged struct {
	credential, version string
	key                 bool // the credential is an API key
	asOf                uint64
	verdict             *backplanev1.VerifyCredentialResponse
}

// restsOn returns the names that a verdict rests on.
func (j judged) restsOn() []string {
	return append(slices.Clone(j.verdict.GetGrant().GetRestsOn()), j.verdict.GetDenial().GetRestsOn()...)
}

// model drives the service with random writes.
type model struct {
	*world
	rt       *rapid.T
	users    []string
	apps     []*subscriptionv1.Application
	clients  []*oauthClient
	subs     []*subscriptionv1.Subscription
	tokens   []issued
	apiKeys  []*subscriptionv1.APIKey
	versions []string
	cached   []judged
	names    int
}

type issued struct {
	raw    string
	client *oauthClient
}

// TestCachedVerdictsHold makes random writes. A verdict that was read as of some
// change, and that no event since has touched, must equal a fresh one: gateways
// rely on that.
func TestCachedVerdictsHold(t *testing.T) {
	db := testdb.SQLite(t, store.Schema())
	w := newWorld(t, db)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{world: w, rt: rt, versions: []string{v1, v2}}
		m.begin()
		rt.Repeat(map[string]func(*rapid.T){
			"user":         m.addUser,
			"application":  m.addApplication,
			"client":       m.addClient,
			"subscription": m.addSubscription,
			"token":        m.addToken,
			"judge":        m.judge,
			"judge more":   m.judge,
			"plan":         m.changePlan,
			"secret":       m.newSecret,
			"rename":       m.rename,
			"revoke":       m.revoke,
			"unsubscribe":  m.unsubscribe,
			"key":          m.addKey,
			"rotate":       m.rotateKey,
			"move key":     m.moveKey,
			"drop key":     m.deleteKey,
			"judge key":    m.judgeKey,
			"drop client":  m.deleteClient,
			"delete app":   m.deleteApplication,
			"delete owner": m.deleteUser,
			"version":      m.removeVersion,
			"":             func(rt *rapid.T) { m.check(rt, rechecked) },
		})
		m.check(rt, maxCached)
	})
}

// How many verdicts are cached, and how many of them are judged again after each step:
// all are when a run is over.
const (
	maxCached = 12
	rechecked = 3
)

// begin makes the initial state: two owners with an application each, OAuth
// clients, subscriptions and tokens, all judged.
func (m *model) begin() {
	m.publishAll()
	for range 2 {
		m.addUser(m.rt)
		owner := m.users[len(m.users)-1]
		app := m.application(m.as(owner, "subscriber"), m.name())
		m.apps = append(m.apps, app)
		for _, stage := range []catalogv1.Stage{1, 2} {
			c := m.oauthClient(m.root, app.GetName(), stage)
			m.clients = append(m.clients, c)
			m.tokens = append(m.tokens, issued{raw: m.token(c), client: c})
		}
		m.subs = append(m.subs, m.subscribe(m.root, app.GetName(), v1))
	}
	for _, t := range m.tokens {
		for _, version := range m.versions {
			v := m.verify(t.raw, version)
			m.cached = append(m.cached, judged{credential: t.raw, version: version, asOf: v.GetAsOfChangeNumber(), verdict: v})
		}
	}
}

// publishAll tells the service of all versions, as its watch of the catalog would.
func (m *model) publishAll() {
	for _, name := range m.versions {
		m.applyCatalog(store.CatalogChange{Versions: []store.Version{{Name: name, Published: true, Plans: []string{gold, silver}}}})
	}
}

func (m *model) applyCatalog(c store.CatalogChange) {
	before, err := m.store.ReadCursor(m.t.Context())
	m.must(err)
	after := store.Cursor{Number: before.Number + 1, Text: fmt.Sprint(before.Number + 1)}
	for i := range c.Versions {
		c.Versions[i].ChangeNumber = after.Number
	}
	_, err = m.store.ApplyCatalogChange(m.t.Context(), c, before, after)
	m.must(err)
}

// pick returns one of a list, or skips the step.
func pick[T any](rt *rapid.T, what string, list []T) T {
	if len(list) == 0 {
		rt.Skip("no " + what)
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(rt, what)]
}

func (m *model) name() string {
	m.names++
	return fmt.Sprint("n", m.head(), "-", m.names)
}

func (m *model) addUser(*rapid.T) {
	p, _, err := m.store.CreateUser(m.t.Context(), requestid.Request{}, store.User{Username: m.name(), Roles: []string{"subscriber"}}, "")
	m.must(err)
	m.users = append(m.users, store.UserName(p.ID))
}

func (m *model) addApplication(rt *rapid.T) {
	owner := pick(rt, "user", m.users)
	m.apps = append(m.apps, m.application(m.as(owner, "subscriber"), m.name()))
}

func (m *model) addClient(rt *rapid.T) {
	app := pick(rt, "application", m.apps)
	stage := catalogv1.Stage(rapid.IntRange(1, 2).Draw(rt, "stage"))
	if slices.ContainsFunc(m.clients, func(c *oauthClient) bool { return appOf(c) == app.GetName() && c.GetStage() == stage }) {
		rt.Skip("it has one")
	}
	m.clients = append(m.clients, m.oauthClient(m.root, app.GetName(), stage))
}

func appOf(c *oauthClient) string { return c.GetName()[:len("applications/")+36] }

func (m *model) addSubscription(rt *rapid.T) {
	app, version := pick(rt, "application", m.apps), pick(rt, "version", m.versions)
	if slices.ContainsFunc(m.subs, func(s *subscriptionv1.Subscription) bool {
		return s.GetApplication() == app.GetName() && s.GetVersion() == version
	}) {
		rt.Skip("it is subscribed")
	}
	m.subs = append(m.subs, m.subscribe(m.root, app.GetName(), version))
}

func (m *model) addToken(rt *rapid.T) {
	c := pick(rt, "OAuth client", m.clients)
	m.tokens = append(m.tokens, issued{raw: m.token(c), client: c})
}

// judge caches a verdict.
func (m *model) judge(rt *rapid.T) {
	t, version := pick(rt, "token", m.tokens), pick(rt, "version", m.versions)
	v := m.verify(t.raw, version)
	m.cached = append(m.cached, judged{credential: t.raw, version: version, asOf: v.GetAsOfChangeNumber(), verdict: v})
	// A few are enough, because they are judged again after every step.
	m.cached = m.cached[max(0, len(m.cached)-maxCached):]
}

// addKey adds an API key, and judgeKey caches a verdict on a value of one, which may be
// gone or replaced.
func (m *model) addKey(rt *rapid.T) {
	m.apiKeys = append(m.apiKeys, m.apiKey(m.root, pick(rt, "application", m.apps).GetName(), nil))
}

func (m *model) judgeKey(rt *rapid.T) {
	key, version := pick(rt, "API key", m.apiKeys), pick(rt, "version", m.versions)
	v := m.verifyKey(key.GetKey(), version)
	m.cached = append(m.cached, judged{credential: key.GetKey(), version: version, key: true, asOf: v.GetAsOfChangeNumber(), verdict: v})
	m.cached = m.cached[max(0, len(m.cached)-maxCached):]
}

// alive returns one of the API keys that are not deleted.
func (m *model) alive(rt *rapid.T) *subscriptionv1.APIKey {
	key := pick(rt, "API key", m.apiKeys)
	if _, err := m.keys.GetAPIKey(m.root, &subscriptionv1.GetAPIKeyRequest{Name: key.GetName()}); err != nil {
		rt.Skip("it is gone")
	}
	return key
}

func (m *model) rotateKey(rt *rapid.T) {
	key := m.alive(rt)
	overlap := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "overlap")
	next, err := m.keys.RotateAPIKey(m.root, &subscriptionv1.RotateAPIKeyRequest{Name: key.GetName(), Overlap: durationpb.New(overlap)})
	if status.Code(err) == codes.FailedPrecondition {
		rt.Skip("it has as many values as it may")
	}
	m.must(err)
	m.apiKeys = append(m.apiKeys, next)
}

func (m *model) moveKey(rt *rapid.T) {
	_, err := m.keys.UpdateAPIKey(m.root, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: &subscriptionv1.APIKey{
		Name: m.alive(rt).GetName(), PermittedAddresses: []string{fmt.Sprint("192.0.2.", rapid.IntRange(1, 3).Draw(rt, "address"))},
	}})
	m.must(err)
}

func (m *model) deleteKey(rt *rapid.T) {
	_, err := m.keys.DeleteAPIKey(m.root, &subscriptionv1.DeleteAPIKeyRequest{Name: m.alive(rt).GetName()})
	m.must(err)
}

func (m *model) changePlan(rt *rapid.T) {
	s := pick(rt, "subscription", m.subs)
	plan := rapid.SampledFrom([]string{gold, silver}).Draw(rt, "plan")
	_, err := m.world.subs.UpdateSubscription(m.root, &subscriptionv1.UpdateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Name: s.GetName(), Plan: plan},
	})
	m.must(err)
}

func (m *model) newSecret(rt *rapid.T) {
	c := pick(rt, "OAuth client", m.clients)
	old := c.secret.GetName()
	c.secret = m.secret(m.root, c.GetName(), nil)
	_, err := m.world.apps.DeleteOAuthClientSecret(m.root, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: old})
	m.must(err)
}

func (m *model) rename(rt *rapid.T) {
	app := pick(rt, "application", m.apps)
	_, err := m.world.apps.UpdateApplication(m.root, &subscriptionv1.UpdateApplicationRequest{
		Application: &subscriptionv1.Application{Name: app.GetName(), DisplayName: m.name()},
	})
	m.must(err)
}

func (m *model) revoke(rt *rapid.T) {
	t := pick(rt, "token", m.tokens)
	if !slices.Contains(m.clients, t.client) {
		rt.Skip("its OAuth client is gone")
	}
	_, err := m.oauth.RevokeToken(m.t.Context(), &oauth2v1.RevokeTokenRequest{Token: t.raw, ClientCredentials: credentials(t.client)})
	m.must(err)
}

func (m *model) unsubscribe(rt *rapid.T) {
	s := pick(rt, "subscription", m.subs)
	_, err := m.world.subs.DeleteSubscription(m.root, &subscriptionv1.DeleteSubscriptionRequest{Name: s.GetName()})
	m.must(err)
	m.forget(func(app, _, sub string) bool { return sub == s.GetName() })
}

func (m *model) deleteClient(rt *rapid.T) {
	c := pick(rt, "OAuth client", m.clients)
	_, err := m.world.apps.DeleteOAuthClient(m.root, &subscriptionv1.DeleteOAuthClientRequest{Name: c.GetName()})
	m.must(err)
	m.forget(func(_, client, _ string) bool { return client == c.GetName() })
}

func (m *model) deleteApplication(rt *rapid.T) {
	a := pick(rt, "application", m.apps)
	_, err := m.world.apps.DeleteApplication(m.root, &subscriptionv1.DeleteApplicationRequest{Name: a.GetName()})
	m.must(err)
	m.apps = slices.DeleteFunc(m.apps, func(b *subscriptionv1.Application) bool { return a == b })
	m.forget(func(app, _, _ string) bool { return app == a.GetName() })
}

func (m *model) deleteUser(rt *rapid.T) {
	name := pick(rt, "user", m.users)
	_, err := m.world.users.DeleteUser(m.root, &identityv1.DeleteUserRequest{Name: name})
	m.must(err)
	m.users = slices.DeleteFunc(m.users, func(p string) bool { return p == name })
	var gone []string
	m.apps = slices.DeleteFunc(m.apps, func(a *subscriptionv1.Application) bool {
		if a.GetOwner() == name {
			gone = append(gone, a.GetName())
		}
		return a.GetOwner() == name
	})
	m.forget(func(app, _, _ string) bool { return slices.Contains(gone, app) })
}

// removeVersion deletes a version in the catalog and creates it again.
func (m *model) removeVersion(rt *rapid.T) {
	name := pick(rt, "version", m.versions)
	m.applyCatalog(store.CatalogChange{Removed: []string{name}})
	m.subs = slices.DeleteFunc(m.subs, func(s *subscriptionv1.Subscription) bool { return s.GetVersion() == name })
	m.applyCatalog(store.CatalogChange{Versions: []store.Version{{Name: name, Published: true, Plans: []string{gold, silver}}}})
}

// forget drops the OAuth clients and subscriptions that no longer exist.
func (m *model) forget(gone func(app, client, sub string) bool) {
	m.clients = slices.DeleteFunc(m.clients, func(c *oauthClient) bool { return gone(appOf(c), c.GetName(), "") })
	m.subs = slices.DeleteFunc(m.subs, func(s *subscriptionv1.Subscription) bool { return gone(s.GetApplication(), "", s.GetName()) })
}

// check drops the verdicts that events have touched since they were read, and
// compares some of the rest with fresh ones.
func (m *model) check(rt *rapid.T, some int) {
	touched := map[string]uint64{}
	oldest := m.head()
	for _, j := range m.cached {
		oldest = min(oldest, j.asOf)
	}
	rows, err := m.db.QueryContext(m.t.Context(), `SELECT number, events FROM change WHERE number > $1 ORDER BY number`, int64(oldest))
	m.must(err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		var text []byte
		m.must(rows.Scan(&n, &text))
		e := &backplanev1.GrantEvent{}
		_, err := watch.DecodeEvent(text, e)
		m.must(err)
		for _, name := range e.GetNames() {
			touched[name] = uint64(n)
		}
	}
	m.must(rows.Err())
	m.cached = slices.DeleteFunc(m.cached, func(j judged) bool {
		return slices.ContainsFunc(j.restsOn(), func(name string) bool { return touched[name] > j.asOf })
	})
	for _, i := range sample(rt, len(m.cached), some) {
		j := m.cached[i]
		verify := m.verify
		if j.key {
			verify = m.verifyKey
		}
		fresh := verify(j.credential, j.version)
		fresh.AsOfChangeNumber = j.asOf
		if d := fresh.GetDenial(); d != nil { // whose it was is for the record, and good though the application is gone
			d.Application = j.verdict.GetDenial().GetApplication()
		}
		if !proto.Equal(fresh, j.verdict) {
			rt.Fatalf("cached at %d: %v\nnow: %v", j.asOf, j.verdict, fresh)
		}
	}
}

// sample returns some of the numbers below n, all of them if there are no more.
func sample(rt *rapid.T, n, some int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if n <= some {
		return all
	}
	return rapid.Permutation(all).Draw(rt, "verdicts")[:some]
}
