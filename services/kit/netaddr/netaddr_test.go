package netaddr_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

func TestCheckDialable(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9293": "", "[fe80::1]:80": "", "gateway-1:9293": "",
		"gateway-1": `"gateway-1" is not host:port`, ":9293": ":9293 is every interface, not one host",
		"0.0.0.0:9293": "0.0.0.0:9293 is every interface, not one host", "[::]:9293": "[::]:9293 is every interface, not one host",
		"localhost:0": "localhost:0 has no port", "localhost:": "localhost: has no port",
	} {
		got := ""
		if err := netaddr.CheckDialable(addr); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckDialable(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9091": "", ":0": "", "[::1]:80": "", "example.com:https": "",
		"": `"" is not host:port`, "9091": `"9091" is not host:port`, "localhost": `"localhost" is not host:port`, "::1:80": `"::1:80" is not host:port`,
	} {
		got := ""
		if err := netaddr.Check(addr); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Check(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"localhost:1": true, "127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.com:1": false, "localhost": false, "": false,
	} {
		if got := netaddr.IsLoopback(addr); got != want {
			t.Errorf("IsLoopback(%q) = %v, want %v", addr, got, want)
		}
	}
}

func TestListen(t *testing.T) {
	if lis, err := netaddr.Listen(t.Context(), nil, "-x", ""); lis != nil || err != nil {
		t.Errorf("Listen on nothing = %v, %v, want nil", lis, err)
	}
	lis, err := netaddr.Listen(t.Context(), nil, "-x", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if same, err := netaddr.Listen(t.Context(), lis, "-x", "x"); same != lis || err != nil {
		t.Errorf("Listen with a listener = %v, %v, want the same", same, err)
	}
	for addr, want := range map[string]string{
		lis.Addr().String(): "-x: " + lis.Addr().String() + " is taken by another program; give another",
		"192.0.2.1:0":       "-x: 192.0.2.1:0 is not an address of this machine",
	} {
		if _, err := netaddr.Listen(t.Context(), nil, "-x", addr); err == nil || err.Error() != want {
			t.Errorf("Listen on %s = %v, want %q", addr, err, want)
		}
	}
}

func TestHost(t *testing.T) {
	for addr, want := range map[string]string{
		"a.example": "a.example", "a.example:80": "a.example", "127.0.0.1:80": "127.0.0.1", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "": "", ":80": "",
	} {
		if got := netaddr.Host(addr); got != want {
			t.Errorf("Host(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"192.0.2.1/32":         "192.0.2.1",
		"192.0.2.0/24":         "192.0.2.0/24",
		"0.0.0.0/0":            "0.0.0.0/0",
		"2001:DB8:0::1":        "2001:db8::1",
		"2001:db8::/48":        "2001:db8::/48",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"::ffff:192.0.2.0/120": "192.0.2.0/24",
		"::ffff:0:0/96":        "0.0.0.0/0",
	} {
		network, err := netaddr.ParseNetwork(text)
		if got := netaddr.NetworkText(network); err != nil || got != want {
			t.Errorf("ParseNetwork(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                     `"" is not a network such as 10.0.0.0/8`,
		"localhost":            `"localhost" is not a network such as 10.0.0.0/8`,
		" 192.0.2.1":           `" 192.0.2.1" is not a network such as 10.0.0.0/8`,
		"192.0.2.1:80":         `"192.0.2.1:80" is not a network such as 10.0.0.0/8`,
		"192.0.2.0/33":         `"192.0.2.0/33" is not a network such as 10.0.0.0/8`,
		"fe80::1%eth0":         `"fe80::1%eth0" is not a network such as 10.0.0.0/8`,
		"::ffff:0:0/95":        `"::ffff:0:0/95" is not a network such as 10.0.0.0/8`,
		"192.0.2.1/24":         `"192.0.2.1/24" has bits beyond its length: 192.0.2.0/24 is meant`,
		"2001:db8::1/48":       `"2001:db8::1/48" has bits beyond its length: 2001:db8::/48 is meant`,
		"::ffff:192.0.2.1/120": `"::ffff:192.0.2.1/120" has bits beyond its length: 192.0.2.0/24 is meant`,
	} {
		if network, err := netaddr.ParseNetwork(text); err == nil || err.Error() != want {
			t.Errorf("ParseNetwork(%q) = %v, %v, want the error %s", text, network, err, want)
		}
	}
}
