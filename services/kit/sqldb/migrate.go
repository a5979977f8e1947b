package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Schema is what a service keeps in its database.
type Schema struct {
	// Service is the service that owns the database, such as "catalog".
	Service string
	// Parts are applied in order.
	Parts []Part
}

// Part is the set of tables that one package owns: the service's store, or a
// package of kit that uses the service's database. Each part has a version of its
// own.
type Part struct {
	// Name tells the parts of a schema apart; the part's version is kept in the
	// table {Name}_schema_version.
	Name string
	// Files has a folder "migrations" with numbered *.sql files in goose's format.
	Files fs.FS
}

// Check reports two files of a part with one number, which Migrate refuses, too.
func (s Schema) Check() error {
	for _, part := range s.Parts {
		files, err := fs.Glob(part.Files, "migrations/*.sql")
		if err != nil {
			return fmt.Errorf("read migrations of %s: %w", part.Name, err)
		}
		of := make(map[int64]string)
		for _, file := range files {
			number, err := goose.NumericComponent(file)
			if err != nil {
				return fmt.Errorf("read migrations of %s: %s: %w", part.Name, path.Base(file), err)
			}
			if other, ok := of[number]; ok {
				return fmt.Errorf("migrations of %s: %s and %s have one number: give one of them another", part.Name, path.Base(other), path.Base(file))
			}
			of[number] = file
		}
	}
	return nil
}

// versionTable is where goose keeps the part's version.
func (p Part) versionTable() string { return p.Name + "_schema_version" }

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

// CheckSchema reports why OpenSchema would refuse the database at url: it cannot be
// opened, belongs to another service, has a newer schema, or is from a release that
// cannot be upgraded. It changes nothing in an existing database.
func CheckSchema(ctx context.Context, url string, schema Schema) error {
	db, err := Open(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := inspect(ctx, db, schema); err != nil {
		return migrateProblem(ctx, "check database", err)
	}
	return nil
}

// Migrate claims the database for the service and brings every part of the schema
// up to its newest file. Several replicas may do so at once. It refuses a database
// of another service, a schema that is newer than the files, and one from a release
// that cannot be upgraded.
func Migrate(ctx context.Context, db *DB, schema Schema) error {
	err := migrate(ctx, db, schema)
	if err != nil && !isRefusal(err) && ctx.Err() == nil {
		// Replicas that start at once may collide when they create the tables of
		// owner and versions: try once more.
		err = migrate(ctx, db, schema)
	}
	if err != nil {
		return migrateProblem(ctx, "migrate database", err)
	}
	return nil
}

// refusal says why Migrate refuses a sound database.
type refusal string

// Error returns the reason.
func (r refusal) Error() string { return string(r) }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

func migrate(ctx context.Context, db *DB, schema Schema) error {
	if err := inspect(ctx, db, schema); err != nil {
		return err
	}
	if err := claim(ctx, db, schema.Service); err != nil {
		return err
	}
	for _, part := range schema.Parts {
		p, err := provider(db, part)
		if err != nil {
			return err
		}
		if _, err := p.Up(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inspect refuses what Migrate refuses. It writes nothing.
func inspect(ctx context.Context, db *DB, schema Schema) error {
	if err := schema.Check(); err != nil {
		return err
	}
	// Releases that cannot be upgraded used goose's default table.
	old, err := HasTable(ctx, db, goose.DefaultTablename)
	if err != nil {
		return err
	}
	if old {
		return refusal("this database is from an older release and cannot be upgraded: " +
			"move the data folder (on Postgres, the schema) away and start with an empty one")
	}
	owner, err := ownerOf(ctx, db)
	if err != nil {
		return err
	}
	if err := refuseOwner(owner, schema.Service); err != nil {
		return err
	}
	for _, part := range schema.Parts {
		if err := refuseNewer(ctx, db, part); err != nil {
			return err
		}
	}
	return nil
}

// refuseNewer refuses a part whose version is newer than its files.
func refuseNewer(ctx context.Context, db *DB, part Part) error {
	p, err := provider(db, part)
	if err != nil {
		return err
	}
	has, err := versionOf(ctx, db, part)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	if knows := sources[len(sources)-1].Version; has > knows {
		return refusal(fmt.Sprintf("the %s schema of this database is version %d and this build knows up to %d: start a newer build",
			part.Name, has, knows))
	}
	return nil
}

func provider(db *DB, part Part) (*goose.Provider, error) {
	files, err := fs.Sub(part.Files, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations of %s: %w", part.Name, err)
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName(part.versionTable())}
	dialect := goose.DialectSQLite3
	if db.engine == postgresEngine {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, fmt.Errorf("make lock: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.write, files, opts...)
	if err != nil {
		return nil, fmt.Errorf("read migrations of %s: %w", part.Name, err)
	}
	return p, nil
}

// migrateProblem returns the cause in one line: the engine's code if it has one.
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
