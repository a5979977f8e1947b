package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// shake is a handshake in the making.
type shake struct {
	header    http.Header
	query     []string
	protocols []string
	once      bool // not over TLS, too
	ending    bool // its session may be ended at any time, so nothing is echoed
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
func (l *leakRun) shakes(path string, fill ...func(h *shake)) (status int) {
	l.t.Helper()
	h := &shake{header: http.Header{"Origin": {"https://app.example"}, "User-Agent": {marker}, "X-Marker": {marker}}}
	for _, f := range fill {
		f(h)
	}
	bases := []string{l.WS, l.WSS}
	if h.once {
		bases = bases[:1]
	}
	for _, base := range bases {
		address := base + path
		if len(h.query) > 0 {
			address += "?" + strings.Join(h.query, "&")
		}
		conn, res, err := websocket.Dial(within(l.t), address, &websocket.DialOptions{HTTPClient: l.http(l.t), HTTPHeader: h.header, Subprotocols: h.protocols}) //nolint:bodyclose // body or the library has read it
		if res == nil {
			l.t.Fatalf("dial %s: %v", path, err)
		}
		text := ""
		if status = res.StatusCode; err == nil && h.ending {
			_ = conn.CloseNow()
		} else if err == nil {
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
	if b[at] == 'm' {
		b[at] = 'n'
	} else {
		b[at] = 'm'
	}
	return string(b)
}

// schemes are those that ask for a credential, of one place each.
func schemes(place *catalogv1.CredentialPlace) map[string]*catalogv1.SecurityScheme {
	places := []*catalogv1.CredentialPlace{place}
	return map[string]*catalogv1.SecurityScheme{
		"oauth2":  {Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}},
		"api_key": {Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: places}}},
	}
}

// places uses every place of every scheme, with credentials that are good and that are not,
// at versions that list the place, beside all others, and at one that asks for none.
func (l *leakRun) places() {
	l.t.Helper()
	of := l.admin.application(l.t, marker+" client")
	l.secrets.Add("a client secret", of.secret.GetSecret())
	key, err := l.admin.keys.CreateAPIKey(l.admin.ctx(l.t), &subscriptionv1.CreateAPIKeyRequest{Parent: of.app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: "places", Stage: catalogv1.Stage_STAGE_PRODUCTION}})
	if err != nil {
		l.t.Fatal(err)
	}
	credentials := map[string]string{"oauth2": l.admin.accessToken(l.t, of), "api_key": key.GetKey()}
	open := l.version("Open", &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}})
	tried := map[string]bool{"none": true}
	for i, c := range carriers() {
		tried[chosen(c.place)] = true
		for name, scheme := range schemes(c.place) {
			tried[name] = true
			v := l.version(fmt.Sprintf("Place%d%s", i, name), scheme)
			l.admin.subscribe(l.t, of.app.GetName(), v.version.GetName())
			l.place(v, open, c, name, credentials[name])
		}
	}
	for _, of := range []proto.Message{&catalogv1.CredentialPlace{}, &catalogv1.SecurityScheme{}} {
		all := of.ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
		for i := range all.Len() {
			if name := string(all.Get(i).Name()); !tried[name] && !slices.Contains(elsewhere, name) {
				l.t.Errorf("no credential is tried with the place or scheme %s", name)
			}
		}
	}
	// What somebody puts where no credential belongs is hidden from records all the same.
	for _, credential := range []string{credentials["oauth2"], key.GetKey(), of.secret.GetSecret()} {
		l.shakes("/nothing/"+credential, func(h *shake) { h.header.Set("User-Agent", "client "+credential) })
	}
}

// chosen is the name of the field of a oneof that is set.
func chosen(m proto.Message) string {
	r := m.ProtoReflect()
	return string(r.WhichOneof(r.Descriptor().Oneofs().Get(0)).Name())
}

// place uses one place.
func (l *leakRun) place(v, open *product, c carrier, scheme, good string) {
	l.t.Helper()
	what := scheme + ", " + c.name
	with := func(credential string, more ...func(*shake)) int {
		return l.shakes(v.path, append([]func(*shake){func(h *shake) { c.put(h, credential) }}, more...)...)
	}
	l.secrets.Add("what is good for "+what, good)
	if got := with(good); got != 101 {
		l.t.Errorf("%s with what is good: %d, want 101", what, got)
	}
	for how, bad := range map[string]string{"changed": changed(good), "opaque": "nonsense-" + strings.Repeat("q7W", 12)} {
		l.secrets.Add(how+" in "+what, bad)
		if got := with(bad); got != 401 {
			l.t.Errorf("%s with a credential that is %s: %d, want 401", what, how, got)
		}
	}
	// Once more at each other place, beside the good one.
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
		l.t.Errorf("%s where none is asked for: %d, want 101", what, got)
	}
	if got := l.shakes("/nothing/at/all/"+marker, func(h *shake) { c.put(h, good) }); got != 404 {
		l.t.Errorf("%s at a path that leads nowhere: %d, want 404", what, got)
	}
}

// elsewhere are the places that the test has parts of their own for.
var elsewhere = []string{"first_message", "ticket"}

// messages shows credentials in first messages. What a version passes on the backend gets.
func (l *leakRun) messages() {
	l.t.Helper()
	of := l.admin.application(l.t, "Messages client")
	l.secrets.Add("a client secret", of.secret.GetSecret())
	for name, passOn := range map[string]bool{"Hears": false, "PassesOn": true} {
		v := l.version(name, &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
			{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: &catalogv1.FirstMessagePlace{Pointer: "/token", PassOn: passOn}}},
		}}}})
		l.admin.subscribe(l.t, of.app.GetName(), v.version.GetName())
		good := l.admin.accessToken(l.t, of)
		searcher := &l.secrets
		if passOn {
			searcher = &l.passed
			l.meant["the backend"]["the token of "+name] = true
		}
		searcher.Add("the token of "+name, good)
		searcher.Add("a bad token of "+name, changed(good))
		for _, token := range []string{good, changed(good)} {
			conn, _, err := websocket.Dial(within(l.t), l.WS+v.path, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://app.example"}}}) //nolint:bodyclose // the library has read it
			if err != nil {
				l.t.Fatal(err)
			}
			message := fmt.Sprintf(`{"token":"\u%04x%s"}`, token[0], token[1:])
			if err := conn.Write(within(l.t), websocket.MessageText, []byte(message)); err != nil {
				l.t.Fatal(err)
			}
			if token != good {
				code, reason := closed(l.t, conn)
				l.notes("the gateway's answers", reason)
				if code != 4001 {
					l.t.Errorf("a bad token in the first message of %s is closed with %d %s, want 4001", name, code, reason)
				}
				continue
			}
			if passOn {
				if _, got, err := conn.Read(within(l.t)); err != nil || string(got) != message {
					l.t.Errorf("the backend of %s sends back %q, %v, want the first message", name, got, err)
				}
			}
			echo(l.t, conn, websocket.MessageText, "hello")
			_ = conn.Close(websocket.StatusNormalClosure, "")
		}
	}
}

// passes shows credentials to a version that passes them on, with secrets in its headers:
// its backend gets them, and nobody else.
func (l *leakRun) passes() {
	l.t.Helper()
	of := l.admin.application(l.t, "Passes client")
	l.secrets.Add("a client secret", of.secret.GetSecret())
	const secret = "Zq8-secret-of-the-backend-Yw5xV3"
	v := l.versionAt(l.trusted, "Passes", func(v *catalogv1.Version) {
		v.PassCredential = true
		v.BackendOptions = &catalogv1.BackendOptions{Headers: []*catalogv1.HeaderRule{
			{Name: "X-Backend-Key", Action: &catalogv1.HeaderRule_Secret{Secret: &catalogv1.Secret{Value: secret}}},
		}}
	}, tokens(), apiKeys())
	l.admin.subscribe(l.t, of.app.GetName(), v.version.GetName())
	key, err := l.admin.keys.CreateAPIKey(l.admin.ctx(l.t), &subscriptionv1.CreateAPIKeyRequest{
		Parent: of.app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: "passes", Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	token := l.admin.accessToken(l.t, of)
	for what, credential := range map[string]string{"a token that is passed on": token, "an API key that is passed on": key.GetKey(), "a header's secret": secret} {
		l.given.Add(what, credential)
		l.meant["the trusted backend"][what] = true
	}
	// What is bad begins as the good one does, which is searched for.
	for what, bad := range map[string]string{"a bad token": changed(token), "a bad API key": changed(key.GetKey())} {
		l.given.Add(what, bad)
	}
	for _, tt := range []struct {
		name, token, key string
		want             int
	}{{"a token", token, "", 101}, {"an API key", "", key.GetKey(), 101}, {"a bad token", changed(token), "", 401}, {"a bad API key", "", changed(key.GetKey()), 401}} {
		got := l.shakes(v.path, func(h *shake) {
			if tt.token != "" {
				h.header.Set("Authorization", "Bearer "+tt.token)
			} else {
				h.query = append(h.query, "apikey="+url.QueryEscape(tt.key))
			}
		})
		if got != tt.want {
			l.t.Errorf("%s at a version that passes credentials on: %d, want %d", tt.name, got, tt.want)
		}
	}
	// Another version's backend gets nothing of them.
	l.shakes("/open/1.0.0", func(h *shake) { h.header.Set("X-Elsewhere", token) })
}

// tickets buys tickets and spends them, well and badly.
func (l *leakRun) tickets() {
	l.t.Helper()
	of := l.admin.application(l.t, "Tickets client")
	v := l.version("Tickets", &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
		{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
	}}}})
	l.admin.subscribe(l.t, of.app.GetName(), v.version.GetName())
	good := l.admin.accessToken(l.t, of)
	for what, token := range map[string]string{"a token that buys": good, "one that does not": changed(good)} {
		l.secrets.Add(what, token)
		req, err := http.NewRequestWithContext(within(l.t), http.MethodPost, "http"+strings.TrimPrefix(l.WS, "ws")+"/-/tickets?path="+url.QueryEscape(v.path), http.NoBody)
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		text := body(l.t, res)
		_ = res.Body.Close()
		if token != good {
			l.notes("the gateway's answers", text)
			continue
		}
		var bought struct{ Ticket string }
		if err := json.Unmarshal([]byte(text), &bought); err != nil || bought.Ticket == "" {
			l.t.Fatalf("buying a ticket = %d %s", res.StatusCode, text)
		}
		l.secrets.Add("a ticket", bought.Ticket)
		l.secrets.Add("a changed ticket", changed(bought.Ticket))
		for _, spend := range []struct {
			ticket string
			want   int
		}{{changed(bought.Ticket), 401}, {bought.Ticket, 101}, {bought.Ticket, 401}} {
			if got := l.shakes(v.path, func(h *shake) { h.once, h.query = true, []string{"a=1", "ticket=" + url.QueryEscape(spend.ticket)} }); got != spend.want {
				l.t.Errorf("a ticket is answered %d, want %d", got, spend.want)
			}
		}
		// Where it is not asked for, it is recognised.
		l.shakes("/open/1.0.0", func(h *shake) { h.header.Set("X-Elsewhere", bought.Ticket) })
	}
}

// renewals renews a live session with tokens, good and bad, at the gateway and through the
// portal, and lists the sessions of each.
func (l *leakRun) renewals() {
	l.t.Helper()
	v := l.admin.publish(l.t, "Renewals", l.backend)
	conn, ref := l.connectForRef(l.t, l.WS+v.path, l.secret("a token that is renewed", l.admin.accessToken(l.t, v)))
	portal := gatewayv1.NewSessionServiceClient(l.dial(l.t))
	for _, bad := range []bool{true, false} {
		at, through := l.admin.accessToken(l.t, v), l.admin.accessToken(l.t, v)
		want, code := http.StatusOK, codes.OK
		if bad {
			at, through = changed(at), changed(through)
			want, code = http.StatusNotFound, codes.NotFound
		}
		l.secret("a token that renews at the gateway", at)
		l.secret("a token that renews through the portal", through)
		got, _, text := l.own(l.t, http.MethodPost, "/-/sessions/"+ref+"/credential", at)
		if got != want {
			l.t.Errorf("a renewal at the gateway is answered %d %s, want %d", got, text, want)
		}
		l.notes("the gateway's answers", text)
		_, _, text = l.own(l.t, http.MethodGet, "/-/sessions?path="+v.path, at)
		l.notes("the gateway's answers", text)
		resp, err := portal.RenewSession(l.admin.ctx(l.t), &gatewayv1.RenewSessionRequest{Name: "gateways/-/sessions/" + ref, Credential: through})
		if status.Code(err) != code {
			l.t.Errorf("a renewal through the portal is answered %v, want %v", err, code)
		}
		l.notes("the services' answers", fmt.Sprint(resp, err))
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// secret adds a credential to those that are searched for, and returns it.
func (l *leakRun) secret(what, value string) string {
	l.secrets.Add(what, value)
	return value
}

// version publishes a version with a scheme.
func (l *leakRun) version(name string, scheme *catalogv1.SecurityScheme) *product {
	l.t.Helper()
	return l.versionAt(l.backend, name, func(*catalogv1.Version) {}, scheme)
}

// versionAt publishes a version of a backend with schemes, changed by edit.
func (l *leakRun) versionAt(backend, name string, edit func(*catalogv1.Version), schemes ...*catalogv1.SecurityScheme) *product {
	l.t.Helper()
	ctx, x := l.admin.ctx(l.t), &product{path: "/" + strings.ToLower(name) + "/1.0.0"}
	var err error
	x.api, err = l.admin.catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ToLower(name)}})
	if err == nil {
		v := &catalogv1.Version{
			Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(backend)}, Plans: []string{l.admin.plan(l.t, "Unlimited"), l.admin.plan(l.t, "Gold")},
			Security: schemes, AllowedOrigins: []string{"https://app.example"},
		}
		edit(v)
		x.version, err = l.admin.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: x.api.GetName(), Version: v})
	}
	if err != nil {
		l.t.Fatalf("version %s: %v", name, err)
	}
	x.version = l.admin.publishVersion(l.t, x.version.GetName())
	return x
}
