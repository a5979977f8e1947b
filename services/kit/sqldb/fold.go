package sqldb

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the form in which names are compared: without case, and with each
// character in its Unicode normal form. SQLite and Postgres fold differently, so
// tables store the folded name in a column of its own.
func Fold(name string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name)))
}

// FoldFilter folds the value of a filter; nil stays nil.
func FoldFilter(name *string) *string {
	if name == nil {
		return nil
	}
	folded := Fold(*name)
	return &folded
}

// PartPattern returns the pattern of LIKE … ESCAPE '\' for folded names that have a text in
// them, whatever its case.
func PartPattern(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(Fold(text)) + "%"
}
