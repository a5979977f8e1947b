package subscription

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// Config is the configuration of the service. Default makes it.
type Config struct {
	// DB is the URL of the database, postgres:// or sqlite:. DBFile, if it is not
	// empty, is a file with the URL, which then takes the place of DB.
	DB, DBFile string
	// Issuer is the URL that tokens are issued under, the claim iss. It is fixed at
	// the first start.
	Issuer string
	// AdminPasswordFile holds the first administrator's password; it is needed at
	// the first start and not read later.
	AdminPasswordFile string
	// MasterKeyFile holds the key that signing keys are sealed with.
	MasterKeyFile string
	// Instance is the name of this process as a watcher of the catalog; every
	// replica has its own.
	Instance string
	// TokenLifetime is how long an application's access token lives.
	TokenLifetime time.Duration
	// UserTokenLifetime is how long a user's access token lives, 15 minutes at
	// most. A user whose access has ended keeps it that long where the subscription
	// service is not heard.
	UserTokenLifetime time.Duration
	// RefreshTokenLifetime is how long a sign-in lasts without being refreshed.
	RefreshTokenLifetime time.Duration
	// SignInLifetime is how long a sign-in lasts at most, however often it is
	// refreshed.
	SignInLifetime time.Duration
	// MaxApplications is how many applications a user may own, and MaxRecords how many
	// session records of one application are kept for an hour; 0 is no bound.
	MaxApplications, MaxRecords int
	// MaxRefusals is how many records of refused handshakes of one API and code are kept
	// for an hour; 0 is no bound.
	MaxRefusals int
	// MaxSignIns is how many sign-ins a user may have; with another, the one that was
	// refreshed longest ago ends. 0 is no bound.
	MaxSignIns int
	// SignInFailures is how many failed sign-ins in a row a name may have from one IPv4
	// address or IPv6 /64, and SignInFailuresPerName from all; 0 is no bound. After
	// that one sign-in is tried each SignInFailurePause, which also forgives one.
	SignInFailures, SignInFailuresPerName int
	SignInFailurePause                    time.Duration
	// SignUp says who may sign up: "off" for nobody, "open" for anybody, "approval" for
	// anybody whom an administrator approves then.
	SignUp string
	// SignInsWaiting bounds how many sign-ins wait for their password to be checked.
	SignInsWaiting token.Waiting
	// SigningKeyRotate is how long a signing key signs; 0 means for ever.
	SigningKeyRotate time.Duration
	// SigningKeyLead is how long a signing key is published before it signs.
	// Services may learn of a new key up to a second late; with a shorter lead they
	// refuse good tokens for a moment.
	SigningKeyLead time.Duration
	// AuditKeep is how long the audit log keeps changes, at least 7 days.
	AuditKeep time.Duration
	// RecordsKeep is how long records of sessions are kept.
	RecordsKeep time.Duration
	// RefusalsKeep is how long records of refused handshakes are kept.
	RefusalsKeep time.Duration
	// UsageMinutesKeep, UsageKeep and UsageDaysKeep are how long usage is kept by the
	// minute, by the hour and by the day.
	UsageMinutesKeep, UsageKeep, UsageDaysKeep time.Duration
	// GRPC configures the server that users and services call.
	GRPC grpcserver.Config
	// Catalog configures the connection to the catalog, where versions and plans
	// come from.
	Catalog grpcclient.Config
	// Ops configures the server of metrics and health.
	Ops ops.Config
	// Security says where security events are written.
	Security securitylog.Config
	// Metrics is the registry for metrics; nil means a new one.
	Metrics *prometheus.Registry

	prefix string
}

const (
	day = 24 * time.Hour
	// maxUserToken is the longest life of a user's token.
	maxUserToken = 15 * time.Minute
)

// signUpPolicies are what -sign-up may say.
var signUpPolicies = map[string]identityv1.SignUpPolicy_Policy{
	"off":      identityv1.SignUpPolicy_POLICY_OFF,
	"open":     identityv1.SignUpPolicy_POLICY_OPEN,
	"approval": identityv1.SignUpPolicy_POLICY_APPROVAL,
}

// Default returns the default configuration. Issuer and MasterKeyFile must be set as
// well.
func Default() Config {
	return Config{
		DB:                   "sqlite:subscription.db",
		Instance:             watch.HostInstance("subscription-", "subscription"),
		TokenLifetime:        time.Hour,
		UserTokenLifetime:    maxUserToken,
		RefreshTokenLifetime: 7 * day,
		SignInLifetime:       30 * day,
		MaxApplications:      1000, MaxRecords: 1000, MaxRefusals: 200,
		MaxSignIns:     100,
		SignInFailures: 10, SignInFailuresPerName: 100, SignInFailurePause: 30 * time.Second,
		SignUp:           "off",
		SignInsWaiting:   token.DefaultWaiting(),
		SigningKeyRotate: 30 * day,
		SigningKeyLead:   10 * time.Minute,
		AuditKeep:        365 * day,
		RecordsKeep:      90 * day,
		RefusalsKeep:     7 * day,
		UsageMinutesKeep: 2 * day,
		UsageKeep:        400 * day,
		GRPC:             grpcserver.Default("127.0.0.1:9192", "127.0.0.1:9292"),
		Catalog:          grpcclient.Default(identity.Catalog, "127.0.0.1:9291"),
		Ops:              ops.Default(),
	}
}

// Flags registers the options, each name after prefix. Their defaults are what the
// Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	sqldb.Flags(fs, prefix, &c.DB, &c.DBFile)
	fs.StringVar(&c.Issuer, prefix+"issuer", c.Issuer, "https `URL` of the OAuth2 endpoints, without a trailing slash; fixed at the first start")
	fs.StringVar(&c.AdminPasswordFile, prefix+"admin-password-file", c.AdminPasswordFile,
		"`file` with the password of the first administrator, admin, 12 to 128 characters; required at the first start, not read later")
	fs.StringVar(&c.MasterKeyFile, prefix+"master-key-file", c.MasterKeyFile, "`file` with the installation's master key, which seals the signing keys")
	watch.InstanceFlag(fs, prefix, &c.Instance, "subscription-", "`name` of this replica, unique among the catalog's watchers")
	fs.DurationVar(&c.TokenLifetime, prefix+"token-lifetime", c.TokenLifetime, "how `long` access tokens of applications are valid")
	fs.DurationVar(&c.UserTokenLifetime, prefix+"user-token-lifetime", c.UserTokenLifetime,
		"how `long` access tokens of users are valid, at most 15m; where this service is not heard, a deleted user keeps access that long")
	fs.DurationVar(&c.RefreshTokenLifetime, prefix+"refresh-token-lifetime", c.RefreshTokenLifetime, "how `long` a sign-in lasts after its last refresh")
	fs.DurationVar(&c.SignInLifetime, prefix+"sign-in-lifetime", c.SignInLifetime, "how `long` a sign-in lasts at most, however often it is refreshed")
	fs.IntVar(&c.MaxApplications, prefix+"max-applications", c.MaxApplications,
		"`number` of applications that a user may own; 0 for no limit")
	fs.IntVar(&c.MaxRecords, prefix+"max-records", c.MaxRecords,
		"`number` of session records of one application that are kept for an hour, and the rest counted; 0 for no limit")
	fs.IntVar(&c.MaxRefusals, prefix+"max-refusals", c.MaxRefusals,
		"`number` of records of refused handshakes of one API and code that are kept for an hour, and the rest counted; 0 for no limit")
	fs.IntVar(&c.MaxSignIns, prefix+"max-sign-ins", c.MaxSignIns,
		"`number` of sign-ins that a user may have; with another, the one refreshed longest ago ends; 0 for no limit")
	fs.IntVar(&c.SignInFailures, prefix+"sign-in-failures", c.SignInFailures,
		"`number` of failed sign-ins in a row of a name from one IPv4 address or IPv6 /64; 0 for no limit")
	fs.IntVar(&c.SignInFailuresPerName, prefix+"sign-in-failures-per-name", c.SignInFailuresPerName,
		"`number` of failed sign-ins in a row of a name from all addresses; 0 for no limit")
	fs.DurationVar(&c.SignInFailurePause, prefix+"sign-in-failure-pause", c.SignInFailurePause,
		"`time` between sign-ins after too many failures, which also forgives one")
	fs.IntVar(&c.SignInsWaiting.All, prefix+"sign-ins-waiting", c.SignInsWaiting.All,
		"`number` of sign-ins that wait for their password to be checked; further ones are refused; 0 for no limit")
	fs.IntVar(&c.SignInsWaiting.Each, prefix+"sign-ins-waiting-each", c.SignInsWaiting.Each,
		"`number` of them that may come from one IPv4 address or IPv6 /64; 0 for no limit")
	fs.StringVar(&c.SignUp, prefix+"sign-up", c.SignUp,
		"`who` may sign up: off for nobody, open for anybody, approval for anybody whom an administrator approves then")
	fs.DurationVar(&c.SigningKeyRotate, prefix+"signing-key-rotate", c.SigningKeyRotate, "how `long` a signing key is used to sign; 0 for ever")
	fs.DurationVar(&c.SigningKeyLead, prefix+"signing-key-lead", c.SigningKeyLead, "how `long` a signing key is published before it signs")
	fs.DurationVar(&c.AuditKeep, prefix+"audit-keep", c.AuditKeep, "how `long` changes are kept as the audit log, at least 168h; 0 for ever")
	fs.DurationVar(&c.RecordsKeep, prefix+"records-keep", c.RecordsKeep, "how `long` session records are kept; 0 for ever")
	fs.DurationVar(&c.RefusalsKeep, prefix+"refusals-keep", c.RefusalsKeep, "how `long` records of refused handshakes are kept; 0 for ever")
	fs.DurationVar(&c.UsageMinutesKeep, prefix+"usage-minutes-keep", c.UsageMinutesKeep, "how `long` usage is kept by the minute, at least 1h; 0 for ever")
	fs.DurationVar(&c.UsageKeep, prefix+"usage-keep", c.UsageKeep, "how `long` usage is kept by the hour, at least as long as by the minute; 0 for ever")
	fs.DurationVar(&c.UsageDaysKeep, prefix+"usage-days-keep", c.UsageDaysKeep, "how `long` usage is kept by the day, at least as long as by the hour; 0 for ever")
	c.GRPC.Flags(fs, prefix)
	c.Catalog.Flags(fs, prefix)
	c.Ops.Flags(fs, prefix)
	c.Security.Flags(fs, prefix)
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	fail := func(flag, format string, a ...any) {
		wrong = append(wrong, fmt.Errorf("-%s%s: %w", c.prefix, flag, fmt.Errorf(format, a...)))
	}
	if _, err := c.Database(); err != nil {
		wrong = append(wrong, err)
	}
	if err := checkIssuer(c.Issuer); err != nil {
		fail("issuer", "%w", err)
	}
	if c.MasterKeyFile == "" {
		fail("master-key-file", "a file is needed")
	}
	if signUpPolicies[c.SignUp] == 0 {
		fail("sign-up", "must be off, open or approval")
	}
	if err := watch.CheckInstance(c.Instance); err != nil {
		fail("instance", "%w", err)
	}
	for _, d := range []struct {
		flag           string
		value, min, to time.Duration
		orNone         bool // 0 is no bound
	}{
		{"token-lifetime", c.TokenLifetime, time.Second, 30 * day, false},
		{"user-token-lifetime", c.UserTokenLifetime, time.Second, maxUserToken, false},
		{"refresh-token-lifetime", c.RefreshTokenLifetime, c.UserTokenLifetime, 366 * day, false},
		{"sign-in-lifetime", c.SignInLifetime, c.UserTokenLifetime, 366 * day, false},
		{"sign-in-failure-pause", c.SignInFailurePause, time.Second, day, false},
		{"audit-keep", c.AuditKeep, change.Retention, 0, true},
		{"records-keep", c.RecordsKeep, time.Hour, 0, true},
		{"refusals-keep", c.RefusalsKeep, time.Hour, 0, true},
		{"usage-minutes-keep", c.UsageMinutesKeep, time.Hour, 0, true},
		{"usage-keep", c.UsageKeep, day, 0, true},
		{"usage-days-keep", c.UsageDaysKeep, day, 0, true},
	} {
		switch {
		case d.orNone && d.value == 0:
		case d.orNone && d.value < d.min:
			fail(d.flag, "must be 0, or at least %s", d.min)
		case d.value < d.min:
			fail(d.flag, "must be at least %s", d.min)
		case d.to > 0 && d.value > d.to:
			fail(d.flag, "must be at most %s", d.to)
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"sign-ins-waiting", c.SignInsWaiting.All}, {"sign-ins-waiting-each", c.SignInsWaiting.Each},
		{"max-sign-ins", c.MaxSignIns}, {"max-applications", c.MaxApplications}, {"max-records", c.MaxRecords}, {"max-refusals", c.MaxRefusals},
		{"sign-in-failures", c.SignInFailures}, {"sign-in-failures-per-name", c.SignInFailuresPerName},
	} {
		if n.value < 0 {
			fail(n.flag, "must not be negative; 0 is no limit")
		}
	}
	c.checkSigningKeys(fail)
	c.checkUsage(fail)
	return errors.Join(append(wrong, c.GRPC.Check(), c.Catalog.Check(), c.Ops.Check())...)
}

// checkUsage calls fail with a flag and what would be right: days hold what hours sum up,
// and hours what minutes do.
func (c *Config) checkUsage(fail func(flag, format string, a ...any)) {
	shorter := func(keep, than time.Duration) bool { return keep != 0 && (than == 0 || keep < than) }
	if shorter(c.UsageKeep, c.UsageMinutesKeep) {
		fail("usage-keep", "must be 0, or at least as long as -%susage-minutes-keep", c.prefix)
	}
	if shorter(c.UsageDaysKeep, c.UsageKeep) {
		fail("usage-days-keep", "must be 0, or at least as long as -%susage-keep", c.prefix)
	}
}

// checkSigningKeys calls fail with a flag and what would be right.
func (c *Config) checkSigningKeys(fail func(flag, format string, a ...any)) {
	if c.SigningKeyLead <= 0 {
		fail("signing-key-lead", "must be more than 0, or tokens would be signed with a key that nobody knows yet")
	}
	if c.SigningKeyRotate < 0 || c.SigningKeyRotate > 0 && c.SigningKeyRotate <= c.SigningKeyLead {
		fail("signing-key-rotate", "must be 0, or longer than -%ssigning-key-lead", c.prefix)
	}
}

// Database returns the URL of the database, from DBFile if there is one.
func (c *Config) Database() (string, error) { return sqldb.URL(c.prefix, c.DB, c.DBFile) }

// checkIssuer checks the form of an issuer (RFC 8414 section 2).
func checkIssuer(issuer string) error {
	if issuer == "" {
		return errors.New("a URL is needed, such as https://tidegate.example.com")
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(issuer, "?# \t\r\n") || strings.HasSuffix(issuer, "/") {
		return fmt.Errorf("%q is not an https URL without user, query, fragment and a slash at its end", issuer)
	}
	return nil
}
