package run

import (
	"fmt"
	"slices"
	"strings"
)

// meant returns what to say after an unknown name: "; did you mean X?", where show
// writes the known name that is nearest, or nothing where none is near.
func meant(name string, known []string, show func(string) string) string {
	folded := strings.NewReplacer(".", "-", "_", "-")
	name = folded.Replace(strings.ToLower(name))
	services := parents(known)
	best, least := "", min(max(2, len(name)/4), len(name)/2)+1
	for _, k := range known {
		d := distance(name, folded.Replace(k))
		// Of tidegate serve, a service's flag may be given without the service, and one
		// that all services share with it.
		if _, rest, ok := strings.Cut(k, "."); ok {
			d = min(d, distance(name, folded.Replace(rest))+1)
		}
		for _, service := range services {
			if rest, ok := strings.CutPrefix(name, service+"-"); ok {
				d = min(d, distance(rest, k)+1)
			}
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", show(best))
}

// parents returns what stands before the dot in the names of flags, once each: gateway
// of gateway.ping.
func parents(flags []string) []string {
	var all []string
	for _, name := range flags {
		if parent, _, ok := strings.Cut(name, "."); ok && !slices.Contains(all, parent) {
			all = append(all, parent)
		}
	}
	return all
}

// distance returns how many bytes must be added, removed or replaced, or neighbours
// swapped, to get from one name to the other.
func distance(a, b string) int {
	var before, row []int // the rows for a[:i-1] and a[:i]
	for j := range len(b) + 1 {
		row = append(row, j)
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
