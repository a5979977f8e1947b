package ui

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// functions are those that templates call.
func functions() template.FuncMap {
	base := assetsPath()
	return template.FuncMap{
		"asset":  assetURL(base),
		"icon":   func(name string) template.HTML { return icon(base, name) },
		"number": func(n any) (string, error) { v, err := whole(n); return Number(v), err },
		"short":  Short,
		"brief":  Brief,
		"date":   Date,
		"iso":    func(t *timestamppb.Timestamp) string { return t.AsTime().UTC().Format(time.RFC3339) },
		"parts":  Parts,
		"plural": func(n any, one string, many ...string) (string, error) {
			v, err := whole(n)
			return Plural(v, one, many...), err
		},
		"id":     ID,
		"joined": func(list []string) string { return strings.Join(list, ", ") },
	}
}

// whole returns the number of a field, of whatever size.
func whole(n any) (int64, error) {
	switch n := n.(type) {
	case int:
		return int64(n), nil
	case int32:
		return int64(n), nil
	case uint64:
		return int64(min(n, math.MaxInt64)), nil
	case int64:
		return n, nil
	}
	return 0, fmt.Errorf("%T is not a number", n)
}

// icon is one of the sprite; it says nothing to those who hear the page.
func icon(base, name string) template.HTML {
	return template.HTML(`<svg class="i" aria-hidden="true"><use href="` + base + "icons.svg#" + template.HTMLEscapeString(name) + `"/></svg>`)
}

// Number writes a number with commas between thousands.
func Number[N int | int32 | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var out []string
	for len(digits) > 3 {
		out = append([]string{digits[len(digits)-3:]}, out...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, out...), ",")
}

// Short writes a number in at most three digits and a unit: 604 k, 1.92 M.
func Short(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"k", "M", "G", "T", "P"} {
		if value /= 1000; value < 999.5 {
			break
		}
	}
	places := 2
	switch {
	case value >= 99.95:
		places = 0
	case value >= 9.995:
		places = 1
	}
	text := strconv.FormatFloat(value, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + " " + unit
}

// Date writes a time in UTC, or "never" for none.
func Date(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().UTC().Format("2 Jan 2006, 15:04")
}

// Brief cuts a text to what a row of a list has room for, at the end of a word where there
// is one.
func Brief(text string) string {
	const most = 160 // characters
	letters := []rune(text)
	if len(letters) <= most {
		return text
	}
	cut := string(letters[:most])
	if end := strings.LastIndexAny(cut, " \n"); end > len(cut)/2 {
		cut = cut[:end]
	}
	return strings.TrimRight(cut, " \n") + "…"
}

// Plural writes how many there are of something: 1 live session, 2 live sessions. Without
// a plural of its own it is one with an s.
func Plural[N int | int32 | int64](n N, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return Number(n) + " " + many[0]
	}
	return Number(n) + " " + one + "s"
}

// Parts cuts a long address where a line may end: after each slash.
func Parts(address string) []string { return strings.SplitAfter(address, "/") }

// roleNames lists roles in words.
func roleNames(roles []Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, RoleName(r))
	}
	return strings.Join(append(names, "admin"), ", ")
}

// RoleName is the word for a role.
func RoleName(r Role) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_"))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// ID is the last part of a resource name, as pages have it in their addresses.
func ID(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Age writes how long something has been, in its two greatest units.
func Age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
