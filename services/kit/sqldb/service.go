package sqldb

import (
	"context"
	"fmt"
)

// ownerOf returns the service that a database belongs to, or "" before it
// belongs to one.
func ownerOf(ctx context.Context, db *DB) (string, error) {
	there, err := HasTable(ctx, db, "database_owner")
	if err != nil || !there {
		return "", err
	}
	var owner string
	err = db.QueryRowContext(ctx, `SELECT COALESCE(max(service), '') FROM database_owner WHERE id = 1`).Scan(&owner)
	if err != nil {
		return "", fmt.Errorf("read owner: %w", err)
	}
	return owner, nil
}

// claim records that a database belongs to a service. If several do so at once, the
// first wins.
func claim(ctx context.Context, db *DB, service string) error {
	owner, err := ownerOf(ctx, db)
	if err != nil {
		return err
	}
	if owner != "" {
		return refuseOwner(owner, service)
	}
	err = db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, `
			CREATE TABLE IF NOT EXISTS database_owner (id BIGINT PRIMARY KEY CHECK (id = 1), service TEXT NOT NULL)`)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO database_owner (id, service) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, service)
		return err
	})
	if err != nil {
		return fmt.Errorf("write owner: %w", err)
	}
	if owner, err = ownerOf(ctx, db); err != nil {
		return err
	}
	return refuseOwner(owner, service)
}

// refuseOwner refuses a database that belongs to another service.
func refuseOwner(owner, service string) error {
	if owner == "" || owner == service {
		return nil
	}
	return refusal("this database belongs to the " + owner + " service")
}

// versionOf returns the version of a part, or 0 before its first migration.
func versionOf(ctx context.Context, db *DB, part Part) (int64, error) {
	there, err := HasTable(ctx, db, part.versionTable())
	if err != nil || !there {
		return 0, err
	}
	var version int64
	err = db.QueryRowContext(ctx, `SELECT COALESCE(max(version_id), 0) FROM `+part.versionTable()).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read version of %s: %w", part.Name, err)
	}
	return version, nil
}

// HasTable reports whether a table exists in the schema in which new tables are
// made. It alone reads the engine's own catalog.
func HasTable(ctx context.Context, db *DB, table string) (bool, error) {
	query := `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1)`
	if db.engine == postgresEngine {
		query = `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1)`
	}
	var there bool
	if err := db.QueryRowContext(ctx, query, table).Scan(&there); err != nil {
		return false, fmt.Errorf("look for table %s: %w", table, err)
	}
	return there, nil
}
