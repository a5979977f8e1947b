package netpoll

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// TestTLSInTLS relays both ways over TLS that is inside of TLS, in pieces that do not fit
// into the records of either.
func TestTLSInTLS(t *testing.T) {
	far, near := tcpPair(t)
	client := func(conn net.Conn) *tls.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) }
	server := func(conn net.Conn) *tls.Conn {
		return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{testCert()}})
	}
	proxy := server(far)
	outer := client(UnderTLS(near))
	done := make(chan error, 1)
	go func() { done <- proxy.Handshake() }()
	if err := errors.Join(outer.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	backend := server(proxy)
	inner := client(UnderTLS(outer))
	go func() { done <- backend.Handshake() }()
	if err := errors.Join(inner.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	if err := KeepAlive(inner); err != nil {
		t.Error(err)
	}
	var c Conn
	if err := c.Attach(inner); err != nil {
		t.Fatal(err)
	}
	CloseOriginal(inner)
	want := bytes.Repeat([]byte("message"), 30000)
	go func() {
		_, err := backend.Write(want)
		done <- err
	}()
	var got []byte
	buf := make([]byte, 4096)
	until(t, "all that was sent comes", func() bool {
		n, _, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
		for n > 0 {
			if n, _, err = c.Read(buf); err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		return len(got) == len(want)
	})
	if err := <-done; err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes came than were sent, %v", err)
	}
	heard := make([]byte, len(want))
	go func() {
		_, err := io.ReadFull(backend, heard)
		done <- err
	}()
	left := want
	until(t, "all is taken", func() bool {
		n, _, _, err := c.Write(left[:min(len(left), MaxBuffer)])
		if err != nil {
			t.Fatal(err)
		}
		left = left[n:]
		return len(left) == 0 && !c.Pending()
	})
	if err := <-done; err != nil || !bytes.Equal(heard, want) {
		t.Fatalf("the peer got other bytes, %v", err)
	}
	c.CloseWrite()
	if _, err := backend.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("after the end of what is sent the peer reads %v, want EOF", err)
	}
	_ = backend.Close()
	until(t, "the end comes", func() bool {
		_, _, err := c.Read(buf)
		return err != nil
	})
	c.Detach()
}
