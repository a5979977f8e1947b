package openfiles

import (
	"os"
	"testing"
)

// TestOpen counts what is open.
func TestOpen(t *testing.T) {
	before := Open()
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, limited := Limit(); limited && before != assumed && Open() != before+1 {
		t.Errorf("Open() = %d after %d and one more", Open(), before)
	}
}
