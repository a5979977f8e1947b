package sqldb

import (
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

// Contains returns the condition that a column has a text in it, which a parameter has. LIKE
// does the same in several times the time. Where case shall not matter, both are folded.
func (db *DB) Contains(column, param string) string {
	find := "instr"
	if db.engine == postgresEngine {
		find = "strpos"
	}
	return find + "(" + column + ", " + param + ") > 0"
}
