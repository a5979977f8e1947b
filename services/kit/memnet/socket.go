package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// DialSocket returns a bare connection whose other end Accept returns, as DialContext does,
// but each end is a socket of its own: for servers that use the descriptors of their
// connections. They are a pair on loopback that nobody else of this machine gets between.
// Its addresses say nothing.
func (l *Listener) DialSocket(ctx context.Context) (net.Conn, error) {
	client, server, err := socketPair(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", l.Addr(), err)
	}
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = client.Close()
	_ = server.Close()
	return nil, fmt.Errorf("dial %s: %w", l.Addr(), err)
}

// socketPair returns two sockets that are connected with each other. Whoever else connects
// to the port between them is cut off.
func socketPair(ctx context.Context) (client, server net.Conn, err error) {
	lis, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer lis.Close()
	client, err = (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", lis.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = lis.Close() })()
	for {
		server, err = lis.Accept()
		if err != nil {
			_ = client.Close()
			return nil, nil, errors.Join(err, ctx.Err())
		}
		if server.RemoteAddr().String() == client.LocalAddr().String() {
			return client, server, nil
		}
		_ = server.Close()
	}
}
