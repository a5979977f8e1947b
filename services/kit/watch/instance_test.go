package watch

import (
	"strings"
	"testing"
)

func TestCheckInstance(t *testing.T) {
	long := strings.Repeat("a", maxInstance)
	for name, ok := range map[string]bool{
		"a": true, "web-1": true, "1": true, long: true,
		"": false, "Web": false, "-a": false, "a-": false, "a.b": false, "a\n": false, long + "a": false,
	} {
		if err := CheckInstance(name); (err == nil) != ok {
			t.Errorf("CheckInstance(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestHostInstance(t *testing.T) {
	for _, tt := range []struct{ prefix, host, want string }{
		{"", "web-1", "web-1"},
		{"", "Web_1.Example.COM", "web-1-example-com"},
		{"", "-x-", "x"},
		{"", "", "fallback"},
		{"", "--", "fallback"},
		{"", strings.Repeat("ä", 80), "fallback"},
		{"", strings.Repeat("a", 62) + ".b", strings.Repeat("a", 62)},
		{"subscription-", "web-1", "subscription-web-1"},
		{"subscription-", "", "subscription"},
		{"subscription-", strings.Repeat("a", 80), "subscription-" + strings.Repeat("a", 50)},
	} {
		got := hostInstance(tt.prefix, tt.host, "fallback")
		if got != tt.want || CheckInstance(got) != nil {
			t.Errorf("hostInstance(%q, %q) = %q, want %q", tt.prefix, tt.host, got, tt.want)
		}
	}
}

func TestBeside(t *testing.T) {
	long := strings.Repeat("a", 40) + "-" + strings.Repeat("b", 22)
	for instance, want := range map[string]string{
		"gateway-1":        "gateway-1-users",
		long:               strings.Repeat("a", 34) + "-" + strings.Repeat("b", 22) + "-users",
		"a-" + long[:61]:   strings.Repeat("a", 36) + "-" + strings.Repeat("b", 20) + "-users",
		"aaaaa-" + "-bbbb": "aaaaa--bbbb-users",
	} {
		got := Beside(instance, "users")
		if got != want || CheckInstance(got) != nil {
			t.Errorf("Beside(%q) = %q, want %q", instance, got, want)
		}
	}
}
