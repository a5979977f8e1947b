package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/leaks"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// leakRun is a server that is used with credentials, and all that came out of it.
type leakRun struct {
	*server
	t       *testing.T
	admin   *user
	ops     string
	backend string
	// secrets are the credentials, and planted a text that is none and must be found
	// wherever the search reads.
	secrets, planted leaks.Searcher

	mu    sync.Mutex
	wrote map[string]*strings.Builder // by who wrote or got it
}

// marker is the text that is planted.
const marker = "planted-A1b2C3d4E5f6G7h8"

// notes keeps what somebody wrote or got.
func (l *leakRun) notes(who, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote[who] == nil {
		l.wrote[who] = &strings.Builder{}
	}
	l.wrote[who].WriteString(text + "\n")
}

// newLeakRun starts a server that logs at all levels, and a backend that keeps all it gets.
func newLeakRun(t *testing.T) *leakRun {
	t.Helper()
	l := &leakRun{t: t, wrote: map[string]*strings.Builder{}}
	l.planted.Add("what is planted", marker)
	backend := httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(backend.Close)
	l.backend = "ws" + strings.TrimPrefix(backend.URL, "http")
	ready := make(chan standalone.Addresses, 1)
	data := newData(t)
	l.server = launch(t, data, func(a standalone.Addresses) { ready <- a }, append(quick(), "-no-sample", "-ops", "0",
		"-log-level", "debug", "-log-format", "json", "-security-log", filepath.Join(t.TempDir(), "security.log"), "-subscription.sign-up", "open")...)
	t.Cleanup(func() {
		l.stop()
		l.wait(t)
	})
	at := await(t, ready)
	l.ops = at.Ops
	l.Stack = &Stack{
		Portal: at.Portal, GRPC: at.GRPC, WS: at.WS, WSS: at.WSS, CA: filepath.Join(data, "ca.pem"), PasswordFile: filepath.Join(data, "admin-password"),
	}
	l.admin = l.Stack.admin(t)
	return l
}

// serve is the backend: it echoes, and keeps heads and messages.
func (l *leakRun) serve(w http.ResponseWriter, r *http.Request) {
	head, err := httputil.DumpRequest(r, false)
	if err != nil {
		l.t.Errorf("the backend's request: %v", err)
	}
	l.notes("the backend", string(head))
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat"}})
	if err != nil {
		return
	}
	for {
		kind, message, err := conn.Read(l.t.Context())
		if err != nil {
			return
		}
		l.notes("the backend", string(message))
		if conn.Write(l.t.Context(), kind, message) != nil {
			return
		}
	}
}

// shake is a handshake in the making.
type shake struct {
	header    http.Header
	query     []string
	protocols []string
}

// carrier puts a credential into a place of a handshake.
type carrier struct {
	name  string
	place *catalogv1.CredentialPlace
	put   func(h *shake, credential string)
}

// carriers are all places in all their forms. A kind of place that the protos have and this
// list lacks fails the test.
func carriers() []carrier {
	header := func(name string, form catalogv1.HeaderPlace_Form) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: name, Form: form}}}
	}
	query := func(name string, encoding catalogv1.QueryPlace_Encoding) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: name, Encoding: encoding}}}
	}
	protocol := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Subprotocol{Subprotocol: &catalogv1.SubprotocolPlace{}}}
	return []carrier{
		{"bearer", header("Authorization", 0), func(h *shake, c string) { h.header.Set("Authorization", "Bearer "+c) }},
		{"raw header", header("X-Token", catalogv1.HeaderPlace_FORM_RAW), func(h *shake, c string) { h.header.Set("X-Token", c) }},
		{"bearer elsewhere", header("X-Bearer", catalogv1.HeaderPlace_FORM_BEARER), func(h *shake, c string) { h.header.Set("X-Bearer", "bearer "+c) }},
		{"query", query("access_token", 0), func(h *shake, c string) { h.query = append(h.query, "access_token="+url.QueryEscape(c)) }},
		{"query, every byte encoded", query("token", 0), func(h *shake, c string) {
			var b strings.Builder
			for i := range len(c) {
				fmt.Fprintf(&b, "%%%02X", c[i])
			}
			h.query = append(h.query, "token="+b.String())
		}},
		{"query in base64", query("t64", catalogv1.QueryPlace_ENCODING_BASE64), func(h *shake, c string) {
			h.query = append(h.query, "t64="+base64.StdEncoding.EncodeToString([]byte(c)))
		}},
		{"cookie", &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: "sid"}}}, func(h *shake, c string) {
			h.header.Set("Cookie", "a=1; sid="+c+"; b=2")
		}},
		{"sub-protocols", protocol, func(h *shake, c string) { h.protocols = append(h.protocols, "bearer", c) }},
		{"sub-protocol of Kubernetes", protocol, func(h *shake, c string) {
			h.protocols = append(h.protocols, "chat", "base64url.bearer.authorization.k8s.io."+base64.RawURLEncoding.EncodeToString([]byte(c)))
		}},
	}
}

// shakes connects, notes what comes of it, and returns the status. A session says something.
func (l *leakRun) shakes(path string, fill ...func(h *shake)) int {
	l.t.Helper()
	h := &shake{header: http.Header{"Origin": {"https://app.example"}, "User-Agent": {marker}, "X-Marker": {marker}}}
	for _, f := range fill {
		f(h)
	}
	status := 0
	for _, base := range []string{l.WS, l.WSS} {
		address := base + path
		if len(h.query) > 0 {
			address += "?" + strings.Join(h.query, "&")
		}
		conn, res, err := websocket.Dial(within(l.t), address, &websocket.DialOptions{HTTPClient: l.http(l.t), HTTPHeader: h.header, Subprotocols: h.protocols}) //nolint:bodyclose // body or the library has read it
		if res == nil {
			l.t.Fatalf("dial %s: %v", path, err)
		}
		text := ""
		if status = res.StatusCode; err == nil {
			echo(l.t, conn, websocket.MessageText, "hello")
			_ = conn.Close(websocket.StatusNormalClosure, "")
		} else if text = body(l.t, res); status == http.StatusSwitchingProtocols {
			l.t.Errorf("dial %s: %v", path, err)
		}
		l.notes("the gateway's answers", fmt.Sprint(res.Header, text))
	}
	return status
}

// changed is a credential with one character in the middle of its end replaced.
func changed(credential string) string {
	b := []byte(credential)
	at := len(b) - 12
	if b[at]++; b[at] == 'z'+1 || b[at] == 'Z'+1 || b[at] == '9'+1 {
		b[at] = 'm'
	}
	return string(b)
}

// places uses every place, with credentials that are good and that are not, at versions
// that list the place, that list another one, and that ask for none.
func (l *leakRun) places() {
	l.t.Helper()
	listed := map[string]bool{}
	of := l.admin.application(l.t, marker+" client")
	l.secrets.Add("a client secret", of.secret.GetSecret())
	good := l.admin.accessToken(l.t, of)
	l.secrets.Add("a token", good)
	open := l.version("Open", &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}})
	for i, c := range carriers() {
		listed[string(c.place.ProtoReflect().WhichOneof(c.place.ProtoReflect().Descriptor().Oneofs().Get(0)).Name())] = true
		v := l.version(fmt.Sprintf("Place%d", i), &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{c.place}}}})
		l.admin.subscribe(l.t, of.app.GetName(), v.version.GetName())
		with := func(credential string, more ...func(*shake)) int {
			return l.shakes(v.path, append([]func(*shake){func(h *shake) { c.put(h, credential) }}, more...)...)
		}
		if got := with(good); got != 101 {
			l.t.Errorf("%s with a good token: %d, want 101", c.name, got)
		}
		opaque := "nonsense-" + strings.Repeat("q7W", 12)
		for what, bad := range map[string]string{"a changed token": changed(good), "an opaque credential": opaque} {
			l.secrets.Add(what+" in "+c.name, bad)
			if got := with(bad); got != 401 {
				l.t.Errorf("%s with %s: %d, want 401", c.name, what, got)
			}
		}
		// Once more at each other place, beside the good one, and where none is asked for.
		for _, other := range carriers() {
			if other.name != c.name {
				with(good, func(h *shake) {
					if len(h.protocols) == 0 || other.place.GetSubprotocol() == nil {
						other.put(h, good)
					}
				})
			}
		}
		if got := l.shakes(open.path, func(h *shake) { c.put(h, good) }); got != 101 {
			l.t.Errorf("%s where none is asked for: %d, want 101", c.name, got)
		}
		if got := l.shakes("/nothing/at/all/"+marker, func(h *shake) { c.put(h, good) }); got != 404 {
			l.t.Errorf("%s at a path that leads nowhere: %d, want 404", c.name, got)
		}
	}
	places := (&catalogv1.CredentialPlace{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range places.Len() {
		if name := string(places.Get(i).Name()); !listed[name] && !slices.Contains(elsewhere, name) {
			l.t.Errorf("no credential is tried in the place %s", name)
		}
	}
	// What somebody puts where no credential belongs is hidden from records all the same.
	for _, credential := range []string{good, of.secret.GetSecret()} {
		l.shakes("/nothing/"+credential, func(h *shake) { h.header.Set("User-Agent", "client "+credential) })
	}
}

// elsewhere are the places that the test has parts of their own for.
var elsewhere = []string{"first_message"}

// version publishes a version with a scheme.
func (l *leakRun) version(name string, scheme *catalogv1.SecurityScheme) *product {
	l.t.Helper()
	ctx, x := l.admin.ctx(l.t), &product{path: "/" + strings.ToLower(name) + "/1.0.0"}
	var err error
	x.api, err = l.admin.catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ToLower(name)}})
	if err == nil {
		x.version, err = l.admin.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: x.api.GetName(), Version: &catalogv1.Version{
			Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(l.backend)}, Plans: []string{l.admin.plan(l.t, "Unlimited"), l.admin.plan(l.t, "Gold")},
			Security: []*catalogv1.SecurityScheme{scheme}, AllowedOrigins: []string{"https://app.example"},
		}})
	}
	if err != nil {
		l.t.Fatalf("version %s: %v", name, err)
	}
	x.version = l.admin.publishVersion(l.t, x.version.GetName())
	return x
}

// issues has every kind of credential issued, used well and badly, renewed, rotated and
// revoked at the control plane, and shown to a gateway.
func (l *leakRun) issues() {
	l.t.Helper()
	x := l.admin.publish(l.t, "Issues", l.backend)
	p, ctx := l.admin, l.admin.ctx(l.t)
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	const password = "a horse that pulls batteries"
	l.secrets.Add("a password", password)
	l.secrets.Add("the administrator's password", l.password(l.t))
	_, err := p.users.CreateUser(ctx, &identityv1.CreateUserRequest{User: &identityv1.User{Username: "somebody", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}, Password: password})
	must(err)
	in, err := p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: "somebody", Password: password})
	must(err)
	next, err := p.signIns.RefreshSignIn(within(l.t), &identityv1.RefreshSignInRequest{RefreshToken: in.GetRefreshToken()})
	must(err)
	_, err = p.signIns.RefreshSignIn(within(l.t), &identityv1.RefreshSignInRequest{RefreshToken: changed(next.GetRefreshToken())})
	l.wants("a changed refresh token", err)
	for _, guess := range []string{"another horse entirely", password + "!"} {
		l.secrets.Add("a wrong password", guess)
		_, err = p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: "somebody", Password: guess, DeviceKey: in.GetDeviceKey()})
		l.wants("a wrong password", err)
	}
	_, err = p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: marker, Password: password})
	l.wants("a username that is none", err)
	tryOut, err := p.tokens.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{Version: x.version.GetName()})
	must(err)
	narrowed, err := p.oauth.IssueToken(within(l.t), &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentialsOf(x), Resource: l.WS + "/issues"})
	must(err)
	key, err := p.keys.CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{Parent: x.app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: marker, Stage: catalogv1.Stage_STAGE_PRODUCTION}})
	must(err)
	rotated, err := p.keys.RotateAPIKey(ctx, &subscriptionv1.RotateAPIKeyRequest{Name: key.GetName()})
	must(err)
	good, revoked := p.accessToken(l.t, x), p.accessToken(l.t, x)
	all := map[string]string{
		"a user's token": in.GetAccessToken(), "a renewed user's token": next.GetAccessToken(), "a refresh token": in.GetRefreshToken(), "a later refresh token": next.GetRefreshToken(),
		"a device key": in.GetDeviceKey(), "a secret of a client": x.secret.GetSecret(), "a try-out token": tryOut.GetAccessToken(),
		"a narrowed token": narrowed.GetAccessToken(), "an API key": key.GetKey(), "a rotated API key": rotated.GetKey(), "an access token": good, "a token that is revoked": revoked,
		"the administrator's token": p.token,
	}
	for what, credential := range all {
		l.secrets.Add(what, credential)
		l.secrets.Add(what+", changed", changed(credential))
		for _, one := range []string{credential, changed(credential)} {
			l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+one) })
			l.shakes(x.path, func(h *shake) { h.query = append(h.query, "access_token="+url.QueryEscape(one)) })
			l.calls(one)
		}
		l.shakes(x.path, func(h *shake) { h.header.Set("X-Elsewhere", credential); h.header.Set("Authorization", "Bearer "+good) })
	}
	_, err = p.revocations.Revoke(ctx, &subscriptionv1.RevokeRequest{Token: revoked})
	must(err)
	_, err = p.oauth.RevokeToken(within(l.t), &oauth2v1.RevokeTokenRequest{Token: good, ClientCredentials: credentialsOf(x)})
	must(err)
	for _, token := range []string{good, revoked} {
		if got := l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+token) }); got != 401 {
			l.t.Errorf("a revoked token: %d, want 401", got)
		}
	}
	_, err = p.deny.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: x.api.GetName(), ClientAddress: "127.0.0.1", Reason: marker}})
	must(err)
	eventually(l.t, func() error {
		if got := l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+narrowed.GetAccessToken()) }); got != 403 {
			return fmt.Errorf("a denied client is answered %d, want 403", got)
		}
		return nil
	})
}

// wants wants a call refused, and notes what it was told.
func (l *leakRun) wants(what string, err error) {
	l.t.Helper()
	if err == nil {
		l.t.Errorf("%s is taken", what)
		return
	}
	l.notes("the services' answers", err.Error())
}

// calls shows a credential to the portal wherever one may be, and notes the answers.
func (l *leakRun) calls(credential string) {
	l.t.Helper()
	client := l.http(l.t)
	ask := func(method, target, body string, edit func(*http.Request)) {
		l.t.Helper()
		req, err := http.NewRequestWithContext(within(l.t), method, l.Portal+target, strings.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		edit(req)
		res, err := client.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode >= 400 {
			l.notes("the portal's answers", fmt.Sprint(res.Header, string(text)))
		}
	}
	none := func(*http.Request) {}
	ask(http.MethodGet, "/v1/apis", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+credential) })
	ask(http.MethodGet, "/v1/apis?access_token="+url.QueryEscape(credential), "", none)
	ask(http.MethodPost, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"nobody"}, "client_secret": {credential}}.Encode(), none)
	ask(http.MethodPost, "/oauth2/token", "grant_type=client_credentials", func(r *http.Request) { r.SetBasicAuth("nobody", credential) })
	ask(http.MethodPost, "/oauth2/revoke", url.Values{"token": {credential}, "client_id": {"nobody"}, "client_secret": {credential}}.Encode(), none)
	ask(http.MethodPost, "/oauth2/introspect", url.Values{"token": {credential}}.Encode(), func(r *http.Request) { r.SetBasicAuth("nobody", credential) })
	ask(http.MethodGet, "/publisher", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-tidegate", Value: credential}) })
}

// gather notes all that the server has written, stored and tells, once it has reported.
func (l *leakRun) gather() {
	l.t.Helper()
	ctx, conn := l.admin.ctx(l.t), l.dial(l.t)
	text := func(m proto.Message, err error) string {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
		return protojson.Format(m)
	}
	records := usagev1.NewUsageServiceClient(conn)
	eventually(l.t, func() error { // the last refusal is reported
		list, err := records.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{PageSize: 1, Filter: `code = "DENIED"`})
		if err == nil && len(list.GetSessionRecords()) == 0 {
			err = fmt.Errorf("the denied handshake is not recorded")
		}
		return err
	})
	l.notes("records", text(records.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{PageSize: 1000})))
	l.notes("usage", text(records.ListUsage(ctx, &usagev1.ListUsageRequest{GroupBy: []string{"application", "version"}})))
	l.notes("the audit log", text(l.admin.changes.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/-", PageSize: 1000})))
	eventually(l.t, func() error {
		list, err := identityv1.NewSecurityEventServiceClient(conn).ListSecurityEvents(ctx, &identityv1.ListSecurityEventsRequest{PageSize: 1000})
		if err == nil && len(l.planted.Find(protojson.Format(list))) == 0 {
			err = fmt.Errorf("the failed sign-in is not in the security log")
		}
		if err == nil {
			l.notes("security events", protojson.Format(list))
		}
		return err
	})
	res, err := http.Get(l.ops + "/metrics")
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	l.notes("metrics", body(l.t, res))
	l.stop()
	if code := l.wait(l.t); code != 0 {
		l.t.Errorf("the server ended with %d", code)
	}
	_, log := l.output()
	l.notes("the log", log)
	l.files()
}

// files notes what is in the files of the server, but for those with its secrets.
func (l *leakRun) files() {
	l.t.Helper()
	err := filepath.WalkDir(l.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "admin-password" {
			return err
		}
		content, err := os.ReadFile(path)
		l.notes("the data folder", path+"\n"+string(content))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestNoCredentialLeaks uses credentials of every kind in every place, well and badly, and
// then searches all that came out of the server: its log at every level, metrics, security
// log, session records, usage, audit log, answers and files, and what the backend got. A
// text that is planted where such things end up is found there, so the search reads them.
func TestNoCredentialLeaks(t *testing.T) {
	t.Parallel()
	l := newLeakRun(t)
	l.places()
	l.issues()
	l.gather()
	began := time.Now()
	for who, wrote := range l.wrote {
		for _, leak := range l.secrets.Find(wrote.String()) {
			t.Errorf("%s has %s", who, leak)
		}
	}
	t.Logf("searched in %s", time.Since(began))
	for _, who := range []string{"the backend", "records", "usage", "the audit log", "security events", "the data folder"} {
		if l.wrote[who] == nil || len(l.planted.Find(l.wrote[who].String())) == 0 {
			t.Errorf("%s does not have what was planted: the search does not read it", who)
		}
	}
	for who, word := range map[string]string{
		"the log": `"level":"DEBUG"`, "metrics": "tidegate_handshakes", "the gateway's answers": "CREDENTIAL_INVALID", "the portal's answers": "invalid_client", "the services' answers": "password",
	} {
		if l.wrote[who] == nil || !strings.Contains(l.wrote[who].String(), word) {
			t.Errorf("%s does not say %s: the search does not read it", who, word)
		}
	}
}
