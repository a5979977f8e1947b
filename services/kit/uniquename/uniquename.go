// Package uniquename decides which names that users read are one name. Names in ASCII
// differ by more than case. A name with other characters has one script, nothing
// invisible, and differs from every other name in what it looks like, by the skeletons
// of UTS 39 (Unicode Security Mechanisms): "сосоа" in Cyrillic looks like "cocoa".
//
// Stores keep the forms of a name in columns and compare them in the transaction that
// writes it. The data that skeletons are made from must not
// change without the stored ones: a test pins it.
package uniquename

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"go.mau.fi/util/confusable"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:generate go run ./gen /usr/share/unicode scripts.go

// Forms are what a name is compared by.
type Forms struct {
	// Fold is the name without case; no two names have the same.
	Fold string
	// Skeleton is what the name looks like, without case.
	Skeleton string
	// ASCII is whether the name is in ASCII. Two such names may look alike.
	ASCII bool
}

// Of returns the forms of a name.
func Of(name string) Forms {
	return Forms{Fold: sqldb.Fold(name), Skeleton: sqldb.Fold(confusable.Skeleton(name)), ASCII: isASCII(name)}
}

func isASCII(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// maxFold is how many bytes the folded form of a name may have: some characters stand for
// many, and lists that are ordered by names have the form in their page tokens.
const maxFold = 400

// Check returns a fault for what is wrong with a name that must be unique, in a field
// of a request, or nil.
func Check(field, name string) error {
	for _, r := range name {
		if invisible(r) {
			return fault.Invalid(field, "must have no invisible characters: it has U+%04X", r)
		}
	}
	if isASCII(name) {
		return nil
	}
	if n := len(Of(name).Fold); n > maxFold {
		return fault.Invalid(field, "must have at most %d bytes as it is compared, without case and in its Unicode normal form: it has %d", maxFold, n)
	}
	if r, mixed := otherScript(name); mixed {
		return fault.Invalid(field, "must be in one script: %q, U+%04X, does not go with what comes before it", r, r)
	}
	return nil
}

// Likeness is how much a name is like those that a store has.
type Likeness int64

// What a name can be like, as the queries of stores count it.
const (
	Unlike Likeness = 0
	Alike  Likeness = 1 // another has its skeleton
	Same   Likeness = 2 // another has its fold
)

// Fault returns an ALREADY_EXISTS fault for a name that another has or looks like, or
// nil. What begins with the field or the thing that has the name.
func (l Likeness) Fault(what, name string) error {
	switch l {
	case Same:
		return fault.AlreadyExists("%s: %q is taken", what, name)
	case Alike:
		return fault.AlreadyExists("%s: %q looks like a name that is taken", what, name)
	}
	return nil
}

// invisible reports whether a character has the property Default_Ignorable_Code_Point,
// as DerivedCoreProperties.txt of Unicode derives it.
func invisible(r rune) bool {
	switch {
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return true
	case !unicode.Is(unicode.Cf, r), unicode.In(r, unicode.White_Space, unicode.Prepended_Concatenation_Mark):
		return false
	}
	annotation := r >= 0xFFF9 && r <= 0xFFFB
	hieroglyph := r >= 0x13430 && r <= 0x13440
	return !annotation && !hieroglyph
}
