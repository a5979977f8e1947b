package api

import "testing"

func TestGoodAddresses(t *testing.T) {
	for _, url := range []string{
		"", "ws://b", "wss://backend.example.com.:443/a/b?c=d&e", "http://my_service:8080/", "https://10.0.0.1",
		"ws://[::1]:65535/x", "ws://[::ffff:10.0.0.1]", "ws://a-b.1.x/%20", "ws://b?x=y@z", "ws://127.0.0.1:1",
	} {
		if err := checkEndpoint(url); err != nil {
			t.Errorf("checkEndpoint(%q) = %v, want nil", url, err)
		}
	}
	for _, origin := range []string{
		"https://example.com", "https://*.example.com", "http://localhost:3000", "http://127.0.0.1:8080",
		"http://[::1]:3000", "https://[2001:db8::1]", "null", "file://", "app://localhost", "app://.", "chrome-extension://abcdefghijklmnop",
		"capacitor://localhost:8080", "vscode-webview://a_b-c",
	} {
		if err := checkOrigin(origin); err != nil {
			t.Errorf("checkOrigin(%q) = %v, want nil", origin, err)
		}
	}
	for _, host := range []string{"", "app.example.com", "APP:8443", "10.0.0.1:80", "[::1]", "[2001:db8::1]:8080"} {
		if err := checkFixedHost(host); err != nil {
			t.Errorf("checkFixedHost(%q) = %v, want nil", host, err)
		}
	}
}
