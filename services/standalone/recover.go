package standalone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// Recovery says whose access to recover, and in which database.
type Recovery struct {
	// Data is the data folder of a server on SQLite. DB, or the content of the file
	// DBFile, is the URL of the subscription service's database elsewhere.
	Data, DB, DBFile string
	// Username is whose, and Password the user's new password.
	Username, Password string
}

// Recover makes a user an administrator who can sign in, whether the server runs or
// not. Its errors name the flags of the command tidegate admin recover.
func Recover(ctx context.Context, r Recovery) error {
	database := "sqlite:" + filepath.Join(r.Data, subscriptionDB)
	flag := "--data"
	if r.DB != "" || r.DBFile != "" {
		var err error
		if database, err = sqldb.URL("-", r.DB, r.DBFile); err != nil {
			return err
		}
		flag = "--db"
	}
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is no file %s: give --data, the folder that the server has, or --db", flag, path)
		}
	}
	return subscription.Recover(ctx, database, r.Username, r.Password)
}
