package console

import (
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestGatewayOf: the portal goes where it is sure to find a gateway, and to a virtual host
// only where there is nothing else.
func TestGatewayOf(t *testing.T) {
	const here, far, secure, shared, virtual = "ws://localhost:9099/a/1", "ws://gw.example/a/1", "wss://gw.example/a/1", "wss://gw.example/cable", "wss://chat.example/"
	further := []*catalogv1.FurtherAddress{{Prefix: "/cable", Addresses: []string{shared}}, {Host: "chat.example", Addresses: []string{virtual}}}
	for want, addresses := range map[string][]string{
		"":      nil,
		here:    {far, secure, here, virtual},
		secure:  {far, secure, shared, virtual},
		far:     {far, virtual},
		virtual: {virtual},
	} {
		if got := gatewayOf(&catalogv1.Version{Addresses: addresses, FurtherAddresses: further}); got != want {
			t.Errorf("gatewayOf(%q) = %q, want %q", addresses, got, want)
		}
	}
}
