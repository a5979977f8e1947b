package sample

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestEcho(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := NewEcho(lis, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()

	dialer := websocket.Dialer{Subprotocols: []string{"chat", "other"}}
	conn, _, err := dialer.Dial(e.URL(), nil) //nolint:bodyclose // the body is the connection
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.Subprotocol(); got != "chat" {
		t.Errorf("sub-protocol = %q, want chat", got)
	}
	for kind, text := range map[int]string{websocket.TextMessage: "hello", websocket.BinaryMessage: "\x00\xff"} {
		if err := conn.WriteMessage(kind, []byte(text)); err != nil {
			t.Fatal(err)
		}
		gotKind, got, err := conn.ReadMessage()
		if err != nil || gotKind != kind || string(got) != text {
			t.Errorf("echo of %d %q = %d %q, %v", kind, text, gotKind, got, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the connection outlives the server")
	}
}
