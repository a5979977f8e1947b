package store_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestAdvertisedAddress(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		deep, unpublished := version("apis/b/versions/v1", "o", true), version("apis/c/versions/v1", "o", false)
		echo := version(v1, "o", true)
		echo.Addresses = []string{"wss://gw.test/cable", "wss://Chat.test/", "wss://chat.test/live", "ws://chat.test:9099/live"}
		unpublished.Addresses = []string{"wss://hidden.test/x"}
		echo.Context, deep.Context, unpublished.Context = "/echo", "/team/chat", "/secret"
		b.catalog(store.CatalogChange{Versions: []store.Version{echo, deep, unpublished}})
		if got, err := b.AdvertisedAddress(t.Context(), "wss://gw.test/echo"); got != "" || err != nil {
			t.Errorf("AdvertisedAddress before a gateway is known = %q, %v, want none", got, err)
		}
		for range 2 {
			ok(t, b.SaveGateways(t.Context(), []string{"ws://gw.test:9099", "wss://GW.test", "wss://other.test/base", "wss://[2001:db8::1]:8099"}))
		}
		for text, want := range map[string]string{
			"ws://gw.test:9099/echo":        "ws://gw.test:9099/echo",
			"ws://gw.test:9099/echo/1.0.0":  "ws://gw.test:9099/echo/1.0.0",
			"WSS://gw.TEST:443/team/chat":   "wss://GW.test/team/chat",
			"wss://gw.test/team/chat/1.0.0": "wss://GW.test/team/chat/1.0.0",
			"wss://other.test/base/echo":    "wss://other.test/base/echo",
			"wss://[2001:DB8::1]:8099/echo": "wss://[2001:db8::1]:8099/echo",
			"wss://gw.test/cable":           "wss://gw.test/cable",
			"wss://chat.test":               "wss://Chat.test/",
			"wss://CHAT.test:443/":          "wss://Chat.test/",
			"wss://chat.test/live":          "wss://chat.test/live",
			"ws://chat.test:9099/live":      "ws://chat.test:9099/live",
			"wss://chat.test/live/":         "",
			"wss://chat.test/echo":          "",
			"wss://chat.test/Live":          "",
			"wss://hidden.test/x":           "",
			"":                              "",
			"wss://gw.test":                 "",
			"wss://gw.test/":                "",
			"wss://gw.test/echo/":           "",
			"wss://gw.test/echo/2.0.0":      "",
			"wss://gw.test/echo/1.0.0/x":    "",
			"wss://gw.test/ECHO":            "",
			"wss://gw.test/ech%6f":          "",
			"wss://gw.test//echo":           "",
			"wss://gw.test/team":            "",
			"wss://gw.test/secret":          "",
			"wss://gw.test/secret/1.0.0":    "",
			"wss://gw.test/echo?a":          "",
			"wss://gw.test/echo?":           "",
			"wss://gw.test/echo#":           "",
			"wss://user@gw.test/echo":       "",
			"wss://gw.test:8099/echo":       "",
			"ws://gw.test/echo":             "",
			"https://gw.test/echo":          "",
			"wss://other.test/echo":         "",
			"wss://other.test/baseecho":     "",
			"wss://else.test/echo":          "",
			"wss:gw.test/echo":              "",
			"/echo":                         "",
			"apis/a/versions/v1":            "",
			"wss://gw.test/' OR 1=1 --":     "",
		} {
			if got, err := b.AdvertisedAddress(t.Context(), text); got != want || err != nil {
				t.Errorf("AdvertisedAddress(%q) = %q, %v, want %q", text, got, err, want)
			}
		}
		echo.Addresses, echo.ChangeNumber = nil, echo.ChangeNumber+1
		b.catalog(store.CatalogChange{Versions: []store.Version{echo}})
		if got, err := b.AdvertisedAddress(t.Context(), "wss://chat.test/live"); got != "" || err != nil {
			t.Errorf("an address that the version has no more = %q, %v, want none", got, err)
		}
	})
}
