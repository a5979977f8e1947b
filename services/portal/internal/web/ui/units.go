package ui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size exactly, in the greatest unit that it is whole in.
func Bytes(n int64) string {
	for _, u := range sizes() {
		if n >= u.size && n%u.size == 0 {
			return Number(n/u.size) + " " + u.name
		}
	}
	return Plural(n, "byte")
}

// sizes are the units of sizes, the greatest first.
func sizes() []unit[int64] {
	return []unit[int64]{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}}
}

// unit is one that an amount can be written in.
type unit[N any] struct {
	size N
	name string
}

// ParseBytes reads a size as Bytes writes it, or as users do: 64 KiB, 64kib, 65536.
func ParseBytes(text string) (int64, error) {
	number, name := cutNumber(text)
	size := int64(1)
	switch name {
	case "", "b", "byte", "bytes":
	default:
		size = 0
		for _, u := range sizes() {
			if strings.EqualFold(name, u.name) {
				size = u.size
			}
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || size == 0 || n > math.MaxInt64/size {
		return 0, fmt.Errorf("must be a size such as 64 KiB, 1 MiB or 65536")
	}
	return n * size, nil
}

// cutNumber cuts a text after its digits, and leaves out spaces and what parts thousands.
func cutNumber(text string) (number, rest string) {
	text = strings.ToLower(strings.NewReplacer(" ", "", ",", "").Replace(text))
	i := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i:]
}

// ParseNumber reads a whole number, with or without commas between thousands.
func ParseNumber(text string) (int64, error) {
	number, rest := cutNumber(text)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || rest != "" {
		return 0, fmt.Errorf("must be a whole number")
	}
	return n, nil
}

// ParseDecimal reads a number such as 2 or 1.5.
func ParseDecimal(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("must be a number such as 2 or 1.5")
	}
	return n, nil
}

// Span writes a length of time exactly, in the greatest unit that it is whole in.
func Span(d time.Duration) string {
	for _, u := range []unit[time.Duration]{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= u.size && d%u.size == 0 {
			return fmt.Sprintf("%d %s", d/u.size, u.name)
		}
	}
	return d.String()
}

// ParseSpan reads a length of time as Span writes it, or as users do: 12 h, 1d12h, 90s,
// 30 min.
func ParseSpan(text string) (time.Duration, error) {
	plain := strings.ToLower(strings.NewReplacer(" ", "", "min", "m").Replace(text))
	var days int64
	var err error
	if before, rest, ok := strings.Cut(plain, "d"); ok {
		if days, err = strconv.ParseInt(before, 10, 32); rest == "" {
			rest = "0s"
		}
		plain = rest
	}
	d, bad := time.ParseDuration(plain)
	if err != nil || bad != nil || d < 0 || days < 0 || days > 10000 || d > 10000*24*time.Hour {
		return 0, fmt.Errorf("must be a time such as 90 s, 30 min, 12 h or 7 d")
	}
	return time.Duration(days)*24*time.Hour + d, nil
}
