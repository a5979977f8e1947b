package netpoll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// counter counts what a peer writes.
type counter struct {
	net.Conn
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.Conn.Write(p)
}

// drip is a connection from which, once it is slow, only every other read gives
// something, and that is one byte.
type drip struct {
	net.Conn
	slow, empty bool
	left        int // bytes to come
}

func (d *drip) Read(p []byte) (int, error) {
	if !d.slow {
		return d.Conn.Read(p)
	}
	if d.empty = !d.empty; d.empty || d.left == 0 {
		return 0, errWouldBlock
	}
	d.left--
	return d.Conn.Read(p[:1])
}

// TestTLSOverNonBlocking has TLS records come byte by byte, with a read that finds
// nothing before each: none of these may end the connection, and nothing may be
// lost. crypto/tls does not promise this.
func TestTLSOverNonBlocking(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			broken := func(why any) {
				t.Helper()
				t.Fatalf("crypto/tls of %s does not go on after a read that found a part of a record: %v. All relayed TLS "+
					"rests on that: see underTLS in undertls.go, and do not release with this version of Go", runtime.Version(), why)
			}
			far, near := tcpPair(t)
			sent, under := &counter{Conn: far}, &drip{Conn: near}
			peer := tls.Client(sent, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			server := tls.Server(under, &tls.Config{Certificates: []tls.Certificate{testCert()}, SessionTicketsDisabled: true})
			done := make(chan error, 1)
			go func() { done <- peer.Handshake() }()
			if err := errors.Join(server.Handshake(), <-done); err != nil {
				t.Fatal(err)
			}
			sent.n = 0
			want := bytes.Repeat([]byte("message"), 100)
			for _, part := range [][]byte{want[:1], want[1:20], want[20:]} {
				if _, err := peer.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			under.slow, under.left = true, sent.n
			c := Conn{tls: server, socket: new(socket)}
			var got []byte
			reads := 0
			for buf := make([]byte, 1000); len(got) < len(want); reads++ {
				n, drained, err := c.Read(buf)
				if err != nil {
					broken(err)
				}
				if n == 0 && under.left == 0 {
					broken(fmt.Sprintf("%d of %d bytes came", len(got), len(want)))
				}
				if !drained {
					t.Errorf("a read of %d bytes is not drained", n)
				}
				got = append(got, buf[:n]...)
			}
			if !bytes.Equal(got, want) {
				broken("other bytes came than were sent")
			}
			if reads < sent.n {
				t.Errorf("%d reads for %d bytes, want one that finds nothing for each", reads, sent.n)
			}
			if err := c.Send([]byte("answer")); err != nil {
				broken(err)
			}
			answer := make([]byte, len("answer"))
			if _, err := io.ReadFull(peer, answer); err != nil || string(answer) != "answer" {
				t.Errorf("the peer got %q, %v", answer, err)
			}
		})
	}
}

// TestDetach has a connection given back as it was.
func TestDetach(t *testing.T) {
	far, near := tcpPair(t)
	var c Conn
	if err := c.Attach(near); err != nil {
		t.Fatal(err)
	}
	c.Detach()
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want the connection unharmed", n, err)
	}
}

// TestAttachRefuses has connections that cannot be used without waiting.
func TestAttachRefuses(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	_, near := tcpPair(t)
	for _, conn := range []net.Conn{pipe, tls.Server(near, &tls.Config{}), tls.Server(UnderTLS(pipe), &tls.Config{})} {
		var c Conn
		if err := c.Attach(conn); err == nil {
			t.Errorf("Attach(%T) = nil, want an error", conn)
		}
	}
}
