package gateway

import (
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"testing"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// Of try-out tokens.
const (
	tryOutApplication = "applications/try-out"
	signIn            = "users/sue/signIns/1"
)

// tryOutToken has the form of a try-out token of a version. Only the plane knows whether it
// is good.
func tryOutToken(version, signature string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"ES256"}`)) + "." + part(fmt.Appendf(nil, `{"tidegate_try_out":%q}`, version)) + "." + part([]byte(signature))
}

// issueTryOut makes a good one.
func (p *plane) issueTryOut(version string) string {
	name := tryOutToken(version, "good")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[name] = &token{application: tryOutApplication, expires: time.Now().Add(time.Hour)}
	return name
}

// removeVersion removes a version.
func (p *plane) removeVersion(name string) {
	p.routes.commit(func(at *backplanev1.Position) *backplanev1.WatchRoutesResponse {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.versions, name)
		return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: at, Event: &backplanev1.RouteEvent{RemovedRoutes: []string{name}},
		}}}
	})
}

var varies = regexp.MustCompile(`"ref":"[^"]+"|\r\nDate: [^\r]+|\r\nTidegate-Ref: [^\r]+`)

// TestAHiddenVersionIsNone: what is not published is answered as a path that leads to nothing
// is, to the byte, whatever the credential but a good try-out token of it; and the control
// plane is asked only about a credential that knows the version's name.
func TestAHiddenVersionIsNone(t *testing.T) {
	w := newWorld(t)
	hidden, other, open := w.route("9"), w.route("8"), w.open()
	hidden.State, other.State, open.State = catalogv1.Version_STATE_CREATED, catalogv1.Version_STATE_CREATED, catalogv1.Version_STATE_CREATED
	for _, r := range []*backplanev1.Route{hidden, other, open} {
		w.plane.put(r)
	}
	w.plane.issue("good", "subscriptions/1", time.Hour)
	of8 := w.plane.issueTryOut(other.GetName())
	w.start()
	answer := func(path, token string, query bool) string {
		more := ""
		switch {
		case token != "" && query:
			path += "?access_token=" + token
		case token != "":
			more = "Authorization: Bearer " + token + "\r\n"
		}
		all, err := io.ReadAll(w.sends(headOf(path, more)))
		if err != nil {
			t.Fatal(err)
		}
		return varies.ReplaceAllString(string(all), "")
	}
	want := answer("/x/7", "", false)
	for what, token := range map[string]string{
		"none": "", "ordinary": "good", "unknown": "nonsense", "of another version": of8,
		"a user's": w.plane.signer.Token("sue"), "forged": tryOutToken(hidden.GetName(), "forged"),
	} {
		for _, path := range []string{"/x/9", "/x/open", "/x/9/below", "/x/7", "/nowhere"} {
			for _, query := range []bool{false, true} {
				before := w.plane.asked()
				if got := answer(path, token, query); got != want {
					t.Errorf("%s with the credential %s is answered\n%s\nwant\n%s", path, what, got, want)
				}
				if asked := w.plane.asked() != before; asked && what != "forged" {
					t.Errorf("%s with the credential %s: the control plane was asked", path, what)
				}
			}
		}
	}
	w.plane.away()
	if got := answer("/x/8", of8, false); got != want {
		t.Errorf("while the control plane is away, a try-out token is answered\n%s\nwant\n%s", got, want)
	}
}

// is matches the token of a name.
func is(want string) func(string, *token) bool {
	return func(name string, _ *token) bool { return name == want }
}

// asked returns how often a credential was verified.
func (p *plane) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verified
}

// TestTryOut: a try-out token leads to a version that is not published, whatever its scheme.
// Its session is marked, outlives changes and transitions of the version, and ends with the
// sign-in or the version.
func TestTryOut(t *testing.T) {
	w := newWorld(t)
	created := func(r *backplanev1.Route) *backplanev1.Route {
		r.State = catalogv1.Version_STATE_CREATED
		return r
	}
	hidden, open := w.route("9"), w.open()
	w.plane.put(created(hidden))
	w.plane.put(created(open))
	token, ofOpen := w.plane.issueTryOut(hidden.GetName()), w.plane.issueTryOut(open.GetName())
	w.plane.issue("good", "subscriptions/1", time.Hour)
	w.start()
	tried, triedOpen := w.connect("9", token), w.connect("open", ofOpen)
	echoes(t, tried, "not published")
	echoes(t, triedOpen, "not published, and without a credential")
	api, ctx := w.sessions()
	list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1", Filter: `application = "applications/try-out"`})
	if err != nil || len(list.GetSessions()) != 2 || list.GetSessions()[0].GetUser() != "users/sue" {
		t.Errorf("sessions of applications/try-out = %v, %v, want both", list, err)
	}

	hidden.State, open.State = catalogv1.Version_STATE_PUBLISHED, catalogv1.Version_STATE_PUBLISHED
	w.plane.put(hidden)
	w.plane.put(open)
	w.settled()
	ordinary, anybody, again := w.connect("9", "good"), w.connect("open", ""), w.connect("open", ofOpen)
	w.plane.put(created(hidden))
	w.plane.put(created(open))
	closes(t, ordinary, 4006, "BLOCKED")
	closes(t, anybody, 4006, "BLOCKED")
	hidden.MaxMessageBytes = 1 << 16
	w.plane.put(hidden)
	w.settled()
	echoes(t, tried, "demoted and changed")
	echoes(t, again, "demoted")

	w.plane.removeVersion(open.GetName())
	closes(t, triedOpen, 4006, "BLOCKED")
	closes(t, again, 4006, "BLOCKED")
	// Read again, the grant is the same.
	w.plane.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, hidden.GetName())
	w.settled()
	echoes(t, tried, "still the owner")
	w.plane.end(backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED, is(token))
	w.plane.touch(backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED, signIn)
	closes(t, tried, 4001, "REVOKED")
	w.refused("9", token, 404)
}
