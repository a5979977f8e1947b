package store

import (
	"context"
	"fmt"
)

// Apart says why the catalog's database does not belong to this one.
type Apart struct{ why string }

// Error says what is wrong, and what to do.
func (a *Apart) Error() string { return a.why }

// CheckCatalog returns an Apart when what the catalog said last shows that its database
// and this one do not belong together: one of them is new, or an old backup, or the wrong
// one. It is nil before anything was stored in either.
func (s *Store) CheckCatalog(ctx context.Context) error {
	// A version that the catalog does not have, after its history was another one, has
	// the change number 0; see ApplyCatalogSnapshot.
	var known, gone, subscriptions int64
	err := s.db.QueryRowContext(ctx, `
		SELECT (SELECT COUNT(*) FROM version WHERE change_number > 0), (SELECT COUNT(*) FROM version WHERE change_number = 0),
			(SELECT COUNT(*) FROM subscription JOIN version ON version.name = subscription.version WHERE version.change_number = 0)`).
		Scan(&known, &gone, &subscriptions)
	switch {
	case err != nil:
		return fmt.Errorf("compare with the catalog: %w", err)
	case subscriptions > 0 || gone > 0 && known == 0:
		return &Apart{fmt.Sprintf("the catalog's database is new or an older one: it lacks versions (%d), to which there are subscriptions (%d); "+
			"if the catalog's -db is wrong, correct it and restart the catalog; if the database was lost, restore its backup, or delete these subscriptions", gone, subscriptions)}
	case known == 0:
		return nil
	}
	ours, err := s.knowsAnOwner(ctx)
	if err != nil || ours {
		return err
	}
	return &Apart{fmt.Sprintf("the catalog has versions (%d), but no user of this database ever owned one of them: this database is new, or another one; "+
		"if the subscription service's -db is wrong, correct it and restart the service; if the database was lost, restore its backup, or give the APIs to users with tidegate api transfer", known)}
}

// knowsAnOwner reports whether an owner of a version is or was a user here. Users who were
// deleted are in the audit log.
func (s *Store) knowsAnOwner(ctx context.Context) (known bool, err error) {
	for _, query := range []string{
		`SELECT EXISTS (SELECT 1 FROM version JOIN users ON users.id = version.owner WHERE version.change_number > 0)`,
		`SELECT EXISTS (SELECT 1 FROM version JOIN change ON change.resource = 'users/' || version.owner WHERE version.change_number > 0)`,
	} {
		if err := s.db.QueryRowContext(ctx, query).Scan(&known); err != nil {
			return false, fmt.Errorf("look for the owners of versions: %w", err)
		}
		if known {
			return true, nil
		}
	}
	return false, nil
}
