package upstream

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

func TestAddresses(t *testing.T) {
	type row struct{ open, loopback, strict string } // the kind refused by each policy
	tests := map[string]row{
		"8.8.8.8":                {},
		"2606:4700::1111":        {},
		"64:ff9b::8.8.8.8":       {},
		"127.0.0.1":              {"loopback", "", "loopback"},
		"127.9.9.9":              {"loopback", "", "loopback"},
		"::1":                    {"loopback", "", "loopback"},
		"::ffff:127.0.0.1":       {"loopback", "", "loopback"},
		"64:ff9b::127.0.0.1":     {"loopback", "", "loopback"},
		"64:ff9b:1::169.254.1.1": {"link-local", "link-local", "link-local"},
		"64:ff9b:1::8.8.8.8":     {},
		"::127.0.0.1":            {"loopback", "", "loopback"},
		"2002:7f00:1::":          {"loopback", "", "loopback"},
		"10.1.2.3":               {"", "", "private"},
		"172.16.0.1":             {"", "", "private"},
		"192.168.0.1":            {"", "", "private"},
		"100.64.0.1":             {"", "", "private"},
		"fd00::1":                {"", "", "private"},
		"::ffff:10.0.0.1":        {"", "", "private"},
		"172.32.0.1":             {},
		"100.128.0.1":            {},
		"169.254.169.254":        {"link-local", "link-local", "link-local"},
		"169.254.0.1":            {"link-local", "link-local", "link-local"},
		"::ffff:169.254.169.254": {"link-local", "link-local", "link-local"},
		"64:ff9b::169.254.1.1":   {"link-local", "link-local", "link-local"},
		"2002:a9fe:a9fe::1":      {"link-local", "link-local", "link-local"},
		"::169.254.169.254":      {"link-local", "link-local", "link-local"},
		"fe80::1":                {"link-local", "link-local", "link-local"},
		"fe80::1%eth0":           {"link-local", "link-local", "link-local"},
		"fd00:ec2::254":          {"metadata", "metadata", "metadata"},
		"fd00:ec2::254%eth0":     {"metadata", "metadata", "metadata"},
		"fd00:ec2::23":           {"metadata", "metadata", "metadata"},
		"fd20:ce::254":           {"metadata", "metadata", "metadata"},
		"100.100.100.200":        {"metadata", "metadata", "metadata"},
		"::ffff:100.100.100.200": {"metadata", "metadata", "metadata"},
		"192.0.0.192":            {"metadata", "metadata", "metadata"},
		"168.63.129.16":          {"metadata", "metadata", "metadata"},
		"0.0.0.0":                {"unspecified", "unspecified", "unspecified"},
		"0.1.2.3":                {"unspecified", "unspecified", "unspecified"},
		"::":                     {"unspecified", "unspecified", "unspecified"},
		"::ffff:0.0.0.0":         {"unspecified", "unspecified", "unspecified"},
		"224.0.0.1":              {"multicast", "multicast", "multicast"},
		"255.255.255.255":        {"multicast", "multicast", "multicast"},
		"ff02::1":                {"multicast", "multicast", "multicast"},
	}
	open, loopback := &policy{never: metadata()}, &policy{never: metadata(), loopback: true}
	strict := &policy{never: metadata(), denyPrivate: true}
	for addr, want := range tests {
		for _, c := range []struct {
			name string
			p    *policy
			want string
		}{{"open", open, want.open}, {"loopback", loopback, want.loopback}, {"strict", strict, want.strict}} {
			err := c.p.control(context.Background(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(addr), 80).String(), nil)
			var refused *addressError
			if errors.As(err, &refused); c.want == "" && err != nil || c.want != "" && (refused == nil || refused.Kind != c.want) {
				t.Errorf("%s policy, %s: %v, want %q", c.name, addr, err, c.want)
			}
		}
	}
	if err := open.control(context.Background(), "tcp", "nonsense", nil); err == nil {
		t.Errorf("control(nonsense) = nil, want an error")
	}
}
