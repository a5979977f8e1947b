package relay

import (
	"bufio"
	"fmt"
	"io"
	"testing"
)

func BenchmarkEcho(b *testing.B) {
	for _, flight := range []int{1, 16} {
		b.Run(fmt.Sprintf("flight=%d", flight), func(b *testing.B) { benchmarkEcho(b, flight) })
	}
}

func benchmarkEcho(b *testing.B, flight int) {
	client, c := tcpPair(b)
	s, backend := tcpPair(b)
	ended := make(chan Outcome, 1)
	var r Relay
	e := NewEngine(Config{})
	if err := r.Start(e, Options{Ref: "x", Owner: ownerFunc(func(o Outcome) { ended <- o })}, Leg{Conn: c}, Leg{Conn: s}); err != nil {
		b.Fatal(err)
	}
	const size = 128
	go func() { // unmasks nothing: the payload is not looked at
		in := bufio.NewReaderSize(backend, 64<<10)
		frame := make([]byte, 8+size)
		out := appendHeader(nil, size)
		out = append(out, make([]byte, size)...)
		var batch []byte
		for {
			if _, err := io.ReadFull(in, frame); err != nil {
				return
			}
			batch = append(batch, out...)
			if in.Buffered() < len(frame) {
				backend.Write(batch)
				batch = batch[:0]
			}
		}
	}()
	frame := append([]byte{0x82, 0xfe, 0, size, 1, 2, 3, 4}, make([]byte, size)...)
	in := bufio.NewReaderSize(client, 64<<10)
	back := make([]byte, len(appendHeader(nil, size))+size)
	var burst []byte
	for range flight {
		burst = append(burst, frame...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += flight {
		client.Write(burst)
		for range flight {
			if _, err := io.ReadFull(in, back); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	client.Close()
	backend.Close()
	<-ended
	e.Wait()
}

func appendHeader(b []byte, n int) []byte {
	return append(b, 0x82, 126, byte(n>>8), byte(n))
}
