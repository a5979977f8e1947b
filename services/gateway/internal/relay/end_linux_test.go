//go:build !portable

package relay

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// endInSamePacket sends b and ends the connection with it.
func endInSamePacket(c *net.TCPConn, b []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	_, err2 := c.Write(b)
	return errors.Join(err, failed, err2, c.Close())
}

// TestLastBytesBeforeEnd has a peer end its connection in the same packet as its
// last message, or right behind it: reads that would find nothing are spared, but
// not the one that finds the end.
func TestLastBytesBeforeEnd(t *testing.T) {
	ways := map[string]func(c *net.TCPConn, last []byte) error{
		"same packet": endInSamePacket,
		"behind": func(c *net.TCPConn, last []byte) error {
			_, err := c.Write(last)
			return errors.Join(err, c.Close())
		},
		"reset": func(c *net.TCPConn, last []byte) error {
			_, err := c.Write(last)
			return errors.Join(err, c.SetLinger(0), c.Close())
		},
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				r := newRig(t, quick(), mode{}, ending.Terms{})
				for range 20 {
					r.client.send(text("x"))
					r.backend.expect(text("x"))
				}
				if err := end(r.client.Conn.(*net.TCPConn), text("last").bytes(true)); err != nil {
					t.Fatal(err)
				}
				if name != "reset" { // which may overtake the message
					r.backend.expect(text("last"))
					r.backend.expectClose(1001, "CLIENT_GONE")
				} else {
					skipTo(t, r.backend, wireFrame{first: 0x88})
				}
				r.hangUp()
				r.check(t, ending.Client, ending.ClientGone, 0, 0, 1001, 0)
			}
		})
	}
}

// TestEndAfterQuiet has a peer that sent much, and then nothing for a while, end
// its connection right behind one more message, behind a ping, and inside a header.
func TestEndAfterQuiet(t *testing.T) {
	for _, last := range [][]byte{text("last").bytes(true), ping("last").bytes(true), {0x81}} {
		for range 10 {
			r := newRig(t, quick(), mode{}, ending.Terms{})
			for range 20 {
				r.client.send(text("x"))
				r.backend.expect(text("x"))
			}
			quiet := r.engine.now()
			until(t, "the client's leg is quiet", func() bool { return r.engine.coarse() > quiet })
			if err := endInSamePacket(r.client.Conn.(*net.TCPConn), last); err != nil {
				t.Fatal(err)
			}
			if last[0] == 0x81 && len(last) > 1 {
				r.backend.expect(text("last"))
			}
			r.backend.expectClose(1001, "CLIENT_GONE")
			r.hangUp()
			r.check(t, ending.Client, ending.ClientGone, 0, 0, 1001, 0)
		}
	}
}

// TestUrgent has a peer send messages before and behind a byte that TCP holds to
// be urgent, at which reads stop.
func TestUrgent(t *testing.T) {
	e := NewEngine(quick())
	front, r := newRigOn(t, e, mode{}, ending.Terms{}, nil, nil), newRigOn(t, e, mode{}, ending.Terms{}, nil, nil)
	front.talk()
	r.talk()
	front.mu.Lock()
	front.client.send(text("x"))
	pollerWaits(t)
	raw, err := r.client.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r.client.send(text("one"))
	if err := raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), []byte{1}, unix.MSG_OOB, nil) }); err != nil {
		t.Fatal(err)
	}
	r.client.send(text("two"))
	until(t, "all has arrived", func() (all bool) {
		_ = raw.Control(func(fd uintptr) {
			n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			all = err == nil && n == 0
		})
		return all
	})
	front.mu.Unlock()
	r.backend.expect(text("one"), text("two"))
}

// pollerWaits waits until a poller waits for a session's mutex.
func pollerWaits(t *testing.T) {
	t.Helper()
	until(t, "a poller waits", func() bool {
		all := make([]byte, 1<<20)
		return bytes.Contains(all[:runtime.Stack(all, true)], []byte("relay.(*leg).Ready("))
	})
}
