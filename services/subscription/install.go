package subscription

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// maxPasswordFile is the size of the largest file of a password, in bytes.
const maxPasswordFile = 4 << 10

// canary is a known text, sealed at the first start: whoever can open it has the
// right master key.
const canary = "tidegate subscription"

// The purposes that the canary and the key of refresh tokens are sealed for.
const (
	canaryContext     = "subscription canary"
	refreshKeyContext = "subscription refresh key"
)

// install fixes the issuer and adds the first administrator at the first start; at
// later starts it checks that the issuer and the master key are still the same. It
// returns the refresh tokens of the installation.
func install(ctx context.Context, cfg Config, st *store.Store, master *seal.Key, passwords *token.Passwords, rules *password.Rules, log *slog.Logger) (*token.RefreshTokens, error) {
	found, known, err := st.Installation(ctx)
	if err != nil {
		return nil, err
	}
	if !known {
		if err := firstStart(ctx, cfg, st, master, passwords, rules); err != nil {
			return nil, err
		}
		// Another replica may have been first.
		if found, _, err = st.Installation(ctx); err != nil {
			return nil, err
		}
		log.Info("installation made", "issuer", found.Issuer, "administrator", store.AdministratorName)
	}
	if err := refuse(cfg, master, found); err != nil {
		return nil, err
	}
	refreshKey, err := master.Open(found.RefreshKey, []byte(refreshKeyContext))
	if err != nil {
		return nil, fmt.Errorf("read the key of refresh tokens: %w", err)
	}
	return token.NewRefreshTokens(refreshKey), nil
}

// sealed is what the service has sealed: what the first start fixed, and the signing
// keys.
func sealed(st *store.Store, master *seal.Key, keys ...*token.Keys) seal.Stored {
	return seal.Stored{Service: identity.Subscription, Reseal: func(ctx context.Context) (int, error) {
		all, err := reseal(ctx, st, master)
		for _, k := range keys {
			if err != nil {
				break
			}
			var n int
			n, err = k.Reseal(ctx)
			all += n
		}
		return all, err
	}}
}

// reseal seals what the first start fixed with the first master key of the file, and
// returns how many values were not.
func reseal(ctx context.Context, st *store.Store, master *seal.Key) (int, error) {
	found, _, err := st.Installation(ctx)
	if err != nil || !master.Stale(found.Canary) && !master.Stale(found.RefreshKey) {
		return 0, err
	}
	refreshKey, err := master.Open(found.RefreshKey, []byte(refreshKeyContext))
	if err != nil {
		return 0, fmt.Errorf("read the key of refresh tokens: %w", err)
	}
	sealed := installation(found.Issuer, master, refreshKey)
	return 2, st.Reseal(ctx, sealed.Canary, sealed.RefreshKey)
}

// installation returns what the first start fixes.
func installation(issuer string, master *seal.Key, refreshKey []byte) store.Installation {
	return store.Installation{
		Issuer:     issuer,
		Canary:     master.Seal([]byte(canary), []byte(canaryContext)),
		RefreshKey: master.Seal(refreshKey, []byte(refreshKeyContext)),
	}
}

// refuse returns why the service cannot continue with an installation, or nil.
func refuse(cfg Config, master *seal.Key, found store.Installation) error {
	if plain, err := master.Open(found.Canary, []byte(canaryContext)); err != nil || !bytes.Equal(plain, []byte(canary)) {
		return fmt.Errorf("-%smaster-key-file: %s does not have the master key that this database was made with", cfg.prefix, cfg.MasterKeyFile)
	}
	if found.Issuer != cfg.Issuer {
		return fmt.Errorf("-%sissuer: the issuer was fixed at the first start as %s and cannot become %s", cfg.prefix, found.Issuer, cfg.Issuer)
	}
	return nil
}

// CheckInstallation reports why the service would refuse the installation in its
// database, if there is one: its issuer or its master key differs. Call it for a
// database that CheckDatabase accepts.
func CheckInstallation(ctx context.Context, cfg Config) error {
	master, err := seal.Load(cfg.MasterKeyFile)
	if err != nil {
		return err
	}
	url, err := cfg.Database()
	if err != nil {
		return err
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	made, err := sqldb.HasTable(ctx, db, "installation")
	if err != nil || !made {
		return err
	}
	found, known, err := store.New(db, nil, time.Now).Installation(ctx)
	if err != nil || !known {
		return err
	}
	return refuse(cfg, master, found)
}

func firstStart(ctx context.Context, cfg Config, st *store.Store, master *seal.Key, passwords *token.Passwords, rules *password.Rules) error {
	if cfg.AdminPasswordFile == "" {
		return fmt.Errorf("-%sadmin-password-file: at the first start a file with the administrator's password is needed", cfg.prefix)
	}
	chosen, err := readPassword(cfg.AdminPasswordFile)
	if err != nil {
		return fmt.Errorf("-%sadmin-password-file: %w", cfg.prefix, err)
	}
	if err := rules.Check(chosen, store.AdministratorName); err != nil {
		return fmt.Errorf("-%sadmin-password-file: the password %w", cfg.prefix, err)
	}
	slot, err := passwords.Acquire(ctx, token.Place{})
	if err != nil {
		return err
	}
	hash := slot.Hash(chosen)
	slot.Release()
	return st.Install(ctx, installation(cfg.Issuer, master, token.NewRefreshKey()), hash)
}

// HoldsAdminPassword reports whether the file of the first administrator's password still
// has the administrator's password. It asks the database, so that nothing is counted as a
// failed sign-in. A file that is gone is no error. Call it once the service runs.
func HoldsAdminPassword(ctx context.Context, cfg Config) (bool, error) {
	chosen, err := readPassword(cfg.AdminPasswordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	url, err := cfg.Database()
	if err != nil {
		return false, err
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return false, err
	}
	defer db.Close()
	u, hash, known, err := store.New(db, nil, time.Now).Password(ctx, store.AdministratorName)
	if err != nil || !known || hash == "" || u.State != store.UserActive {
		return false, err
	}
	slot, err := token.NewPasswords(token.DefaultWaiting()).Acquire(ctx, token.Place{})
	if err != nil {
		return false, err
	}
	defer slot.Release()
	return slot.Matches(hash, chosen), nil
}

// readPassword reads a password; a line end after it is not part of it.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordFile))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
