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
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
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
	if err := cfg.boundConnections(); err != nil {
		return run.Misconfigured(err)
	}
	data, err := folder.Open(cfg.Data)
	if err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	defer data.Close()
	s, err := prepare(ctx, &cfg, data, log)
	if err == nil {
		defer s.close()
		err = inOrder(ctx, s.tasks(ctx.Done())...)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // a task was stopped while it was starting
		}
	} else if ctx.Err() != nil {
		err = nil // stopped while it was starting
	}
	if err == nil {
		cfg.say("Tidegate has stopped.")
	}
	return err
}

// databaseFiles is how many descriptors the databases open under load, beyond those that
// they have open anyway.
const databaseFiles = 20

// boundConnections keeps the portal's connections within half of what the gateway and
// the databases leave of the descriptors; the other half is for whatever else there is.
func (c *Config) boundConnections() error {
	left, err := gateway.OpenFilesOfOthers(*c.gateway)
	if err != nil || left == 0 {
		return err
	}
	room := max((left-databaseFiles)/2, 1)
	if most := &c.portal.Connections.Max; *most == 0 || *most > room {
		*most = room
	}
	return nil
}

// prepare opens every socket, creates what is missing in the data folder, and wires
// the services.
func prepare(ctx context.Context, cfg *Config, data *folder.Folder, log *slog.Logger) (*stack, error) {
	open, err := cfg.listen(ctx)
	if err != nil {
		return nil, err
	}
	again := data.Has(issuerFile)
	at := cfg.addresses(open)
	cfg.reach(open, log)
	if err := cfg.fill(ctx, data, at); err != nil {
		open.close()
		return nil, err
	}
	return newStack(cfg, data, open, at, again, log)
}

// reach says which addresses of this machine the gateway may dial: never the server's
// own, always that of the sample's backend, and others on loopback if the user says so,
// or where only this machine can reach the server.
func (c *Config) reach(open sockets, log *slog.Logger) {
	c.gateway.Upstream.Own = open.own()
	if lis := open[sampleFlag]; lis != nil {
		c.gateway.Upstream.Sample = lis.Addr()
	}
	if c.loopback {
		return
	}
	c.gateway.Upstream.AllowLoopback = open.onLoopback()
	if !c.gateway.Upstream.AllowLoopback {
		log.Info("backends on loopback are not dialled, because the server is reached from other machines; -gateway.dial-loopback allows them")
	}
}

// sampleFlag says where the sample's backend is served.
const sampleFlag = "sample-listen"

// sockets are the listeners, by flag.
type sockets map[string]net.Listener

// listen opens every socket, or none. The error names all that are taken, so that a
// second server needs one correction.
func (c *Config) listen(ctx context.Context) (sockets, error) {
	all := sockets{}
	var wrong []error
	var taken []string
	for _, l := range c.listeners() {
		address, err := c.address(l)
		if err != nil {
			return nil, err
		}
		lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			wrong = append(wrong, netaddr.Unusable("-"+l.flag, address, err))
			if errors.Is(err, syscall.EADDRINUSE) {
				taken = append(taken, "-"+l.flag+" "+address)
			}
			continue
		}
		all[l.flag] = lis
	}
	if wrong == nil {
		return all, nil
	}
	all.close()
	if len(wrong) > 1 && len(taken) == len(wrong) {
		return nil, fmt.Errorf("other programs have taken %s; give others", strings.Join(taken, ", "))
	}
	return nil, errors.Join(wrong...)
}

// close closes the sockets that are still open.
func (s sockets) close() {
	for _, lis := range s {
		_ = lis.Close()
	}
}

// onLoopback reports whether only this machine can reach the server.
func (s sockets) onLoopback() bool {
	for _, lis := range s {
		if addr, ok := lis.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// own returns the addresses of the server's own listeners, without that of the
// sample's backend.
func (s sockets) own() []net.Addr {
	var all []net.Addr
	for flag, lis := range s {
		if flag != sampleFlag {
			all = append(all, lis.Addr())
		}
	}
	return all
}

// local returns host:port at which this machine reaches a socket.
func (s sockets) local(flag string) string { return netaddr.Local(s[flag].Addr()) }

// addresses returns where users reach the sockets.
func (c *Config) addresses(open sockets) Addresses {
	names := map[string]string{}
	for _, l := range c.listeners() {
		if lis := open[l.flag]; lis != nil {
			names[l.flag] = c.typed(l, lis.Addr())
		}
	}
	url := func(scheme, flag string) string {
		if names[flag] == "" {
			return ""
		}
		return scheme + "://" + names[flag]
	}
	at := Addresses{
		Portal: url("https", "https"), GRPC: names["grpc"], WS: url("ws", "ws"), WSS: url("wss", "wss"),
		Ops: url("http", "ops"), Pprof: url("http", "pprof"),
	}
	if lis := open[sampleFlag]; lis != nil {
		at.Sample = "ws://" + netaddr.Local(lis.Addr())
	}
	return at
}

// typed returns a socket's host:port as users type it: by the name or address that it
// was told to listen on. Every interface, and IPv4's loopback, are localhost.
func (c *Config) typed(l listener, addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	if tcp.IP.IsUnspecified() || tcp.IP.Equal(net.IPv4(127, 0, 0, 1)) {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	if told, err := c.address(l); err == nil {
		if host := netaddr.Host(told); hostname(host) && net.ParseIP(host) == nil && host != "localhost" {
			return fmt.Sprintf("%s:%d", host, tcp.Port)
		}
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
