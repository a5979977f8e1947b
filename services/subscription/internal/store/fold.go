package store

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold is what names are compared by: letters without case, and each character
// in one of the several ways in which it can be written.
func fold(name string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name)))
}
