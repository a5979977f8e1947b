package netpoll

import (
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// tcpPair returns two ends of a loopback connection, which are closed when the test
// ends.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	a, err = net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// until waits until something has become true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	poll, late := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer poll.Stop()
	defer late.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-late.C:
			t.Fatalf("not so: %s", what)
		}
	}
}
