package store

import (
	"slices"
	"strings"
)

// conditions are those of a WHERE under way. A list has only those that it needs, so that
// the engine finds the index that it is for.
type conditions struct {
	statement
	all []string
}

// add adds a condition, in parts.
func (c *conditions) add(parts ...string) { c.all = append(c.all, strings.Join(parts, "")) }

// is restricts a column to a value; nil restricts nothing.
func (c *conditions) is(column string, value *string) {
	if value != nil {
		c.add(column, " = ", c.param(*value))
	}
}

// oneOf restricts a column to some values, of which there is one at least.
func (c *conditions) oneOf(column string, values []string) {
	c.add(column, " IN (", c.params(values), ")")
}

// after restricts a list that is ordered by a column, and then by an id, to the rows after
// one.
func (c *conditions) after(column string, value any, id, key string, descending bool) {
	follows := " > ("
	if descending {
		follows = " < ("
	}
	c.add("(", column, ", ", id, ")", follows, c.param(value), ", ", c.param(key), ")")
}

// where returns the WHERE, with further conditions; it is empty without any.
func (c *conditions) where(more ...string) string {
	all := slices.Concat(c.all, more)
	if len(all) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(all, " AND ")
}

// orderBy returns the ORDER BY of a list.
func orderBy(column, id string, descending bool) string {
	if descending {
		return " ORDER BY " + column + " DESC, " + id + " DESC"
	}
	return " ORDER BY " + column + ", " + id
}
