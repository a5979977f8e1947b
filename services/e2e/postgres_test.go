package e2e

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// onPostgres starts a Tidegate on two Postgres databases, without the sample.
func onPostgres(t *testing.T) *Stack {
	args := append(quick(), "-no-sample", "-catalog.db", testdb.PostgresURL(t), "-subscription.db", testdb.PostgresURL(t))
	return start(t, newData(t), args...).Stack
}
