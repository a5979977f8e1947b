package upstream

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// onThisMachine returns an address of this machine, one that is not on loopback if it
// has such.
func onThisMachine(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLoopback() && !prefix.Addr().IsLinkLocalUnicast() {
			return prefix.Addr()
		}
	}
	return netip.MustParseAddr("127.0.0.3")
}

func tcp(address string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)) }

// TestOwnPortsAreNeverDialled dials ports of the process's listeners in every way that
// leads to this machine, though loopback is allowed.
func TestOwnPortsAreNeverDialled(t *testing.T) {
	cfg := Default()
	cfg.AllowLoopback = true
	cfg.Own = []net.Addr{tcp("127.0.0.1:9443"), tcp("[::]:9099"), nil, &net.UnixAddr{Name: "x", Net: "unix"}}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Own(tcp("0.0.0.0:9293"))
	machine := onThisMachine(t)
	for target, want := range map[string]string{
		"127.0.0.1:9443": "own", "127.0.0.1:9099": "own", "127.0.0.1:9293": "own", "127.9.9.9:9099": "own",
		"[::1]:9443": "own", "[::1]:9099": "own", "[::ffff:127.0.0.1]:9443": "own", "[::127.0.0.1]:9443": "own",
		"[64:ff9b::127.0.0.1]:9443": "own", "[2002:7f00:1::]:9443": "own",
		netip.AddrPortFrom(machine, 9099).String(): "own", netip.AddrPortFrom(machine, 9443).String(): "own",
		netip.AddrPortFrom(machine, 9098).String(): "", "127.0.0.1:9098": "", "[::1]:9098": "", "8.8.8.8:9443": "",
	} {
		err := d.policy.control(t.Context(), "tcp", target, nil)
		var refused *addressError
		if errors.As(err, &refused); want == "" && err != nil || want != "" && (refused == nil || refused.Kind != want) {
			t.Errorf("control(%s) = %v, want %q", target, err, want)
		}
	}
}

// TestSampleIsReachedWhateverTheFlagsSay dials the sample's backend, and what is beside
// it, where loopback and private addresses are not allowed.
func TestSampleIsReachedWhateverTheFlagsSay(t *testing.T) {
	machine := onThisMachine(t)
	for _, tt := range []struct {
		sample string
		open   []string
		closed []string
	}{
		{"127.0.0.1:9098", []string{"127.0.0.1:9098", "[::ffff:127.0.0.1]:9098"}, []string{"127.0.0.1:9097", "[::1]:9098", "127.0.0.2:9098"}},
		{"[::1]:9098", []string{"[::1]:9098"}, []string{"127.0.0.1:9098"}},
		{"[::]:9098", []string{"[::1]:9098", "127.0.0.1:9098", netip.AddrPortFrom(machine, 9098).String()}, []string{"[::1]:9097", "10.255.255.254:9098"}},
	} {
		cfg := Default()
		cfg.DenyPrivate, cfg.Sample = true, tcp(tt.sample)
		d, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range tt.open {
			if err := d.policy.control(t.Context(), "tcp", target, nil); err != nil {
				t.Errorf("with the sample at %s, control(%s) = %v, want nil", tt.sample, target, err)
			}
		}
		for _, target := range tt.closed {
			if err := d.policy.control(t.Context(), "tcp", target, nil); err == nil {
				t.Errorf("with the sample at %s, control(%s) = nil, want a refusal", tt.sample, target)
			}
		}
	}
}
