package upstream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestHeadersAsRuled compares what a backend gets of headers with rules with what its
// client sent: a client's own form of such a header never reaches the backend.
func TestHeadersAsRuled(t *testing.T) {
	rule := func(name, value, from string) routes.HeaderRule {
		return routes.HeaderRule{Name: name, Key: routes.HeaderKey(name), Value: value, From: from}
	}
	var got http.Header
	e := backend(t, func(key string, h *http.Request, _ string) string { got = h.Header; return ok(key, "") })
	for name, tt := range map[string]struct {
		rules  []routes.HeaderRule
		client http.Header
		want   map[string]string // what the backend gets, several values joined with |
	}{
		"without rules": {nil, http.Header{"X-A": {"1", "2"}, "X_a": {"3"}}, map[string]string{"X-A": "1|2", "X_a": "3"}},
		"set":           {[]routes.HeaderRule{rule("X-A", "ours", "")}, nil, map[string]string{"X-A": "ours"}},
		"set, whatever the client sends": {
			[]routes.HeaderRule{rule("X-Own-Key", "ours", "")},
			http.Header{"X-Own-Key": {"1", "2"}, "X_own_key": {"3"}, "X-Own_key": {"4"}, "X-Own": {"5"}},
			map[string]string{"X-Own-Key": "ours", "X-Own": "5"},
		},
		"set in the name of a credential": {[]routes.HeaderRule{rule("Authorization", "Basic b3Vycw==", "")}, http.Header{"Authorization": {"Basic theirs"}}, map[string]string{"Authorization": "Basic b3Vycw=="}},
		"removed":                         {[]routes.HeaderRule{rule("cookie", "", "")}, http.Header{"Cookie": {"a=1"}, "X-A": {"1"}}, map[string]string{"X-A": "1"}},
		"copied":                          {[]routes.HeaderRule{rule("X-Page", "", "Origin")}, http.Header{"Origin": {"https://page"}, "X-Page": {"forged"}}, map[string]string{"X-Page": "https://page", "Origin": "https://page"}},
		"copied, several":                 {[]routes.HeaderRule{rule("X-B", "", "X-A")}, http.Header{"X-A": {"1", "2"}}, map[string]string{"X-A": "1|2", "X-B": "1|2"}},
		"copied, none":                    {[]routes.HeaderRule{rule("X-B", "", "X-A")}, http.Header{"X-B": {"forged"}}, map[string]string{}},
		"renamed":                         {[]routes.HeaderRule{rule("X-B", "", "X-A"), rule("X-A", "", "")}, http.Header{"X-A": {"1"}}, map[string]string{"X-B": "1"}},
		"exchanged":                       {[]routes.HeaderRule{rule("X-B", "", "X-A"), rule("X-A", "", "X-B")}, http.Header{"X-A": {"1"}, "X-B": {"2"}}, map[string]string{"X-A": "2", "X-B": "1"}},
		"copied, for this connection only": {
			[]routes.HeaderRule{rule("X-B", "", "X-A")}, http.Header{"X-A": {"1"}, "Connection": {"Upgrade, X-A"}}, map[string]string{},
		},
	} {
		b, err := dialer(t, Default()).Dial(t.Context(), &Request{
			Endpoint: e, Backends: routes.Backends{Headers: tt.rules}, Header: tt.client, Way: wayOf("192.0.2.1:7"), Host: "h",
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = b.Conn.Close()
		has := map[string]string{}
		for header, values := range got {
			switch header {
			case "Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded":
				continue
			}
			has[header] = strings.Join(values, "|")
		}
		if diff := cmp.Diff(tt.want, has); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
