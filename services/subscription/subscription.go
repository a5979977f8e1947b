// Package subscription is the service that knows who may use what: users and their
// roles, applications with their OAuth clients and subscriptions, the tokens that
// it issues to both, and what went through gateways. It judges credentials for
// gateways and tells them when a verdict changes. Versions and plans belong to the
// catalog; the service follows its watch.
package subscription

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/securityevents"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CheckDatabase reports why the service would refuse its database. It changes
// nothing in it.
func CheckDatabase(ctx context.Context, cfg Config) error {
	url, err := cfg.Database()
	if err != nil {
		return err
	}
	return sqldb.CheckSchema(ctx, url, store.Schema())
}

// Run serves users, subscriptions and credentials until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Check(); err != nil {
		return run.Misconfigured(err)
	}
	master, err := seal.Load(cfg.MasterKeyFile)
	if err != nil {
		return err
	}
	security, err := cfg.Security.Open(log)
	if err != nil {
		return err
	}
	defer cfg.Security.Close(security)
	db, err := openDatabase(ctx, &cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	changes := change.NewLog(identity.Subscription, db, log, time.Now, cfg.AuditKeep)
	changes.Describe(api.Resource)
	st := store.New(db, changes, time.Now)
	st.Bound(store.Bounds{Applications: cfg.MaxApplications, Records: cfg.MaxRecords, Refusals: cfg.MaxRefusals, SecurityEvents: maxSecurityEvents})
	st.Keep(store.Retention{
		Records: cfg.RecordsKeep, Refusals: cfg.RefusalsKeep,
		UsageMinutes: cfg.UsageMinutesKeep, Usage: cfg.UsageKeep, UsageDays: cfg.UsageDaysKeep,
	})
	events, stop := keepEvents(ctx, security, st, log)
	defer stop()
	rules, err := password.NewRules()
	if err != nil {
		return err
	}
	passwords := token.NewPasswords(cfg.SignInsWaiting)
	refreshTokens, err := install(ctx, cfg, st, master, passwords, rules, log)
	if err != nil {
		return err
	}
	lives := token.Lifetimes{Application: cfg.TokenLifetime, User: cfg.UserTokenLifetime}
	keys, identities, keeper, err := openKeys(ctx, cfg, st, master, lives, log)
	if err != nil {
		return err
	}
	run.OnReload(ctx, security.Reopen)
	run.OnReload(ctx, func() error { return keeper.Reload(ctx) })
	catalog, err := cfg.Catalog.Dial()
	if err != nil {
		return err
	}
	defer cfg.Catalog.Close(catalog)
	hello := &backplanev1.Hello{Instance: cfg.Instance, Kind: "subscription", Build: run.Version()}
	watch := catalogwatch.New(backplanev1.NewRouteServiceClient(catalog), st, hello, log, time.Now)
	issuer := token.NewIssuer(cfg.Issuer, keys, lives, time.Now)
	srv, operations := servers(ctx, cfg, db, api.Parts{
		Store: st, Changes: changes, Issuer: issuer, Keys: keys, IdentityKeys: identities, Passwords: passwords, PasswordRules: rules, Catalog: watch,
		RefreshTokens: refreshTokens, SignIns: store.Lasting{Idle: cfg.RefreshTokenLifetime, Most: cfg.SignInLifetime, Alive: cfg.MaxSignIns},
		Lockout: store.Lockout{Each: cfg.SignInFailures, Name: cfg.SignInFailuresPerName, Pause: cfg.SignInFailurePause},
		SignUps: signUpPolicies[cfg.SignUp], Now: time.Now, Log: log, Security: security,
	}, identity.NewVerifier(issuer.Keys(), st, time.Now), log)
	purge := func(ctx context.Context) error { return purge(ctx, st, security, log) }
	compare := func(ctx context.Context) error { return compare(ctx, st, watch.Heard(), log) }
	return run.Group(ctx, security.Run, events.Run, keeper.Run, compare, changes.Run, keys.Run, identities.Run, watch.Run, purge, srv.Run, operations.Run)
}

// maxSecurityEvents is how many security events of a kind are kept.
const maxSecurityEvents = 50000

// keepEvents has the lines of the security log kept in the store, which the keeper's Run
// does. stop ends that after Run has ended, and writes those that wait.
func keepEvents(ctx context.Context, security *securitylog.Log, st *store.Store, log *slog.Logger) (events *securityevents.Keeper, stop func()) {
	events = securityevents.New(st.AddSecurityEvents, log)
	security.Tell(events.Add)
	return events, func() {
		security.Tell(nil)
		if err := events.Flush(ctx); err != nil {
			log.WarnContext(ctx, "the last security events are not stored; the log has them", "error", err)
		}
	}
}

// openDatabase opens the database, and observes it in cfg.Metrics, which it makes where
// there are none.
func openDatabase(ctx context.Context, cfg *Config, log *slog.Logger) (*sqldb.DB, error) {
	if cfg.Metrics == nil {
		cfg.Metrics = ops.NewRegistry()
	}
	url, err := cfg.Database()
	if err != nil {
		return nil, run.Misconfigured(err)
	}
	db, err := sqldb.OpenSchema(ctx, url, store.Schema())
	if err != nil {
		return nil, fmt.Errorf("-%sdb: %w", cfg.prefix, err)
	}
	if err := db.Observe(identity.Subscription, log, cfg.Metrics); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openKeys reads the signing keys, of access tokens and of what backends are told, and
// returns them with the keeper of the master key, which has sealed again what was stale.
func openKeys(ctx context.Context, cfg Config, st *store.Store, master *seal.Key, lives token.Lifetimes, log *slog.Logger) (keys, identities *token.Keys, keeper *seal.Keeper, err error) {
	rotation := token.Rotation{Every: cfg.SigningKeyRotate, Lead: cfg.SigningKeyLead, MaxLifetime: lives.Longest()}
	keys = token.NewKeys(st, master, rotation, time.Now, log)
	rotation.Of, rotation.MaxLifetime = store.BackendIdentity, token.BackendIdentityLifetime
	identities = token.NewKeys(st, master, rotation, time.Now, log)
	keeper = seal.NewKeeper(master, sealed(st, master, keys, identities), log)
	if err := keeper.Start(ctx); err != nil {
		return nil, nil, nil, err
	}
	return keys, identities, keeper, errors.Join(keys.Start(ctx), identities.Start(ctx), cfg.Metrics.Register(keeper.Metrics()))
}

// servers makes the gRPC server of the APIs and the server of metrics and health.
func servers(ctx context.Context, cfg Config, db *sqldb.DB, parts api.Parts, verifier *identity.Verifier, log *slog.Logger) (*grpcserver.Server, *ops.Server) {
	srv := grpcserver.New(cfg.GRPC, log, grpcserver.Auth{Verifier: verifier, Rules: api.Rules(), Security: parts.Security}, validate.Option(), grpcserver.WithMetrics(cfg.Metrics), grpcserver.WithClassify(sqldb.Fault))
	api.Register(parts, srv.Public(), srv.Internal())
	ready := func() error { return cmp.Or(db.Ping(ctx), ops.Degraded(db.Writable())) }
	return srv, ops.New(cfg.Ops, log, cfg.Metrics, ready)
}

// purgeEvery is how often expired rows are deleted.
const purgeEvery = 10 * time.Minute

// purge deletes expired rows, and users who have waited too long for approval, every
// purgeEvery until ctx ends.
func purge(ctx context.Context, st *store.Store, security *securitylog.Log, log *slog.Logger) error {
	purging := retry.NewStreak(log, slog.LevelWarn, "old rows not deleted")
	for {
		names, err := st.PurgePending(ctx)
		for _, name := range names {
			security.Write(ctx, securitylog.Event{
				Kind: securitylog.UserChanged, Who: "services/" + identity.Subscription, What: name, Why: "deleted: nobody approved the sign-up in 30 days",
			})
		}
		purging.Note(ctx, errors.Join(err, st.Purge(ctx)))
		if !retry.Sleep(ctx, purgeEvery) {
			return nil
		}
	}
}
