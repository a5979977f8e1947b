package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// session opens a session, and returns its ref.
func (w *world) session(url string, h http.Header) (c *websocket.Conn, ref string) {
	w.t.Helper()
	c, r := w.ask(url, h)
	if c == nil {
		w.t.Fatalf("%s with %v is refused: %d %s", url, h, r.status, r.body)
	}
	return c, r.header.Get("X-Tidegate-Ref")
}

// renewed is what a gateway answers to a renewal.
type renewed struct {
	status     int
	ExpireTime time.Time
	Scopes     []string
}

// renew shows a credential for the session with a ref.
func (w *world) renew(ref string, h http.Header) (r renewed) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http"+strings.TrimPrefix(w.plain, "ws")+"/-/sessions/"+ref+"/credential", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = h.Clone()
	resp, err := trusting(w.t).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.status = resp.StatusCode; r.status == http.StatusOK {
		if err := json.Unmarshal(body, &r); err != nil {
			w.t.Fatalf("%s: %v", body, err)
		}
	}
	return r
}

// renews shows credentials for a session, and wants these answers.
func (w *world) renews(ref string, want int, headers map[string]http.Header) {
	w.t.Helper()
	for what, h := range headers {
		if got := w.renew(ref, h); got.status != want {
			w.t.Errorf("renewal %s: %d, want %d", what, got.status, want)
		}
	}
}

// TestRenewedSessionsOutliveTheirCredential: a session that is renewed goes on when the
// credential that it began with expires, and ends when the new one does, also where that is
// earlier.
func TestRenewedSessionsOutliveTheirCredential(t *testing.T) {
	w := started(t)
	const life = 1500 * time.Millisecond
	old := w.plane.issue("old", "subscriptions/1", life)
	long, short := w.plane.issue("long", "subscriptions/1", time.Hour), w.plane.issue("short", "subscriptions/1", 2*life)
	c, ref := w.session(w.plain+"/x/1", bearer(old))
	witness, _ := w.session(w.plain+"/x/1", bearer(old))
	shortened, shorter := w.session(w.plain+"/x/1", bearer(long))
	if r := w.renew(ref, bearer(long)); r.status != 200 || time.Until(r.ExpireTime) < 50*time.Minute {
		t.Fatalf("renewal = %v, want the expiry of the new token", r)
	}
	if r := w.renew(shorter, bearer(short)); r.status != 200 || time.Until(r.ExpireTime) > 2*life {
		t.Fatalf("renewal with a token that expires earlier = %v", r)
	}
	closes(t, witness, 4001, "EXPIRED")
	w.renews(ref, 404, map[string]http.Header{"with the token that has expired": bearer(old)})
	echoes(t, c, "after the old token")
	closes(t, shortened, 4001, "EXPIRED")
	echoes(t, c, "to the end")
}

// TestRenewalDoesNotMoveTheMaximumAge: a session that is renewed all the time ends at its age.
func TestRenewalDoesNotMoveTheMaximumAge(t *testing.T) {
	w := newWorld(t)
	w.cfg.Listen.MaxRate = 0
	r := w.route("1")
	r.MaxSessionAge = durationpb.New(time.Second)
	w.plane.put(r)
	w.start()
	tokens := []string{w.plane.issue("a", "subscriptions/1", time.Hour), w.plane.issue("b", "subscriptions/1", time.Hour)}
	c, ref := w.session(w.plain+"/x/1", bearer(tokens[0]))
	n := 0
	eventually(t, "the session ends, however often it is renewed", func() bool {
		n++
		return w.renew(ref, bearer(tokens[n%2])).status == 404
	})
	closes(t, c, 1012, "MAX_AGE")
	if n < 3 {
		t.Errorf("it was renewed %d times only", n-1)
	}
}

// TestRenewalWithAnAPIKey: a session is renewed with another value of its key, and with nothing
// else; where the key is good from is judged anew, for the address that asks and for that of the
// session, and so is the page.
func TestRenewalWithAnAPIKey(t *testing.T) {
	w := newWorld(t)
	if err := w.cfg.Listen.Proxies.Trusted.Set("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	r := w.route("1")
	r.Security = []*catalogv1.SecurityScheme{
		{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}},
		{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{}}},
	}
	w.plane.put(r)
	const key, other = "applications/a/apiKeys/k", "applications/a/apiKeys/l"
	type value struct {
		key       string
		addresses []string
		referers  []string
	}
	named := map[string]value{
		"before": {key: key}, "after": {key: key}, "of-another-key": {key: other},
		"near": {key: key, addresses: []string{"203.0.113.0/24"}}, "far": {key: key, addresses: []string{"198.51.100.0/24"}},
		"page": {key: key, referers: []string{"app.example"}},
	}
	texts, values := map[string]string{}, map[string]value{}
	for name, v := range named {
		texts[name] = apikey.Declared()[0].Make()
		values[texts[name]] = v
	}
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		g := resp.GetGrant()
		if v, ok := values[req.GetCredential()]; ok && g != nil {
			g.OauthClient, g.ApiKey, g.PermittedAddresses, g.PermittedReferers = "", v.key, v.addresses, v.referers
			g.RestsOn = []string{g.GetName(), g.GetUser(), g.GetApplication(), v.key, g.GetSubscription(), g.GetVersion()}
		}
	})
	w.start()
	for text := range values {
		w.plane.issueKey(text, time.Hour)
	}
	w.plane.issue("token", "subscriptions/1", time.Hour)
	with := func(addr, name string, more ...string) http.Header {
		h := from(addr, "")
		h.Set("Apikey", texts[name])
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	const here, there = "203.0.113.7", "198.51.100.2"
	c, ref := w.session(w.plain+"/x/1", with(here, "before"))
	w.renews(ref, 404, map[string]http.Header{
		"with another key of the application":                with(here, "of-another-key"),
		"with a token of the application":                    from(here, "token"),
		"from where the key is not good":                     with(there, "near"),
		"with a key that is not good where the session is":   with(there, "far"),
		"with a key for a page, of a session without a page": with(here, "page", "Referer", "https://app.example/"),
	})
	w.renews(ref, 200, map[string]http.Header{
		"with another value":             with(there, "after"),
		"from where the key is good":     with("203.0.113.9", "near"),
		"with the value that it has":     with(here, "before"),
		"with another value, once again": with(here, "after"),
	})
	onPage, ofPage := w.session(w.plain+"/x/1", with(here, "before", "Referer", "https://app.example/board"))
	w.renews(ofPage, 404, map[string]http.Header{"from another page": with(here, "page", "Referer", "https://other.example/")})
	w.renews(ofPage, 200, map[string]http.Header{"from its page": with(here, "page", "Referer", "https://app.example/")})
	echoes(t, c, "goes on")
	echoes(t, onPage, "goes on")
}

// TestRenewalWithACookie: a page of the version's origins renews with a cookie; a request
// without an origin, or of another page, does not.
func TestRenewalWithACookie(t *testing.T) {
	w := newWorld(t)
	w.taking("cookie", "cookie:sid")
	w.start()
	w.plane.issue("old", "subscriptions/1", time.Hour)
	w.plane.issue("new", "subscriptions/1", time.Hour)
	const page = "https://app.example"
	with := func(value string, origin ...string) http.Header {
		h := http.Header{"Cookie": {"a=1; sid=" + value}}
		if len(origin) > 0 {
			h["Origin"] = origin
		}
		return h
	}
	c, ref := w.session(w.plain+"/x/cookie", with("old", page))
	w.renews(ref, 404, map[string]http.Header{
		"without an origin": with("new"), "of another page": with("new", "https://evil.example"), "of a page without an origin": with("new", "null"),
		"with a cookie that is none": with("nobody", page), "with a header that is no place": {"X-Token": {"new"}, "Origin": {page}},
	})
	w.renews(ref, 200, map[string]http.Header{"of its page": with("new", page), "by a server, which sends no cookie": bearer("new")})
	w.plane.end(backplanev1.GrantEvent_CAUSE_REVOKED, func(name string, _ *token) bool { return name == "old" })
	w.plane.touch(backplanev1.GrantEvent_CAUSE_REVOKED, "grants/old")
	w.settled()
	echoes(t, c, "after the old cookie")
	w.plane.end(backplanev1.GrantEvent_CAUSE_REVOKED, func(name string, _ *token) bool { return name == "new" })
	w.plane.touch(backplanev1.GrantEvent_CAUSE_REVOKED, "grants/new")
	closes(t, c, 4001, "REVOKED")
}

// TestRenewalNarrows: a session has the scopes of the credential that it was renewed with, also
// where they are fewer, and where they are more again.
func TestRenewalNarrows(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.route("1"))
	scopes := map[string][]string{"wide": {"read", "write"}, "narrow": {"read"}, "none": nil}
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		if g := resp.GetGrant(); g != nil {
			g.Scopes = scopes[req.GetCredential()]
		}
	})
	w.start()
	for token := range scopes {
		w.plane.issue(token, "subscriptions/1", time.Hour)
	}
	c, ref := w.session(w.plain+"/x/1", bearer("wide"))
	for _, token := range []string{"narrow", "none", "wide"} {
		if got := w.renew(ref, bearer(token)); got.status != 200 || strings.Join(got.Scopes, " ") != strings.Join(scopes[token], " ") {
			t.Errorf("renewal with the scopes %q = %v", scopes[token], got)
		}
	}
	echoes(t, c, "goes on")
}

// TestRenewalJudgesDenyRules: a client that a rule keeps out renews nothing, for its address or
// for what the credential is of; the session, which no rule is about, goes on.
func TestRenewalJudgesDenyRules(t *testing.T) {
	w := behindProxy(t)
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		if g := resp.GetGrant(); g != nil && req.GetCredential() == "moved" { // the application has another subscription meanwhile
			g.Subscription = "subscriptions/2"
			g.RestsOn = append(g.GetRestsOn(), g.GetSubscription())
		}
	})
	w.start()
	for _, token := range []string{"old", "new", "moved"} {
		w.plane.issue(token, "subscriptions/1", time.Hour)
	}
	const here, there = "203.0.113.7", "198.51.100.1"
	c, ref := w.session(w.plain+"/x/1", from(here, "old"))
	w.plane.deny("address", &catalogv1.DenyRule{ClientAddress: "198.51.100.0/24"})
	w.plane.deny("subscription", &catalogv1.DenyRule{Subscription: "subscriptions/2"})
	w.settled()
	w.renews(ref, 404, map[string]http.Header{"from an address that is denied": from(there, "new"), "with a subscription that is denied": from(here, "moved")})
	w.renews(ref, 200, map[string]http.Header{"from an address that is not": from("203.0.113.8", "new")})
	w.plane.allow("address")
	w.settled()
	w.renews(ref, 200, map[string]http.Header{"from an address that is not denied any more": from(there, "new")})
	echoes(t, c, "goes on")
}

// TestListsAreForPagesOfTheVersion: what is said about a version and a credential only the pages
// read that it takes.
func TestListsAreForPagesOfTheVersion(t *testing.T) {
	w := newWorld(t)
	r := w.route("1")
	r.AllowedOrigins = []string{"https://app.example"}
	w.plane.put(r)
	w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	for _, tt := range []struct {
		method, path, token, origin string
		status                      int
		page                        string
	}{
		{http.MethodGet, "/x/1", "good", "https://app.example", 200, "https://app.example"},
		{http.MethodGet, "/x/1", "bad", "https://app.example", 401, "https://app.example"},
		{http.MethodOptions, "/x/1", "", "https://app.example", 200, "https://app.example"},
		{http.MethodGet, "/x/1", "good", "https://evil.example", 403, ""},
		{http.MethodGet, "/x/1", "bad", "https://evil.example", 403, ""},
		{http.MethodOptions, "/x/1", "", "https://evil.example", 200, ""},
		{http.MethodGet, "/x/2", "good", "https://app.example", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http"+strings.TrimPrefix(w.plain, "ws")+"/-/sessions?path="+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", tt.origin)
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != tt.status || got != tt.page {
			t.Errorf("%s %s with %q from %s = %d, read by %q, want %d, %q", tt.method, tt.path, tt.token, tt.origin, res.StatusCode, got, tt.status, tt.page)
		}
	}
}

// TestPlainRequestsAtAnyVersion renews and lists sessions of versions whose only place is one that
// no request has but a handshake, or what follows it; and buys tickets where a key is the
// credential.
func TestPlainRequestsAtAnyVersion(t *testing.T) {
	w := newWorld(t)
	w.taking("ticket", "ticket")
	w.taking("subprotocol", "subprotocol")
	w.taking("first", "first-message")
	w.takingKeys("keys", "ticket")
	w.start()
	w.plane.issue("old", "subscriptions/1", time.Hour)
	w.plane.issue("new", "subscriptions/1", time.Hour)
	key := w.plane.issueKey(apikey.Declared()[0].Make(), time.Hour)
	list := func(version string, h http.Header) (refs []string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(w.plain, "ws")+"/-/sessions?path=/x/"+version, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct{ Sessions []struct{ Ref string } }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("the sessions of %s with %v = %d, %v", version, h, res.StatusCode, err)
		}
		for _, s := range answer.Sessions {
			refs = append(refs, s.Ref)
		}
		return refs
	}
	buy := func(version string, h http.Header) string {
		t.Helper()
		status, _, text := w.askTickets(http.MethodPost, url.Values{"path": {"/x/" + version}}, "", "Authorization", h.Get("Authorization"), "apikey", h.Get("Apikey"))
		var b bought
		if err := json.Unmarshal([]byte(text), &b); err != nil || status != http.StatusOK {
			t.Fatalf("a ticket of %s = %d %s", version, status, text)
		}
		return b.Ticket
	}
	keyed := http.Header{"Apikey": {key}}
	for _, tt := range []struct {
		version, query string
		protocols      []string
		first          string
		old, next      http.Header
	}{
		{"ticket", "?ticket=" + buy("ticket", bearer("old")), nil, "", bearer("old"), bearer("new")},
		{"subprotocol", "", []string{"bearer", "old"}, "", bearer("old"), bearer("new")},
		{"first", "", nil, "old", bearer("old"), bearer("new")},
		{"keys", "?ticket=" + buy("keys", keyed), nil, "", keyed, keyed},
	} {
		c, resp, err := websocket.Dial(t.Context(), w.plain+"/x/"+tt.version+tt.query, &websocket.DialOptions{Subprotocols: tt.protocols}) //nolint:bodyclose // the 101 has none
		if err != nil {
			t.Errorf("%s: %v", tt.version, err)
			continue
		}
		if tt.first != "" {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(tt.first)); err != nil {
				t.Fatal(err)
			}
		}
		echoes(t, c, "before")
		ref := resp.Header.Get("X-Tidegate-Ref")
		if got := list(tt.version, tt.old); !slices.Equal(got, []string{ref}) {
			t.Errorf("%s: the sessions of the credential are %q, want %q", tt.version, got, ref)
		}
		w.renews(ref, 404, map[string]http.Header{"with garbage at " + tt.version: bearer("garbage")})
		w.renews(ref, 200, map[string]http.Header{"at " + tt.version: tt.next})
		if got := list(tt.version, tt.next); !slices.Equal(got, []string{ref}) {
			t.Errorf("%s: the sessions of the new credential are %q, want %q", tt.version, got, ref)
		}
		echoes(t, c, "after")
		_ = c.CloseNow()
	}
}
