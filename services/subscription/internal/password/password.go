// Package password says which passwords users may have (NIST SP 800-63B section 3.1.1):
// long ones that are not guessed first. It asks for no digits or signs, which make
// passwords no harder to guess. Package token hashes them.
package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a password in characters, which are code points of its normal form.
const (
	MinLength = 12
	MaxLength = 128
)

// minName is the length of the shortest user name that a password must not contain:
// shorter ones are parts of many words.
const minName = 3

// product is the name that every guesser of Tidegate's passwords tries.
const product = "tidegate"

// common has the 10 000 most common passwords of MinLength or more characters, in lower
// case, sorted, one a line. docs/adr/0012 says where they come from.
//
//go:embed common.txt.gz
var common []byte

// Rules says which passwords users may have. It is safe for concurrent use.
type Rules struct{ common []string }

// NewRules returns the rules.
func NewRules() (*Rules, error) {
	r, err := gzip.NewReader(bytes.NewReader(common))
	if err != nil {
		return nil, fmt.Errorf("read common passwords: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read common passwords: %w", err)
	}
	return &Rules{common: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}, nil
}

// Normal returns the normal form of a password (NFKC), which is what is hashed: the same
// keys give different code points on different systems.
func Normal(password string) string { return norm.NFKC.String(password) }

// Check returns why a user of this name may not have the password, or nil. The error
// completes "the password" or the name of a field.
func (r *Rules) Check(password, username string) error {
	if !utf8.ValidString(password) {
		return errors.New("must be UTF-8")
	}
	password = Normal(password)
	if n := utf8.RuneCountInString(password); n < MinLength || n > MaxLength {
		return fmt.Errorf("must have %d to %d characters", MinLength, MaxLength)
	}
	folded := strings.ToLower(password)
	if _, known := slices.BinarySearch(r.common, folded); known {
		return errors.New("is one of those that are guessed first: choose another")
	}
	if strings.Contains(folded, product) {
		return fmt.Errorf("must not contain %s", product)
	}
	for _, name := range names(username) {
		if strings.Contains(folded, name) {
			return errors.New("must not contain the user name")
		}
	}
	return nil
}

// names returns what of a user name a password must not contain: all of it, and of a
// mail address what is before the "@".
func names(username string) (all []string) {
	folded := strings.ToLower(username)
	local, _, _ := strings.Cut(folded, "@")
	for _, name := range []string{folded, local} {
		if len(name) >= minName {
			all = append(all, name)
		}
	}
	return all
}
