package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate brings the schema up to the newest of files, which has *.sql at its
// root, numbered and with goose's marks. Several replicas may do so at once. A
// schema that is newer than files is refused.
func Migrate(ctx context.Context, db *DB, files fs.FS) error {
	err := migrate(ctx, db, files)
	var newer *newerError
	if err != nil && !errors.As(err, &newer) && ctx.Err() == nil {
		// Replicas that start at once may collide on the table of versions.
		err = migrate(ctx, db, files)
	}
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// IsNewer reports whether Migrate refused a schema that is newer than its files.
func IsNewer(err error) bool {
	var newer *newerError
	return errors.As(err, &newer)
}

// newerError says that an older build meets a newer schema.
type newerError struct{ has, knows int64 }

// Error says what to do.
func (e *newerError) Error() string {
	return fmt.Sprintf("its schema is version %d and this build knows up to %d: start a newer build", e.has, e.knows)
}

func migrate(ctx context.Context, db *DB, files fs.FS) error {
	p, err := provider(db, files)
	if err != nil {
		return err
	}
	has, knows, err := p.GetVersions(ctx)
	if err != nil {
		return migrateProblem(err)
	}
	if has > knows {
		return &newerError{has: has, knows: knows}
	}
	if _, err := p.Up(ctx); err != nil {
		return migrateProblem(err)
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
func migrateProblem(err error) error {
	step := ""
	var partial *goose.PartialError
	if errors.As(err, &partial) && partial.Failed != nil {
		step = fmt.Sprintf("step %s: ", partial.Failed.Source.Path)
	}
	switch {
	case sqliteCode(err) != 0:
		return errors.New(step + sqliteProblem(err))
	case pgCode(err) != "":
		return fmt.Errorf("%sthe server answers with SQLSTATE %s", step, pgCode(err))
	}
	return errors.New(step + oneLine(err))
}
