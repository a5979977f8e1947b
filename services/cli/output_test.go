package cli

import "testing"

// TestTextOfOthersDrivesNoTerminal prints what other users may have written.
func TestTextOfOthersDrivesNoTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "-",
		"plain, naïve, 日本語":         "plain, naïve, 日本語",
		"a\nb\tc":                   "a\ufffdb\ufffdc",
		"\x1b]0;title\x07":          "\ufffd]0;title\ufffd",
		"\u009b31m":                 "\ufffd31m",
		"safe\u202etxt.exe":         "safe\ufffdtxt.exe",
		"\u2066admin\u2069":         "\ufffdadmin\ufffd",
		"👩\u200d💻 joins, and stays": "👩\u200d💻 joins, and stays",
	} {
		if got := cell(text); got != want {
			t.Errorf("cell(%q) = %q, want %q", text, got, want)
		}
	}
}
