package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// names are the addresses of names, as a name server says that a publisher has.
type names map[string][]string

// resolver returns one that asks these names alone.
func (n names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		serving.Go(func() { n.serve(server) })
		return client, nil
	}}
}

// serve answers the questions on one connection (RFC 1035 section 4.2.2).
func (n names) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		answer := n.answer(question)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer returns the records of the type that is asked for.
func (n names) answer(message []byte) []byte {
	const header, a, aaaa = 12, 1, 28
	var labels []string
	at := header
	for message[at] != 0 {
		size := int(message[at])
		labels = append(labels, string(message[at+1:at+1+size]))
		at += 1 + size
	}
	at++ // the root
	kind := binary.BigEndian.Uint16(message[at:])
	question := message[header : at+4]
	var records []byte
	count := uint16(0)
	for _, text := range n[strings.ToLower(strings.Join(labels, "."))] {
		ip := netip.MustParseAddr(text)
		if ip.Is4() != (kind == a) || kind != a && kind != aaaa {
			continue
		}
		count++
		records = append(records, 0xc0, header) // the name stands in the question
		records = binary.BigEndian.AppendUint16(records, kind)
		records = append(records, 0, 1, 0, 0, 0, 60) // of the internet, for a minute
		records = binary.BigEndian.AppendUint16(records, uint16(len(ip.AsSlice())))
		records = append(records, ip.AsSlice()...)
	}
	reply := append([]byte{message[0], message[1], 0x81, 0x80, 0, 1}, byte(count>>8), byte(count), 0, 0, 0, 0)
	return append(append(reply, question...), records...)
}

// TestNamesAndNumbersThatLeadInside gives a version endpoints that lead to addresses
// which must not be dialled: by numbers that some resolvers read as addresses, by
// addresses within addresses, and by names that a publisher's own name server answers.
func TestNamesAndNumbersThatLeadInside(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	resolver := names{
		"2130706433":         {"127.0.0.1"}, // as some resolvers read numbers
		"017700000001":       {"127.0.0.1"},
		"0x7f000001":         {"127.0.0.1"},
		"127.1":              {"127.0.0.1"},
		"0177.0.0.1":         {"127.0.0.1"},
		"0x7f.0.0.1":         {"127.0.0.1"},
		"127.0.0.01":         {"127.0.0.1"},
		"0":                  {"0.0.0.0"},
		"localhost.example":  {"127.0.0.1"},
		"mapped.example":     {"::ffff:127.0.0.1"},
		"loopback6.example":  {"::1"},
		"many.example":       {"127.0.0.1", "127.0.0.2", "::1", "169.254.169.254"},
		"metadata.example":   {"169.254.169.254"},
		"metadata6.example":  {"fd00:ec2::254"},
		"nat64.example":      {"64:ff9b::7f00:1"},
		"sixtofour.example":  {"2002:7f00:1::1"},
		"compatible.example": {"::127.0.0.1"},
		"translated.example": {"::ffff:0:127.0.0.1"},
	}.resolver(t)
	for _, host := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::1]", "[::ffff:0:127.0.0.1]",
		"169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16",
		"2130706433", "017700000001", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.01",
		"localhost.example", "mapped.example", "loopback6.example", "many.example", "metadata.example", "metadata6.example",
		"nat64.example", "sixtofour.example", "compatible.example", "translated.example", "LOCALHOST.EXAMPLE.",
	} {
		d, err := New(Default())
		if err != nil {
			t.Fatal(err)
		}
		d.net.Resolver = resolver
		_, err = d.Dial(t.Context(), &Request{Endpoint: endpoint(t, "ws://"+host+":"+port), Host: "h"})
		var got *Error
		var unknown *net.DNSError
		if number := strings.Trim(host, "0123456789.") == ""; number && errors.As(err, &unknown) {
			continue
		}
		if !errors.As(err, &got) || got.Kind != Forbidden {
			t.Errorf("Dial(%s) = %v, want it forbidden, or for a number to be no name", host, err)
		}
	}
}

// TestNameWithAddressesOfBothKinds: of the addresses of a name those are dialled that
// may be.
func TestNameWithAddressesOfBothKinds(t *testing.T) {
	e := backend(t, func(key string, _ *http.Request, _ string) string { return ok(key, "") })
	d := dialer(t, Default())
	d.net.Resolver = names{"both.example": {"169.254.169.254", "127.0.0.1"}}.resolver(t)
	_, port, _ := net.SplitHostPort(e.Addr)
	b, err := d.Dial(t.Context(), &Request{Endpoint: endpoint(t, "ws://both.example:"+port), Host: "h"})
	if err != nil {
		t.Fatalf("Dial = %v, want the address that is allowed", err)
	}
	_ = b.Conn.Close()
}
