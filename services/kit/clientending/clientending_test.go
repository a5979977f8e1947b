package clientending

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for _, text := range []string{"drain=4500", "backend-gone=1011", "revoked=:bye", `throttled=4003:{"retry":{retry_ms},"a":"b=c"}`} {
		if e, err := Parse(text); err != nil || Text(e) != text {
			t.Errorf("Parse(%q) = %q, %v", text, Text(e), err)
		}
	}
	for _, text := range []string{"", "drain", "drain=", "drain=x", "drain=-1", "drain=70000", "none=4000", "unspecified=4000", "=4000", "drain=:"} {
		if e, err := Parse(text); !errors.Is(err, ErrForm) {
			t.Errorf("Parse(%q) = %v, %v, want ErrForm", text, e, err)
		}
	}
}
