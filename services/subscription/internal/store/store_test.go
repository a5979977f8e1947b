package store_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TestInstallOnce installs from 16 replicas at once, with an issuer each.
func TestInstallOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		// The bench has installed already: undo that.
		for _, table := range []string{"users", "installation"} {
			_, err := b.db.ExecContext(t.Context(), "DELETE FROM "+table)
			ok(t, err)
		}
		before := b.head()
		errs := race(func(i int) error {
			return b.Install(t.Context(), store.Installation{Issuer: string(rune('a' + i)), Canary: []byte{byte(i)}, RefreshKey: []byte{1}}, "hash")
		})
		for _, err := range errs {
			if err != nil {
				t.Errorf("Install() = %v", err)
			}
		}
		i, known, err := b.Installation(t.Context())
		if err != nil || !known || i.Issuer != string(rune('a'+i.Canary[0])) {
			t.Errorf("Installation() = %v, %v, %v, want that of one replica", i, known, err)
		}
		if got := len(b.events(before)); got != 1 || b.count("users") != 1 {
			t.Errorf("%d changes and %d users, want 1 and 1", got, b.count("users"))
		}
		p, hash, known, err := b.Password(t.Context(), "ADMIN")
		if err != nil || !known || hash != "hash" || p.Roles[0] != "admin" {
			t.Errorf("Password(ADMIN) = %v, %q, %v, %v, want the first administrator", p, hash, known, err)
		}
	})
}
