package store

import (
	"strings"
	"testing"
)

// TestNameInstallation gives an installation one name for good.
func TestNameInstallation(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var names []string
		for range 2 { // two starts
			must(t, b.NameInstallation(t.Context()))
			name, err := readInstallation(t.Context(), b.db)
			must(t, err)
			names = append(names, name)
		}
		if names[0] != names[1] || !strings.HasPrefix(names[0], "tidegate-") || len(names[0]) < 25 {
			t.Errorf("names = %q, want one that nobody else has", names)
		}
	})
}
