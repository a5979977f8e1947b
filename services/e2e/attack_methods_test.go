package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// allMethods returns every method of the protos, by package.Service/Method.
func allMethods() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if m := methods.Get(j); strings.HasPrefix(string(file.Package()), "tidegate.") {
					all["/"+string(m.Parent().FullName())+"/"+string(m.Name())] = m
				}
			}
		}
		return true
	})
	return all
}

// allRules returns the rule of every method of every service.
func allRules() identity.Rules {
	rules := identity.Rules{}
	for _, more := range []identity.Rules{catalog.Rules(), subscription.Rules(), gateway.Rules()} {
		maps.Copy(rules, more)
	}
	return rules
}

// TestEveryMethodHasARule compares the protos with the tables of rules.
func TestEveryMethodHasARule(t *testing.T) {
	methods, rules := allMethods(), allRules()
	for name := range methods {
		if _, ok := rules[name]; !ok {
			t.Errorf("%s has no rule", name)
		}
	}
	for name := range rules {
		if methods[name] == nil {
			t.Errorf("there is a rule for %s, which is no method", name)
		}
	}
}

// short returns a name as Service.Method.
func short(m protoreflect.MethodDescriptor) string {
	return string(m.Parent().Name()) + "." + string(m.Name())
}

// attackBodies are the requests of methods that take more than the name of an
// object, in JSON. $api, $version, $plan, $application and $subscription are the names of
// objects; a request with one that is not a plan is about that object.
func attackBodies() map[string]string {
	return map[string]string{
		"ApplicationService.BatchGetApplications":    `{"names": ["$application"]}`,
		"SubscriptionService.BatchGetSubscriptions":  `{"names": ["$subscription"]}`,
		"CatalogService.BatchGetApis":                `{"names": ["$api"]}`,
		"CatalogService.BatchGetPlans":               `{"names": ["$plan"]}`,
		"CatalogService.BatchGetVersions":            `{"names": ["$version"]}`,
		"ApplicationService.CreateOAuthClient":       `{"oauthClient": {"stage": "STAGE_PRODUCTION"}}`,
		"ApplicationService.CreateOAuthClientSecret": `{"oauthClientSecret": {}}`,
		"APIKeyService.CreateAPIKey":                 `{"apiKey": {"displayName": "Attacker's", "stage": "STAGE_PRODUCTION"}}`,
		"APIKeyService.UpdateAPIKey":                 `{"apiKey": {"displayName": "attacked"}}`,
		"ApplicationService.CreateApplication":       `{"application": {"displayName": "Attacker's"}}`,
		"CatalogService.CreateApi":                   `{"api": {"displayName": "Attacker's", "context": "/attackers"}}`,
		"CatalogService.CreatePlan":                  `{"plan": {"displayName": "Attacker's"}}`,
		"CatalogService.CreateVersion":               `{"version": {"version": "6.6.6", "endpoints": {"production": [{"url": "ws://192.0.2.1/"}]}}}`,
		"DenyRuleService.CreateDenyRule":             `{"denyRule": {"api": "$api", "clientAddress": "192.0.2.66"}}`,
		"DenyRuleService.UpdateDenyRule":             `{"denyRule": {"reason": "attacked"}}`,
		"CatalogService.TransferOwnership":           `{"owner": "users/me"}`,
		"CatalogService.UpdateApi":                   `{"api": {"description": "attacked"}}`,
		"CatalogService.UpdatePlan":                  `{"plan": {"description": "attacked"}}`,
		"CatalogService.UpdateVersion":               `{"version": {"description": "attacked"}}`,
		"ApplicationService.UpdateApplication":       `{"application": {"description": "attacked"}}`,
		"SubscriptionService.CreateSubscription":     `{"subscription": {"application": "$application", "version": "$version", "plan": "$plan"}}`,
		"SubscriptionService.UpdateSubscription":     `{"subscription": {"plan": "$plan"}}`,
		"SessionService.CountSessions":               `{"groupBy": "version"}`,
		"TokenService.IssueApplicationToken":         `{"version": "$version"}`,
		"RevocationService.Revoke":                   `{"name": "$application"}`,
		"SessionService.CloseSessions":               `{"version": "$version"}`,
		"SessionService.RenewSession":                `{"credential": "nobody's"}`,
		"QuotaService.AddQuota":                      `{"amount": 6}`,
		"UserService.CreateUser":                     `{"user": {"username": "attacker", "roles": ["ROLE_ADMIN"]}}`,
		"UserService.UpdateUser":                     `{"user": {"displayName": "attacked"}}`,
		"UserService.SignUp":                         `{"username": "attacker", "password": "horse battery staple wrong"}`,
		"UserService.ChangePassword":                 `{"currentPassword": "not this one at all", "newPassword": "horse battery staple wrong"}`,
	}
}

// objects has the names of somebody's objects by the pattern that paths have.
type objects map[string]string

// attack is one method with a request for it.
type attack struct {
	name   string // Service.Method
	full   string // /package.Service/Method
	rule   identity.Rule
	method protoreflect.MethodDescriptor
	// about says that the request names an object.
	about   bool
	request *dynamicpb.Message
	// verb, path and body are the request over REST; empty where there is none.
	verb, path, body string
}

var pathVariable = regexp.MustCompile(`\{([a-z_.]+)=([^}]+)\}`)

// newAttack makes the request for a method about the objects. Where it has an
// etag, that is never the current one, so that nothing comes of it.
func newAttack(t *testing.T, full string, m protoreflect.MethodDescriptor, of objects) *attack {
	t.Helper()
	a := &attack{name: short(m), full: full, rule: allRules()[full], method: m, request: dynamicpb.NewMessage(m.Input())}
	text := attackBodies()[a.name]
	for _, placeholder := range regexp.MustCompile(`\$[a-z]+`).FindAllString(text, -1) {
		pattern := map[string]string{"$api": "apis/*", "$application": "applications/*", "$version": "apis/*/versions/*", "$plan": "plans/*", "$subscription": "subscriptions/*"}[placeholder]
		a.about = a.about || placeholder != "$plan"
		text = strings.ReplaceAll(text, placeholder, of[pattern])
	}
	if text != "" {
		if err := protojson.Unmarshal([]byte(text), a.request); err != nil {
			t.Fatalf("attackBodies[%s]: %v", a.name, err)
		}
	}
	setField(a.request, "etag", "W/6666")
	http, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if http == nil {
		return a
	}
	a.addREST(t, http, of)
	return a
}

// addREST adds the request over REST, and the names in its path to the one over
// gRPC.
func (a *attack) addREST(t *testing.T, rule *annotations.HttpRule, of objects) {
	t.Helper()
	var template string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		a.verb, template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		a.verb, template = http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		a.verb, template = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		a.verb, template = http.MethodDelete, p.Delete
	default:
		t.Fatalf("%s: an HTTP rule of an unknown kind", a.name)
	}
	rest := proto.Clone(a.request).(*dynamicpb.Message)
	a.path = pathVariable.ReplaceAllStringFunc(template, func(variable string) string {
		parts := pathVariable.FindStringSubmatch(variable)
		name, ok := of[parts[2]]
		if !ok {
			t.Fatalf("%s is about %s, and the attack has no such object: add it", a.name, parts[2])
		}
		a.about = true
		setField(a.request, parts[1], name)
		return name
	})
	switch field := rule.GetBody(); field {
	case "":
		query := url.Values{}
		rest.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case fd.Kind() != protoreflect.StringKind:
			case fd.IsList():
				for i := range v.List().Len() {
					query.Add(string(fd.Name()), v.List().Get(i).String())
				}
			default:
				query.Set(string(fd.Name()), v.String())
			}
			return true
		})
		if len(query) > 0 {
			a.path += "?" + query.Encode()
		}
	case "*":
		a.body = jsonOf(t, rest)
	default:
		a.body = jsonOf(t, rest.Get(rest.Descriptor().Fields().ByName(protoreflect.Name(field))).Message().Interface())
	}
}

func jsonOf(t *testing.T, m proto.Message) string {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// setField sets a text field at a path such as "api.name". A path of one name is
// also looked for in the resource that is in the request.
func setField(m protoreflect.Message, path, value string) {
	first, rest, nested := strings.Cut(path, ".")
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(first)); fd != nil {
		if nested {
			setField(m.Mutable(fd).Message(), rest, value)
			return
		}
		m.Set(fd, protoreflect.ValueOfString(value))
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() != nil && !fd.IsList() && !fd.IsMap() && fd.Message().Fields().ByName(protoreflect.Name(path)) != nil {
			v.Message().Set(fd.Message().Fields().ByName(protoreflect.Name(path)), protoreflect.ValueOfString(value))
		}
		return true
	})
}

// attacker is somebody who calls every method.
type attacker struct {
	name  string
	token string
	sees  bool // what the attacks are about
	// publishes says that the attacker sees the APIs and versions of others, to
	// publish them.
	publishes bool
	under     string // the paths of the methods to call, all without
	conn      *grpc.ClientConn
	http      *http.Client
	stack     *Stack
}

// overGRPC returns how a call ends, and the answer.
func (c *attacker) overGRPC(t *testing.T, a *attack) (codes.Code, string) {
	t.Helper()
	ctx := within(t)
	if c.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
	}
	answer := dynamicpb.NewMessage(a.method.Output())
	if a.method.IsStreamingClient() || a.method.IsStreamingServer() {
		stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, a.full)
		if err == nil {
			err = stream.RecvMsg(answer)
		}
		return status.Code(err), status.Convert(err).Message()
	}
	err := c.conn.Invoke(ctx, a.full, a.request, answer)
	if err != nil {
		return status.Code(err), status.Convert(err).Message()
	}
	return codes.OK, jsonOf(t, answer)
}

// overREST returns the status of the answer, and its body.
func (c *attacker) overREST(t *testing.T, a *attack) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), a.verb, c.stack.Portal+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if a.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, body(t, res)
}

// call makes the call both ways, which must end alike, and returns how.
func (c *attacker) call(t *testing.T, a *attack) (codes.Code, string) {
	t.Helper()
	code, answer := c.overGRPC(t, a)
	if a.verb == "" {
		return code, answer
	}
	got, text := c.overREST(t, a)
	// What was done over gRPC cannot be done again over REST.
	again := code == codes.OK && a.verb != http.MethodGet && (got == http.StatusConflict || got == http.StatusNotFound)
	if want := runtime.HTTPStatusFromCode(code); got != want && !again {
		t.Errorf("%s by %s: %v over gRPC, and %d over REST, want %d: %s", a.name, c.name, code, got, want, text)
	}
	return code, answer
}

// verdict is what becomes of a call.
type verdict string

const (
	// admitted is not refused for who calls, whatever else is wrong.
	admitted verdict = "admitted"
	// signedOut, denied and hidden are UNAUTHENTICATED, PERMISSION_DENIED and
	// NOT_FOUND; unserved is UNIMPLEMENTED.
	signedOut verdict = "refused as not signed in"
	denied    verdict = "denied"
	hidden    verdict = "not found"
	unserved  verdict = "not served"
)

func verdictOf(code codes.Code) verdict {
	switch code {
	case codes.Unauthenticated:
		return signedOut
	case codes.PermissionDenied:
		return denied
	case codes.NotFound:
		return hidden
	case codes.Unimplemented:
		return unserved
	default:
		return admitted
	}
}

// byStranger is what becomes of a call without a user's token.
func (a *attack) byStranger() verdict {
	switch {
	case len(a.rule.Services) > 0 && len(a.rule.Roles) == 0:
		return unserved // at what users reach
	case a.rule.Open:
		return admitted
	default:
		return signedOut
	}
}

// byUser is what becomes of a call of a user with a role, about objects of others
// which nobody else may see.
func (a *attack) byUser(role string) verdict {
	u := identity.User{Name: "users/x", Roles: []string{role}}
	switch v := a.byStranger(); {
	case v != signedOut:
		return v
	case len(a.rule.Roles) > 0 && !slices.ContainsFunc(a.rule.Roles, u.Has):
		return denied
	case len(a.rule.Roles) > 0 || !a.about || u.Has(identity.RoleAdmin):
		return admitted
	default:
		return hidden
	}
}

// byAnother is byUser, but for whoever publishes sees the APIs of others.
func (a *attack) byAnother(role string) verdict {
	if role == identity.RolePublisher && (strings.HasPrefix(a.path, "/v1/apis/") || strings.HasPrefix(a.path, "/v1/apis:")) {
		return a.byUserOfPublished(role)
	}
	return a.byUser(role)
}

// byUserOfPublished is byUser about an API that all users see, and only its owner
// changes. What gateways know of its endpoints is for its owner, too.
func (a *attack) byUserOfPublished(role string) verdict {
	v := a.byUser(role)
	switch {
	case v != hidden:
		return v
	case a.verb == http.MethodGet && a.name != "EndpointService.DescribeEndpoints":
		return admitted
	default:
		return denied
	}
}

// byOwner is what becomes of a call of the owner of the objects whose only role
// this is.
func (a *attack) byOwner(role string) verdict {
	u := identity.User{Name: "users/x", Roles: []string{role}}
	switch v := a.byUser(role); {
	case v != hidden:
		return v
	case a.rule.OwnerRole != "" && !u.Has(a.rule.OwnerRole):
		return denied
	default:
		return admitted
	}
}

// attacks returns a request about the objects for every method.
func attacks(t *testing.T, of objects) []*attack {
	t.Helper()
	methods := allMethods()
	var all []*attack
	for _, full := range slices.Sorted(maps.Keys(methods)) {
		all = append(all, newAttack(t, full, methods[full], of))
	}
	slices.SortStableFunc(all, func(a, b *attack) int { // what may end an object comes last
		return cmp.Compare(a.ends(), b.ends())
	})
	for name := range attackBodies() {
		if !slices.ContainsFunc(all, func(a *attack) bool { return a.name == name }) {
			t.Errorf("attackBodies has %s, which is no method", name)
		}
	}
	return all
}

// ends is 1 for a method that can end what it is about though it takes no etag.
func (a *attack) ends() int {
	if a.about && a.verb != http.MethodGet && a.request.Descriptor().Fields().ByName("etag") == nil {
		return 1
	}
	return 0
}

// exception is a verdict that does not follow from the rules, and why.
type exception struct {
	want verdict
	why  string
}

// run calls every method, and compares what becomes of it.
func (c *attacker) run(t *testing.T, of objects, want func(*attack) verdict, but map[string]exception) {
	t.Helper()
	for _, a := range attacks(t, of) {
		if !strings.HasPrefix(a.path, c.under) {
			continue
		}
		wanted := want(a)
		if e, ok := but[a.name]; ok {
			if e.want == wanted {
				t.Errorf("%s is %s by the rules: it is no exception", a.name, wanted)
			}
			wanted = e.want
		}
		code, answer := c.call(t, a)
		if got := verdictOf(code); got != wanted {
			t.Errorf("%s by %s is %s (%v), want %s: %s", a.name, c.name, got, code, wanted, answer)
		}
		// The password is wrong on purpose, for a changed one ends sign-ins.
		if code == codes.InvalidArgument && a.byStranger() == signedOut && a.name != "UserService.ChangePassword" {
			t.Errorf("%s by %s is INVALID_ARGUMENT: %s. Give it a good request in attackBodies", a.name, c.name, answer)
		}
		if code == codes.OK && !c.sees {
			c.tellsNothing(t, a, of, answer)
		}
	}
}

// tellsNothing checks that an answer has nothing of somebody else's.
func (c *attacker) tellsNothing(t *testing.T, a *attack, of objects, answer string) {
	t.Helper()
	for pattern, name := range of {
		switch pattern {
		case "plans/*", "signingKeys/*", "gateways/*", "services/*", "services/*/changes/*": // nobody's
			continue
		case "users/*": // stands in APIs that all see
			continue
		case "apis/*", "apis/*/versions/*":
			if c.publishes {
				continue
			}
		}
		if strings.Contains(answer, fmt.Sprintf("%q", name)) {
			t.Errorf("%s by %s has %s of somebody else's: %s", a.name, c.name, name, answer)
		}
	}
}

// exceptions are the verdicts that do not follow from the rules, for strangers
// (without a role), for users with a role about what is another's, and for owners
// with a role.
func exceptions(role string, owner bool) map[string]exception {
	all := map[string]exception{
		"OAuth2Service.RevokeToken":     {signedOut, "an OAuth client signs in with what is in the request"},
		"OAuth2Service.IntrospectToken": {signedOut, "an OAuth client signs in with what is in the request"},
	}
	if owner || role == identity.RoleAdmin {
		all["SessionService.RenewSession"] = exception{hidden, "the credential alone is the right to it, and that of the request is nobody's"}
	}
	if role == identity.RoleAdmin {
		all["TokenService.IssueApplicationToken"] = exception{hidden, "a token speaks for the application: it is its owner's alone"}
	}
	if role == "" || role == identity.RoleAdmin {
		return all
	}
	if !owner && role == identity.RolePublisher {
		all["DenyRuleService.CreateDenyRule"] = exception{denied, "whoever publishes sees the APIs of others"}
	}
	if owner && role == identity.RolePublisher {
		all["SubscriptionService.UpdateSubscription"] = exception{admitted, "a version's publisher moves its subscribers to other plans"}
	}
	if !owner {
		all["CatalogService.GetPlan"] = exception{admitted, "plans are everybody's"}
		all["ChangeService.WaitChange"] = exception{admitted, "whoever writes waits until gateways know, and a number says nothing"}
		all["SessionService.GetGateway"] = exception{admitted, "gateways are everybody's"}
		all["SessionService.CountSessions"] = exception{admitted, "the sessions of a gateway are counted as far as the caller sees them"}
		all["SessionService.CloseSessions"] = exception{admitted, "the sessions of a gateway are closed as far as the caller sees them"}
		all["SessionService.ListSessions"] = exception{admitted, "the sessions of a gateway are listed as far as the caller sees them"}
	}
	return all
}
