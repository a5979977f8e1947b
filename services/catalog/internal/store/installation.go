package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// NameInstallation gives the installation the name that it has in Via and CDN-Loop,
// unless it has one. It keeps that for good, with the database.
func (s *Store) NameInstallation(ctx context.Context) error {
	name := "tidegate-" + strings.ToLower(rand.Text())
	_, err := s.db.ExecContext(ctx, `INSERT INTO installation (one, name) VALUES (1, $1) ON CONFLICT (one) DO NOTHING`, name)
	if err != nil {
		return fmt.Errorf("name the installation: %w", err)
	}
	return nil
}

func readInstallation(ctx context.Context, q sqldb.Querier) (name string, err error) {
	if err := q.QueryRowContext(ctx, `SELECT name FROM installation WHERE one = 1`).Scan(&name); err != nil {
		return "", fmt.Errorf("read the installation's name: %w", err)
	}
	return name, nil
}
