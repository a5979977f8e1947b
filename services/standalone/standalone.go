// Package standalone is all of Tidegate in one process: the four services, connected
// by in-memory gRPC, on one data folder, with a sample to start with. It decides where
// things are and in which order they stop; the rest is left to the services.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone/internal/folder"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// renewEvery is how often the server's certificate is checked.
const renewEvery = 12 * time.Hour

// Addresses are where users and programs reach the server.
type Addresses struct {
	// Portal is the URL of REST and OAuth2, GRPC the host:port of gRPC, WS and
	// WSS the URLs of WebSocket without and with TLS.
	Portal, GRPC, WS, WSS string
	// Ops is the URL of metrics and health, Pprof that of profiles, or empty.
	Ops, Pprof string
	// Sample is the URL of the sample's backend, or empty.
	Sample string
}

// Run serves everything until ctx ends. Then sessions drain, and their last usage is
// reported before portal, subscription and catalog stop.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Check(); err != nil {
		return run.Misconfigured(err)
	}
	data, err := folder.Open(cfg.Data)
	if err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	defer data.Close()
	s, err := prepare(ctx, &cfg, data, log)
	if ctx.Err() != nil && err != nil {
		return nil // stopped while it was starting
	}
	if err != nil {
		return err
	}
	defer s.close()
	return inOrder(ctx, s.tasks()...)
}

// prepare opens every socket, creates what is missing in the data folder, and wires
// the services.
func prepare(ctx context.Context, cfg *Config, data *folder.Folder, log *slog.Logger) (*stack, error) {
	open, err := cfg.listen(ctx)
	if err != nil {
		return nil, err
	}
	again := data.Has(issuerFile)
	at := open.addresses()
	if err := cfg.fill(ctx, data, at); err != nil {
		open.close()
		return nil, err
	}
	return newStack(cfg, data, open, at, again, log)
}

// sockets are the listeners, by flag.
type sockets map[string]net.Listener

// listen opens every socket, or none.
func (c *Config) listen(ctx context.Context) (sockets, error) {
	all := sockets{}
	for _, l := range c.listeners() {
		address, err := c.address(l)
		if err != nil {
			return nil, err
		}
		lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			all.close()
			return nil, taken(l.flag, address, err)
		}
		all[l.flag] = lis
	}
	return all, nil
}

// taken returns the error for an address that cannot be listened on.
func taken(flag, address string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("-%s: %s is taken by another program; give another", flag, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("-%s: %s is not an address of this machine", flag, address)
	case errors.As(err, &errno):
		return fmt.Errorf("-%s: cannot listen on %s: %s", flag, address, errno.Error())
	}
	return fmt.Errorf("-%s: cannot listen on %s: %w", flag, address, err)
}

// close closes the sockets that are still open.
func (s sockets) close() {
	for _, lis := range s {
		_ = lis.Close()
	}
}

// addresses returns the addresses of the sockets.
func (s sockets) addresses() Addresses {
	at := Addresses{Portal: s.url("https", "https"), WS: s.url("ws", "ws"), WSS: s.url("wss", "wss"), Ops: s.url("http", "ops"), Pprof: s.url("http", "pprof")}
	at.GRPC = s.name("grpc")
	if lis := s["sample-listen"]; lis != nil {
		at.Sample = "ws://" + lis.Addr().String()
	}
	return at
}

func (s sockets) url(scheme, flag string) string {
	if name := s.name(flag); name != "" {
		return scheme + "://" + name
	}
	return ""
}

// name returns a socket's host:port as users type it: loopback and all interfaces
// become localhost.
func (s sockets) name(flag string) string {
	if s[flag] == nil {
		return ""
	}
	addr, ok := s[flag].Addr().(*net.TCPAddr)
	if !ok {
		return s[flag].Addr().String()
	}
	if addr.IP.IsUnspecified() || addr.IP.Equal(net.IPv4(127, 0, 0, 1)) || addr.IP.IsLoopback() && addr.IP.To4() == nil {
		return fmt.Sprintf("localhost:%d", addr.Port)
	}
	return addr.String()
}

// fill sets what the user has left open: files in the data folder, and addresses.
func (c *Config) fill(ctx context.Context, data *folder.Folder, at Addresses) error {
	if c.left["catalog.gateway-urls"] {
		c.catalog.GatewayURLs = at.WS + "," + at.WSS
	}
	if err := data.Secrets(masterKeyFile, adminPasswordFile, issuerFile); err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	if err := data.Certificates(c.names(), time.Now()); err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	if err := c.checkDatabases(ctx); err != nil {
		return err
	}
	if err := c.fixIssuer(data, at.Portal); err != nil {
		return err
	}
	return subscription.CheckInstallation(ctx, *c.subscription)
}

// checkDatabases checks, before anything is started, that the databases can be used.
// Its error names the flag that says where a database is.
func (c *Config) checkDatabases(ctx context.Context) error {
	for _, d := range []struct {
		service, file string
		check         func() error
	}{
		{"catalog", c.catalog.DBFile, func() error { return catalog.CheckDatabase(ctx, *c.catalog) }},
		{"subscription", c.subscription.DBFile, func() error { return subscription.CheckDatabase(ctx, *c.subscription) }},
	} {
		err := d.check()
		switch flag := d.service + ".db"; {
		case err == nil:
		case d.file != "":
			return fmt.Errorf("-%s-file: %w", flag, err)
		case c.left[flag]:
			return fmt.Errorf("-data: %s: %w", d.service, err)
		default:
			return fmt.Errorf("-%s: %w", flag, err)
		}
	}
	return nil
}

// fixIssuer sets the issuer, which is fixed at the first start, whatever the portal's
// address is later.
func (c *Config) fixIssuer(data *folder.Folder, portal string) error {
	if !data.Has(issuerFile) {
		issuer := portal
		if !c.left["subscription.issuer"] {
			issuer = c.subscription.Issuer
		}
		if err := data.Write(issuerFile, []byte(issuer+"\n")); err != nil {
			return fmt.Errorf("-data: %w", err)
		}
	}
	if !c.left["subscription.issuer"] {
		return nil
	}
	issuer, err := data.Read(issuerFile)
	if err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	c.subscription.Issuer = strings.TrimSpace(string(issuer))
	return nil
}
