package cli

import (
	"net/http"
	"net/url"
	"testing"
)

// TestShow has a token at each place that --place can name.
func TestShow(t *testing.T) {
	for _, tt := range []struct {
		place                               string
		query                               bool
		rawQuery, name, value, first, offer string
	}{
		{"", false, "a=1", "Authorization", "Bearer t+k", "", "mqtt"},
		{"", true, "a=1&access_token=t%2Bk", "", "", "", "mqtt"},
		{"header:Authorization:raw", false, "a=1", "Authorization", "t+k", "", "mqtt"},
		{"header:X-Token", false, "a=1", "X-Token", "t+k", "", "mqtt"},
		{"query:auth:base64", false, "a=1&auth=dCtr", "", "", "", "mqtt"},
		{"cookie:sid", false, "a=1", "Cookie", "b=2; sid=t+k", "", "mqtt"},
		{"subprotocol", false, "a=1", "", "", "", "mqtt,bearer,t+k"},
		{"first-message", false, "a=1", "", "", "t+k", "mqtt"},
		{"first-message,at=/t,if=/m=x", false, "a=1", "", "", `{"m":"x","t":"t+k"}`, "mqtt"},
	} {
		c := &connectCmd{Place: tt.place, Query: tt.query, Protocol: "mqtt"}
		target, header := &url.URL{RawQuery: "a=1"}, http.Header{"Cookie": {"b=2"}}
		first, err := c.show("t+k", "", target, header)
		if err != nil || first != tt.first || target.RawQuery != tt.rawQuery || tt.name != "" && header.Get(tt.name) != tt.value || c.Protocol != tt.offer {
			t.Errorf("%q: %q, %v; query %q, header %v, sub-protocols %q", tt.place, first, err, target.RawQuery, header, c.Protocol)
		}
	}
	for query, want := range map[bool]string{false: "/k", true: "apikey=k/"} {
		target, header := &url.URL{}, http.Header{}
		if _, err := (&connectCmd{Query: query}).show("", "k", target, header); err != nil || target.RawQuery+"/"+header.Get("apikey") != want {
			t.Errorf("an API key: %v, %q, %v", err, target.RawQuery, header)
		}
	}
}
