package hostname_test

import (
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

func TestCheck(t *testing.T) {
	label := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"chat.example.com": true, "chat": true, "*.example.com": true, "*.x": true, "1.example": true, "xn--bcher-kva.example": true,
		"a-b.c": true, label + ".x": true, label + "." + label + "." + label + "." + label[:61]: true,

		"": false, ".": false, "chat.": false, ".chat": false, "a..b": false, "*": false, "*.": false, "*.*.x": false, "a.*.x": false, "x*.y": false,
		"Chat.example": false, "chat.example:443": false, "127.0.0.1": false, "1": false, "a.1": false, "[::1]": false, "::1": false,
		"-a.b": false, "a-.b": false, "a_b.c": false, "bücher.example": false, "a b": false, "a/b": false,
		label + "a.x": false, label + "." + label + "." + label + "." + label[:62]: false,
	} {
		if err := hostname.Check(name); (err == nil) != want {
			t.Errorf("Check(%q) = %v, want it good: %v", name, err, want)
		}
	}
}

func TestOf(t *testing.T) {
	for host, want := range map[string]string{
		"chat.example.com": "chat.example.com", "Chat.EXAMPLE.com:443": "chat.example.com", "chat.example.com.": "chat.example.com",
		"chat.example.com.:8099": "chat.example.com", "chat.example.com:": "chat.example.com", "[::1]:8099": "[::1]", "": "",
		"chat.example.com..": "chat.example.com.", "chat.example.com:x": "chat.example.com:x", "chat.example.com:80:80": "chat.example.com:80",
		"%63hat.example.com": "%63hat.example.com",
	} {
		if got := hostname.Of(host); got != want {
			t.Errorf("Of(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"chat.example.com", "chat.example.com", true},
		{"*.example.com", "chat.example.com", true},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "a.chat.example.com", false},
		{"*.example.com", "example.com", false},
		{"chat.example.com", "*.example.com", false},
		{"*.com", "*.example.com", false},
	} {
		if got := hostname.Covers(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}
