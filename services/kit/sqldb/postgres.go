package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// How long a Postgres server may take: to connect, where the URL does not say, and
// to start, at Open.
const (
	connectTimeout = 10 * time.Second
	startTimeout   = 30 * time.Second
	startPause     = 500 * time.Millisecond
)

// connections is the size of a pool whose URL does not say.
const connections = 10

func parsePostgres(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("not a valid postgres:// URL")
	}
	if !strings.Contains(url, "pool_max_conns=") {
		cfg.MaxConns = connections
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	if _, ok := cfg.ConnConfig.RuntimeParams["application_name"]; !ok {
		cfg.ConnConfig.RuntimeParams["application_name"] = "tidegate"
	}
	return cfg, nil
}

func openPostgres(ctx context.Context, url string) (*DB, error) {
	cfg, err := parsePostgres(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	where := net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port)))
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database at %s: %s", where, postgresProblem(err, cfg))
	}
	if err := firstPing(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database at %s: %s", where, postgresProblem(err, cfg))
	}
	std := stdlib.OpenDBFromPool(pool)
	return &DB{engine: postgresEngine, write: std, read: std, close: pool.Close, listener: cfg.ConnConfig}, nil
}

// firstPing connects, and waits for a server that is still starting.
func firstPing(ctx context.Context, pool *pgxpool.Pool) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, connectTimeout)
		err := pool.Ping(try)
		cancel()
		if pgCode(err) != pgStarting || !retry.Sleep(starting, startPause) {
			return err
		}
	}
}

// postgresProblem says in words why a server cannot be used.
func postgresProblem(err error, cfg *pgxpool.Config) string {
	user, database := cfg.ConnConfig.User, cfg.ConnConfig.Database
	switch pgCode(err) {
	case pgBadPassword:
		return fmt.Sprintf("the password of user %q is refused", user)
	case pgBadAuthorization:
		return fmt.Sprintf("user %q may not connect", user)
	case pgNoDatabase:
		return fmt.Sprintf("there is no database %q", database)
	case pgTooMany:
		return "the server has no connection left"
	case pgStarting:
		return "the server is still starting"
	case "":
	default:
		return "the server refuses the connection with SQLSTATE " + pgCode(err)
	}
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return "the host is not known"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the server does not answer"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case strings.Contains(err.Error(), "tls"), strings.Contains(err.Error(), "TLS"), strings.Contains(err.Error(), "x509"):
		return "no TLS connection that both sides accept"
	}
	return "cannot connect: " + errnoText(err)
}
