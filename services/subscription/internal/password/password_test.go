package password_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
)

func rules(t *testing.T) *password.Rules {
	t.Helper()
	r, err := password.NewRules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Refused are passwords that are too short or too long, that everybody guesses first,
// and that contain the user name or the product's name; characters are what users see.
func TestPasswordsThatAreGuessedFirstAreRefused(t *testing.T) {
	r := rules(t)
	const length, guessed = "must have 12 to 128 characters", "is one of those that are guessed first: choose another"
	const name, product = "must not contain the user name", "must not contain tidegate"
	for _, tt := range []struct{ password, username, want string }{
		{"correct horse battery", "ada", ""},
		{"hunter2hunter2 3", "ada", ""},
		{"twelve chars", "ada", ""},
		{"eleven char", "ada", length},
		{"", "ada", length},
		{strings.Repeat("ü1", 64), "ada", ""},
		{strings.Repeat("ü1", 64) + "x", "ada", length},
		{"zwölf Zeiche", "ada", ""},
		{"e\u0301a\u0301i\u0301o\u0301u\u0301y\u0301", "ada", length}, // twelve code points, six characters
		{strings.Repeat("ﷺ", 8), "ada", length},                       // eight that stand for 144
		{"qwertyqwerty", "ada", guessed},
		{"QwertyQWERTY", "ada", guessed},
		{"ｑwertyqwerty", "ada", guessed}, // a wide letter is the same letter
		{"qwertyqwerty and more", "ada", ""},
		{"my name is Ada!", "ada", name},
		{"my name is ada!", "ADA", name},
		{"my name is jo, really", "jo", ""},
		{"I am ada.lovelace 1815", "ada.lovelace@example.com", name},
		{"the TideGate's keeper", "ada", product},
		{"not UTF-8: \xff\xfe", "ada", "must be UTF-8"},
	} {
		got := ""
		if err := r.Check(tt.password, tt.username); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("Check(%q, %q) = %q, want %q", tt.password, tt.username, got, tt.want)
		}
	}
}

// The list has 10 000 passwords that could be chosen otherwise, sorted for the search.
func TestCommonPasswords(t *testing.T) {
	all := password.Common(rules(t))
	if len(all) != 10000 || !slices.IsSorted(all) {
		t.Errorf("%d common passwords, sorted: %v", len(all), slices.IsSorted(all))
	}
	for i, p := range all {
		if n := len([]rune(p)); n < password.MinLength || n > password.MaxLength || p != strings.ToLower(p) || p != password.Normal(p) || i > 0 && p == all[i-1] {
			t.Errorf("the common password %q is of another length or form, or there twice", p)
		}
	}
}
