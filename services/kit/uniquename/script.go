package uniquename

import (
	"slices"
	"strings"
	"unicode"
)

// extension is a range of characters that several scripts use, whose long names are
// separated by spaces.
type extension struct {
	first, last rune
	scripts     string
}

// otherScript returns the first character of a name that shares no script with those
// before it (UTS 39, section 5.1: such a string is mixed-script).
func otherScript(name string) (rune, bool) {
	var shared []string
	all := true // until a character restricts it
	for _, r := range name {
		scripts, any := scriptsOf(r)
		if any {
			continue
		}
		if all {
			shared, all = scripts, false
		} else {
			shared = slices.DeleteFunc(slices.Clone(shared), func(s string) bool { return !slices.Contains(scripts, s) })
		}
		if len(shared) == 0 {
			return r, true
		}
	}
	return 0, false
}

// scriptsOf returns the augmented script set of a character, or any for one that goes
// with all scripts, such as a digit. A character that is not assigned has no script.
func scriptsOf(r rune) (scripts []string, any bool) {
	for _, e := range extensions {
		if e.first <= r && r <= e.last {
			return augmented(strings.Fields(e.scripts))
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return augmented([]string{name})
		}
	}
	return nil, false
}

// augmented adds the writing systems that use several scripts, by their codes in ISO
// 15924: Han with Bopomofo, Japanese and Korean.
func augmented(scripts []string) ([]string, bool) {
	all := slices.Clone(scripts)
	for _, s := range scripts {
		switch s {
		case "Common", "Inherited":
			return nil, true
		case "Han":
			all = append(all, "Hanb", "Jpan", "Kore")
		case "Hiragana", "Katakana":
			all = append(all, "Jpan")
		case "Hangul":
			all = append(all, "Kore")
		case "Bopomofo":
			all = append(all, "Hanb")
		}
	}
	return all, false
}
