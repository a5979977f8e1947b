package descriptors

import (
	"strings"
	"testing"
)

// TestDivide: sessions take two each of what is not kept, and the shares fit the
// limit all together.
func TestDivide(t *testing.T) {
	for _, test := range []struct {
		limit int
		need  Need
		want  Shares
	}{
		{86, Need{Open: 20, PerSession: 2, Handshakes: 16384}, Shares{Sessions: 1, Handshakes: 16, Spare: 8, Else: 40}},
		{100, Need{Open: 20, PerSession: 2, Handshakes: 16384}, Shares{Sessions: 8, Handshakes: 16, Spare: 8, Else: 40}},
		{110, Need{Open: 30, PerSession: 3, Handshakes: 16384}, Shares{Sessions: 5, Handshakes: 16, Spare: 8, Else: 40}},
		{1024, Need{Open: 20, PerSession: 2, Handshakes: 16384}, Shares{Sessions: 374, Handshakes: 160, Spare: 32, Else: 64}},
		{1024, Need{Open: 20, PerSession: 2, Handshakes: 100, Sessions: 7}, Shares{Sessions: 7, Handshakes: 100, Spare: 32, Else: 64}},
		{1048576, Need{Open: 20, PerSession: 2, Handshakes: 16384}, Shares{Sessions: 514038, Handshakes: 16384, Spare: 256, Else: 3840}},
	} {
		got, err := Divide(test.limit, test.need)
		if err != nil || got != test.want {
			t.Errorf("Divide(%d, %+v) = %+v, %v, want %+v", test.limit, test.need, got, err, test.want)
		}
	}
}

// TestDivideFits: whatever the limit is, all shares together are within it, and the
// limit that an error asks for is the least that does.
func TestDivideFits(t *testing.T) {
	for _, need := range []Need{
		{Open: 12, PerSession: 2, Handshakes: 16384}, {Open: 40, PerSession: 3, Handshakes: 16384, Sessions: 500},
		{Open: 30, PerSession: 2, Handshakes: 16384, Sessions: 100_000},
	} {
		least := need.limitFor(max(need.Sessions, 1))
		for limit := range 300_000 {
			s, err := Divide(limit, need)
			if (err == nil) != (limit >= least) {
				t.Fatalf("Divide(%d, %+v) = %v, and the least limit is %d", limit, need, err, least)
			}
			if used := need.Open + s.Sessions*need.PerSession + s.Handshakes + s.Spare + s.Else; err == nil && (used > limit || s.Else < minElse || s.Sessions < 1 || s.Handshakes < 1) {
				t.Fatalf("Divide(%d, %+v) = %+v: %d of them are taken", limit, need, s, used)
			}
		}
	}
}

// TestDivideRefuses names the limit and what is needed.
func TestDivideRefuses(t *testing.T) {
	_, err := Divide(64, Need{Open: 20, PerSession: 2, Handshakes: 1})
	if err == nil || !strings.Contains(err.Error(), "is 64") || !strings.Contains(err.Error(), "at least 86") {
		t.Errorf("Divide(64) = %v, want both numbers", err)
	}
}
