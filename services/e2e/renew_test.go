package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// connectForRef opens a session, and returns the ref that the 101 has.
func (s *Stack) connectForRef(t *testing.T, url, token string) (*websocket.Conn, string) {
	t.Helper()
	//nolint:bodyclose // the 101 has none
	conn, res, err := websocket.Dial(within(t), url, &websocket.DialOptions{
		HTTPClient: s.http(t), HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, res.Header.Get("X-Tidegate-Ref")
}

// own calls an endpoint of the gateway's own, and returns the status, the header and the body.
func (s *Stack) own(t *testing.T, method, path, token string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), method, "http"+strings.TrimPrefix(s.WS, "ws")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.http(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

// refsOf lists the sessions of a token.
func (s *Stack) refsOf(t *testing.T, path, token string) (refs []string) {
	t.Helper()
	status, _, body := s.own(t, http.MethodGet, "/-/sessions?path="+path, token)
	var list struct {
		Sessions       []struct{ Ref, Gateway, StartTime, ExpireTime string }
		SilentGateways []string
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK || len(list.SilentGateways) > 0 {
		t.Fatalf("GET /-/sessions = %d %s, want a list", status, body)
	}
	for _, live := range list.Sessions {
		if live.Gateway == "" || live.StartTime == "" || live.ExpireTime == "" {
			t.Errorf("a session lacks something: %s", body)
		}
		refs = append(refs, live.Ref)
	}
	return refs
}

// TestRenewal gives a live session another token from outside: the socket stays, the session
// outlives the old token, and ends with the new one.
func TestRenewal(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Renewal", newBackend(t))
		old, next := p.accessToken(t, x), p.accessToken(t, x)
		conn, ref := s.connectForRef(t, s.WS+x.path, old)
		echo(t, conn, websocket.MessageText, "before")
		if refs := s.refsOf(t, x.path, old); len(refs) != 1 || refs[0] != ref {
			t.Errorf("the sessions of the token are %q, want %q", refs, ref)
		}
		status, header, body := s.own(t, http.MethodPost, "/-/sessions/"+ref+"/credential", next, "Origin", "https://app.example.com")
		var answer struct {
			Ref, ExpireTime string
			Scopes          []string
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Ref != ref || answer.ExpireTime == "" || len(answer.Scopes) != 1 {
			t.Fatalf("renewal = %d %s, want what the session has now", status, body)
		}
		if header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("the answer's header is %v", header)
		}
		if refs := s.refsOf(t, x.path, old); len(refs) != 0 {
			t.Errorf("the sessions of the old token are %q, want none", refs)
		}
		if refs := s.refsOf(t, x.path, next); len(refs) != 1 || refs[0] != ref {
			t.Errorf("the sessions of the new token are %q, want %q", refs, ref)
		}
		live := p.liveSessions(t, x)[0]
		if live.GetRenewals() != 1 || live.GetRenewTime() == nil {
			t.Errorf("the session is %v, want that it says that it was renewed", live)
		}
		if resp, err := p.revocations.Revoke(p.ctx(t), &subscriptionv1.RevokeRequest{Token: old}); err != nil || resp.GetClosedSessions() != 0 || len(resp.GetSilentGateways()) > 0 {
			t.Errorf("Revoke(the old token) = %v, %v, want no session closed", resp, err)
		}
		if got := s.refused(t, s.WS+x.path, old); got != http.StatusUnauthorized {
			t.Errorf("the old token is answered %d, want 401: it is revoked", got)
		}
		echo(t, conn, websocket.MessageText, "after the old token")
		resp, err := p.revocations.Revoke(p.ctx(t), &subscriptionv1.RevokeRequest{Token: next})
		if err != nil || resp.GetClosedSessions() != 1 {
			t.Errorf("Revoke = %v, %v, want the renewed session closed", resp, err)
		}
		if code, reason := closed(t, conn); code != 4001 || reason != "REVOKED ref="+ref {
			t.Errorf("closed with %d %q, want 4001 REVOKED ref=%s", code, reason, ref)
		}
		record := p.record(t, ref)
		if record.GetRenewals() != 1 || !record.GetRenewTime().AsTime().Equal(live.GetRenewTime().AsTime()) {
			t.Errorf("the record is %v, want that it says when the session was renewed, as the session did: %v", record, live.GetRenewTime())
		}
	})
}

// TestRenewalRefused shows that a ref is no authority: whatever is wrong has one answer, and
// the session goes on with what it has.
func TestRenewalRefused(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	backend := newBackend(t)
	x, y := p.publish(t, "Mine", backend), p.publish(t, "Other", backend)
	token, others := p.accessToken(t, x), p.accessToken(t, y)
	revoked := p.accessToken(t, x)
	if _, err := p.revocations.Revoke(p.ctx(t), &subscriptionv1.RevokeRequest{Token: revoked}); err != nil {
		t.Fatal(err)
	}
	conn, ref := s.connectForRef(t, s.WS+x.path, token)
	ended, gone := s.connectForRef(t, s.WS+x.path, token)
	_ = ended.Close(websocket.StatusNormalClosure, "")
	eventually(t, func() error {
		if n := len(p.liveSessions(t, x)); n != 1 {
			return fmt.Errorf("%d sessions are live", n)
		}
		return nil
	})
	var same string
	for _, tt := range []struct {
		name, ref, token string
		header           []string
	}{
		{"no credential", ref, "", nil},
		{"garbage", ref, "garbage", nil},
		{"a user's token", ref, p.token, nil},
		{"a token of another application", ref, others, nil},
		{"a revoked token", ref, revoked, nil},
		{"a token at a place that the version does not list", ref, "", []string{"X-Api-Key", token}},
		{"a session that has ended", gone, token, nil},
		{"another ref of this gateway", ref[:8] + "0123456789ab", token, nil},
		{"a ref of no gateway", ref[:4] + "zzzz" + ref[8:], token, nil},
		{"a ref without a gateway", ref[:4] + "0000" + ref[8:], token, nil},
		{"a short ref", ref[:16], token, nil},
		{"no ref at all", "x", token, nil},
	} {
		status, _, body := s.own(t, http.MethodPost, "/-/sessions/"+tt.ref+"/credential", tt.token, tt.header...)
		if same == "" {
			same = body
		}
		if status != http.StatusNotFound || body != same {
			t.Errorf("%s: %d %s, want 404 %s", tt.name, status, body, same)
		}
	}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/-/sessions/" + ref + "/credential", 405},
		{http.MethodPost, "/-/sessions?path=" + x.path, 405},
		{http.MethodOptions, "/-/sessions/" + ref + "/credential", 200},
		{http.MethodGet, "/-/sessions", 400},
		{http.MethodGet, "/-/sessions?path=/nowhere/1", 404},
		{http.MethodGet, "/-/sessions/" + ref, 404},
	} {
		if status, _, body := s.own(t, tt.method, tt.path, token); status != tt.status {
			t.Errorf("%s %s = %d %s, want %d", tt.method, tt.path, status, body, tt.status)
		}
	}
	if status, _, body := s.own(t, http.MethodGet, "/-/sessions?path="+x.path, ""); status != http.StatusUnauthorized {
		t.Errorf("a list without a credential = %d %s, want 401", status, body)
	}
	echo(t, conn, websocket.MessageText, "still here")
	if live := p.liveSessions(t, x); len(live) != 1 || live[0].GetRenewals() != 0 {
		t.Errorf("the live sessions are %v, want the one, never renewed", live)
	}
}
