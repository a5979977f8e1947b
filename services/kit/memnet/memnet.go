// Package memnet is a network within the process: listeners for gRPC servers, and
// connections that tell the server which service is calling. Only code of this
// process can dial, so the caller's name needs no proof.
package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// buffer is the capacity of a connection in each direction, in bytes.
const buffer = 256 << 10

// MaxMessage is the largest message, in bytes, that services send each other, here and over
// networks: a change of an API with the most versions, each as large as can be, is one.
const MaxMessage = 64 << 20

// Addr is the address of one end of a connection.
type Addr struct {
	// Listener is the name of the listener.
	Listener string
	// Caller is the service that dialed; empty for the listener itself.
	Caller string
}

// Network returns "memnet".
func (a Addr) Network() string { return "memnet" }

// String returns memnet:LISTENER or memnet:CALLER>LISTENER.
func (a Addr) String() string {
	if a.Caller == "" {
		return "memnet:" + a.Listener
	}
	return "memnet:" + a.Caller + ">" + a.Listener
}

// Listener is a net.Listener that only its Dial methods reach.
type Listener struct {
	name  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen returns a listener. The name is for messages.
func Listen(name string) *Listener {
	return &Listener{name: name, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next connection; its RemoteAddr is an Addr.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, fmt.Errorf("accept on %s: %w", l.Addr(), net.ErrClosed)
	}
}

// Close ends Accept and refuses later dials. Connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns the listener's Addr.
func (l *Listener) Addr() net.Addr { return Addr{Listener: l.name} }

// Dial returns a client connection whose calls the server sees as those of the
// service caller. It connects at the first call, and again after the server was
// away.
func (l *Listener) Dial(caller string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return l.DialContext(ctx, caller)
		}),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:///"+l.name, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial %s in memory: %w", l.name, err)
	}
	return conn, nil
}

// DialContext returns a bare connection whose other end Accept returns.
func (l *Listener) DialContext(ctx context.Context, caller string) (net.Conn, error) {
	client, server, err := pipe(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", l.Addr(), err)
	}
	select {
	case l.conns <- &conn{Conn: server, remote: Addr{Listener: l.name, Caller: caller}}:
		return client, nil
	case <-l.done:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	client.Close()
	server.Close()
	return nil, fmt.Errorf("dial %s: %w", l.Addr(), err)
}

// pipe returns the two ends of a buffered connection.
func pipe(ctx context.Context) (client, server net.Conn, err error) {
	lis := bufconn.Listen(buffer)
	defer lis.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := lis.Accept()
		if err != nil {
			c = nil
		}
		accepted <- c
	}()
	client, err = lis.DialContext(ctx)
	if err != nil {
		lis.Close()
		if c := <-accepted; c != nil {
			c.Close()
		}
		return nil, nil, err
	}
	return client, <-accepted, nil
}

// conn is the server's end, which knows who dialed.
type conn struct {
	net.Conn
	remote Addr
}

// RemoteAddr returns the Addr of the caller.
func (c *conn) RemoteAddr() net.Addr { return c.remote }
