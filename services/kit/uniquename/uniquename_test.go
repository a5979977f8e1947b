package uniquename

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"go.mau.fi/util/confusable"
)

func TestCheck(t *testing.T) {
	for _, good := range []string{
		"Echo WebSocket 2.0", "echo_1", "Café", "Погода 24/7", "Ελλάδα", "天気予報", "天気の予報サービス", "한국어 漢字", "ㄅ漢", "नमस्ते", "عربي ١٢٣", "ĀĒ ★ ✓", "Ж",
	} {
		if err := Check("f", good); err != nil {
			t.Errorf("Check(%q) = %v, want nil", good, err)
		}
	}
	for bad, want := range map[string]string{
		"Еcho":                  `must be in one script: 'c', U+0063, does not go with what comes before it`,
		"Погода API":            `must be in one script: 'A', U+0041, does not go with what comes before it`,
		"Echо":                  `must be in one script: 'о', U+043E, does not go with what comes before it`,
		"天気 weather":            `must be in one script: 'w', U+0077, does not go with what comes before it`,
		"ひらがな 한국어":              `must be in one script: '한', U+D55C, does not go with what comes before it`,
		"αβгд":                  `must be in one script: 'г', U+0433, does not go with what comes before it`,
		"Echo\u200b":            "must have no invisible characters: it has U+200B",
		"Ec\u00adho":            "must have no invisible characters: it has U+00AD",
		"Echo\ufe0f":            "must have no invisible characters: it has U+FE0F",
		"Echo\u3164":            "must have no invisible characters: it has U+3164",
		"Echo\u034f":            "must have no invisible characters: it has U+034F",
		"Echo\U000e0061":        "must have no invisible characters: it has U+E0061",
		strings.Repeat("ﷺ", 13): "must have at most 400 bytes as it is compared, without case and in its Unicode normal form: it has 429",
		"Echo\U0010fffd":        `must be in one script: '\U0010fffd', U+10FFFD, does not go with what comes before it`,
	} {
		if err := Check("f", bad); err == nil || err.Error() != "f: "+want {
			t.Errorf("Check(%q) = %v, want %q", bad, err, want)
		}
	}
}

func TestForms(t *testing.T) {
	alike := func(a, b string) bool {
		x, y := Of(a), Of(b)
		return x.Fold == y.Fold || x.Skeleton == y.Skeleton && (!x.ASCII || !y.ASCII)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"Echo", "ECHO", true},
		{"cocoa", "сосоа", true}, // Cyrillic
		{"COCOA", "сосоа", true}, // and in another case
		{"BAHK", "ВАНК", true},   // Cyrillic capitals
		{"Oooo", "Ооοо", true},   // refused by Check before
		{"Straße", "STRASSE", true},
		{"Ångström", "Ångström", true}, // another normal form
		{"Ｅｃｈｏ", "Echo", true},         // full width
		{"søs", "so̷s", true},
		{"Team 1", "Team l", false}, // ASCII differs by more than case
		{"modern", "rnodern", false},
		{"Погода", "Погоды", false},
		{"天気", "元気", false},
	} {
		if got := alike(c.a, c.b); got != c.want {
			t.Errorf("%q and %q are one name: %v, want %v: %+v, %+v", c.a, c.b, got, c.want, Of(c.a), Of(c.b))
		}
	}
}

// Stored skeletons are compared with new ones: what they are made from stays the same,
// or a migration makes the stored ones again.
func TestDataIsPinned(t *testing.T) {
	const want = "ec59ab92f7a7529afeb3c33a36480a97a2fb80d59798a52865dfd799efb0873b"
	sum := sha256.New()
	for r := range rune(unicode.MaxRune + 1) {
		if to := confusable.GetReplacement(r); to != "" {
			fmt.Fprintf(sum, "%X;%s\n", r, to)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("the data of confusables (Unicode 17.0.0) is now %s, was %s: a new version needs a migration of stored skeletons", got, want)
	}
	if unicode.Version != unicodeVersion {
		t.Errorf("the table of scripts is of Unicode %s, Go's are of %s: make it again with go generate", unicodeVersion, unicode.Version)
	}
}
