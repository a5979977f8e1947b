package bench

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the handshake of RFC 6455 is defined with it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Backend serves WebSocket echoes, and plain requests, on a free loopback port until ctx ends,
// and prints the address. All whole frames of one read are answered in one write.
func Backend(ctx context.Context, out io.Writer) error {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { lis.Close() })
	defer stop()
	fmt.Fprintln(out, lis.Addr())
	for {
		conn, err := lis.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := serveEcho(conn); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "backend:", err)
			}
		}()
	}
}

func serveEcho(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 4<<10)
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	if req.Header.Get("Upgrade") == "" {
		return serveRequests(conn, r, req)
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	in := make([]byte, 0, 4<<10)
	var out []byte
	for {
		if len(in) == cap(in) {
			in = append(make([]byte, 0, 2*cap(in)), in...)
		}
		n, err := r.Read(in[len(in):cap(in)])
		if err != nil {
			return nil // the client has gone, which ends the echo
		}
		in = in[:len(in)+n]
		var used int
		var closed bool
		out, used, closed = answerFrames(out[:0], in)
		in = in[:copy(in, in[used:])]
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return nil
			}
		}
		if closed {
			return nil
		}
	}
}

// answerFrames appends the answers to all whole frames of in to out: data and
// close come back, a ping is answered, a pong is dropped.
func answerFrames(out, in []byte) (_ []byte, used int, closed bool) {
	for !closed {
		head, payload, ok := cutFrame(in[used:])
		if !ok {
			break
		}
		used += head + len(payload)
		op := in[used-head-len(payload)] & 0x0f
		mask := in[used-len(payload)-4 : used-len(payload)]
		for i := range payload {
			payload[i] ^= mask[i&3]
		}
		first := in[used-head-len(payload)]
		switch op {
		case 0xA:
			continue
		case 0x9:
			first = 0x8A
		case 0x8:
			closed = true
		}
		out = append(out, first)
		if len(payload) < 126 {
			out = append(out, byte(len(payload)))
		} else {
			out = binary.BigEndian.AppendUint16(append(out, 126), uint16(len(payload)))
		}
		out = append(out, payload...)
	}
	return out, used, closed
}

// cutFrame returns the head's size and the payload of a masked frame of up to 65535
// bytes at the start of b, or false if the frame is incomplete.
func cutFrame(b []byte) (head int, payload []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	head, size := 6, int(b[1]&0x7f)
	if size == 126 {
		if len(b) < 4 {
			return 0, nil, false
		}
		head, size = 8, int(binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < head+size {
		return 0, nil, false
	}
	return head, b[head : head+size], true
}
