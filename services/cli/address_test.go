package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestAddressOf: clients are led to the address that is surely the version's alone.
func TestAddressOf(t *testing.T) {
	v := &catalogv1.Version{
		Addresses:        []string{"ws://gw/a/1", "wss://chat.example/"},
		FurtherAddresses: []*catalogv1.FurtherAddress{{Host: "chat.example", Addresses: []string{"wss://chat.example/"}}},
	}
	if got := addressOf(v); got != "ws://gw/a/1" {
		t.Errorf("addressOf = %q, want that of the context", got)
	}
	if v.Addresses = v.Addresses[1:]; addressOf(v) != "wss://chat.example/" {
		t.Errorf("addressOf = %q, want the only one", addressOf(v))
	}
}

func TestAddresses(t *testing.T) {
	const socket, http = catalogv1.FurtherAddress_SERVES_SOCKET, catalogv1.FurtherAddress_SERVES_HTTP
	for text, want := range map[string]*catalogv1.FurtherAddress{
		"/app/socket":                   {Prefix: "/app/socket"},
		"/cable,socket,keep":            {Prefix: "/cable", Serves: socket, KeepPrefix: true},
		"chat.example.com":              {Host: "chat.example.com"},
		"chat.example.com/a/b,keep":     {Host: "chat.example.com", Prefix: "/a/b", KeepPrefix: true},
		"*.apps.example.com/a/b,http":   {Host: "*.apps.example.com", Prefix: "/a/b", Serves: http},
		"chat.example.com/nandbox/api/": {Host: "chat.example.com", Prefix: "/nandbox/api/"}, // which the catalog refuses
	} {
		got, err := parseAddress(text)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("parseAddress(%q) = %v (-want +got):\n%s", text, err, diff)
		}
		if again := addressText(got); again != text {
			t.Errorf("addressText of %q = %q", text, again)
		}
	}
	if got, err := parseAddress("chat.example.com/,keep,http"); err != nil || addressText(got) != "chat.example.com,http,keep" {
		t.Errorf("the whole of a host with a slash = %v, %v", got, err)
	}
	for text, want := range map[string]string{
		"wss://chat.example.com/a": `--address: "wss://chat.example.com/a" must be without a scheme and a port, as chat.example.com/app: how a host is reached is the installation's`,
		"/a,kept":                  `--address: "/a,kept" must have socket, http or keep behind a comma, not "kept"`,
	} {
		if _, err := parseAddress(text); err == nil || err.Error() != want {
			t.Errorf("parseAddress(%q) = %v, want %s", text, err, want)
		}
	}
}
