package sqldb

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns what names are compared by: letters without case, and each
// character in one of the several ways in which it can be written. SQLite and
// Postgres fold differently, so a column of folded names stands beside the names.
func Fold(name string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name)))
}

// FoldFilter folds the value of a filter; nil is no value.
func FoldFilter(name *string) *string {
	if name == nil {
		return nil
	}
	folded := Fold(*name)
	return &folded
}
