package portal_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/portal"
)

// TestCORS lets pages of listed origins in, with preflights and on every kind of
// answer, and no others.
func TestCORS(t *testing.T) {
	s := start(t, func(cfg *portal.Config) {
		if err := cfg.Origins.Set("https://app.example.com"); err != nil {
			t.Fatal(err)
		}
	})
	const ours, others = "https://app.example.com", "https://evil.example.com"
	preflight := []string{"Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization,content-type"}
	tests := []struct {
		method, path, origin string
		headers              []string
		status               int
		allowed              string // Access-Control-Allow-Origin
	}{
		{"OPTIONS", "/v1/apis/a1", ours, preflight, 204, ours},
		{"OPTIONS", "/oauth2/token", ours, preflight, 204, ours},
		{"OPTIONS", "/v1/apis/a1", others, preflight, 405, ""},
		{"OPTIONS", "/v1/apis/a1", "null", preflight, 405, ""},
		{"OPTIONS", "/v1/apis/a1", ours, nil, 405, ours},
		{"OPTIONS", "/v1/apis/a1", "", preflight, 405, ""},
		{"GET", "/v1/apis", ours, nil, 500, ours},
		{"GET", "/v1/nothing", ours, nil, 404, ours},
		{"GET", "/oauth2/jwks", ours, nil, 500, ours},
		{"GET", "/openapi.json", ours, nil, 200, ours},
		{"GET", "/v1/apis", others, nil, 500, ""},
		{"GET", "/v1/apis", "HTTPS://app.example.com", nil, 500, ""},
		{"GET", "/v1/apis", "", nil, 500, ""},
	}
	for _, tt := range tests {
		headers := tt.headers
		if tt.origin != "" {
			headers = append([]string{"Origin", tt.origin}, headers...)
		}
		got := s.do(t, tt.method, tt.path, "", headers...)
		want := map[string]string{"Access-Control-Allow-Origin": tt.allowed, "Vary": "Origin", "Access-Control-Allow-Credentials": ""}
		if tt.status == 204 {
			want["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PATCH, DELETE"
			want["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Traceparent, Tracestate"
			want["Access-Control-Max-Age"] = "600"
		} else if tt.allowed != "" {
			want["Access-Control-Expose-Headers"] = "tidegate-change, WWW-Authenticate, Retry-After"
		}
		if got.status != tt.status {
			t.Errorf("%s %s from %q = %d %s, want %d", tt.method, tt.path, tt.origin, got.status, got.body, tt.status)
		}
		for name, value := range want {
			if have := got.header.Get(name); have != value {
				t.Errorf("%s %s from %q: %s = %q, want %q", tt.method, tt.path, tt.origin, name, have, value)
			}
		}
	}
	two := s.do(t, "GET", "/v1/apis", "", "Origin", ours, "Origin", others)
	if have := two.header.Get("Access-Control-Allow-Origin"); have != "" {
		t.Errorf("GET with two origins allows %q, want none", have)
	}
}
