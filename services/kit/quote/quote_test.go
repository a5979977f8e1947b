package quote_test

import (
	"os/exec"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// TestWord has a shell read what was quoted.
func TestWord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Echo/1.0.0": "Echo/1.0.0",
		"":           "''",
		"my data":    "'my data'",
		"it's":       `'it'\''s'`,
		"$HOME; *":   "'$HOME; *'",
		"Käse":       "'Käse'",
	} {
		got := quote.Word(text)
		if got != want {
			t.Errorf("Word(%q) = %s, want %s", text, got, want)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+got).Output()
		if err != nil || string(out) != text {
			t.Errorf("a shell reads %s as %q, %v, want %q", got, out, err, text)
		}
	}
}
