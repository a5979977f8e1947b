package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Schema is what a service keeps in its database.
type Schema struct {
	// Service is whose database it is, as "catalog".
	Service string
	// Table is one that this service has from its first step on and no other
	// does: databases from before owners were written down are known by it.
	Table string
	// Files has *.sql at its root, numbered and with goose's marks.
	Files fs.FS
}

// OpenSchema opens the database at url and migrates it.
func OpenSchema(ctx context.Context, url string, schema Schema) (*DB, error) {
	db, err := Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := Migrate(ctx, db, schema); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// CheckSchema reports why OpenSchema would refuse the database at url: it cannot
// be opened, is another service's, or its schema is newer. It changes nothing
// in a database that is there.
func CheckSchema(ctx context.Context, url string, schema Schema) error {
	db, err := Open(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := provider(db, schema.Files)
	if err != nil {
		return err
	}
	if err := inspect(ctx, db, schema, p); err != nil {
		return migrateProblem(ctx, "check database", err)
	}
	return nil
}

// Migrate makes the database the service's and brings the schema up to the
// newest of its files. Several replicas may do so at once. A database of another
// service and a schema that is newer than the files are refused.
func Migrate(ctx context.Context, db *DB, schema Schema) error {
	err := migrate(ctx, db, schema)
	if err != nil && !isRefusal(err) && ctx.Err() == nil {
		// Replicas that start at once may collide on the tables of owners and
		// versions.
		err = migrate(ctx, db, schema)
	}
	if err != nil {
		return migrateProblem(ctx, "migrate database", err)
	}
	return nil
}

// refusal says why a sound database is not migrated.
type refusal string

// Error returns the reason.
func (r refusal) Error() string { return string(r) }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

func migrate(ctx context.Context, db *DB, schema Schema) error {
	p, err := provider(db, schema.Files)
	if err != nil {
		return err
	}
	if err := inspect(ctx, db, schema, p); err != nil {
		return err
	}
	if err := claim(ctx, db, schema.Service); err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// inspect refuses what Migrate refuses and writes nothing.
func inspect(ctx context.Context, db *DB, schema Schema, p *goose.Provider) error {
	owner, err := ownerOf(ctx, db)
	if err != nil {
		return err
	}
	has, err := versionOf(ctx, db)
	if err != nil {
		return err
	}
	if owner == "" && has > 0 && schema.Table != "" {
		known, err := HasTable(ctx, db, schema.Table)
		if err != nil {
			return err
		}
		if !known {
			return refusal("this database belongs to another service")
		}
	}
	if err := refuseOwner(owner, schema.Service); err != nil {
		return err
	}
	sources := p.ListSources()
	if knows := sources[len(sources)-1].Version; has > knows {
		return refusal(fmt.Sprintf("the schema of this database is version %d and this build knows up to %d: start a newer build", has, knows))
	}
	return nil
}

func provider(db *DB, files fs.FS) (*goose.Provider, error) {
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if db.engine == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, fmt.Errorf("make lock: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.write, files, opts...)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// migrateProblem is the cause in one line: the engine's code where it has one.
func migrateProblem(ctx context.Context, doing string, err error) error {
	if isRefusal(err) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	var partial *goose.PartialError
	if errors.As(err, &partial) && partial.Failed != nil {
		doing += ": step " + partial.Failed.Source.Path
	}
	switch {
	case sqliteCode(err) != 0:
		return fmt.Errorf("%s: %s", doing, sqliteProblem(err))
	case pgCode(err) != "":
		return fmt.Errorf("%s: the server answers with SQLSTATE %s", doing, pgCode(err))
	}
	return fmt.Errorf("%s: %s", doing, oneLine(err))
}
