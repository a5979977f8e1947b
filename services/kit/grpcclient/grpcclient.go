// Package grpcclient connects to another service's gRPC, with mutual TLS, or in
// plaintext on loopback. It sets no deadlines: those are up to the caller.
package grpcclient

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// Times of a connection.
const (
	// minPause and maxPause bound the time between attempts to connect. However long
	// a service was away, it is connected to within about a second of its return,
	// because gateways hear of revocations through it.
	minPause = 100 * time.Millisecond
	maxPause = time.Second
	// connectTimeout bounds an attempt to connect to a host that does not answer.
	connectTimeout = 5 * time.Second
	// pingEvery is how long a connection with calls may be silent before it is pinged,
	// and pingTimeout how long the answer may take before the connection is lost.
	pingEvery   = 10 * time.Second
	pingTimeout = 10 * time.Second
)

// Config says where a service is and how it is reached. It is made by Default. Over
// TLS the service is trusted if its name is the first DNS name of its certificate.
type Config struct {
	// Target is host:port, or a gRPC target such as dns:///name:port.
	Target string
	// CA, Cert and Key are PEM files: the authority of the service's certificate, and
	// the certificate and key to present to it. All empty means plaintext, which is
	// only allowed on loopback.
	CA, Cert, Key string
	// Conn, if set, is used instead of everything else.
	Conn *grpc.ClientConn

	flag    string
	service string // what the certificate must be for first
}

// Default returns the configuration of a plaintext connection to a service at
// target.
func Default(service, target string) Config {
	return Config{Target: target, flag: service, service: service}
}

// Flags registers -SERVICE, -SERVICE-ca, -SERVICE-cert and -SERVICE-key, with prefix
// before their names. Their defaults are what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	name := c.service
	c.flag = prefix + name
	fs.StringVar(&c.Target, c.flag, c.Target, "`address` of the "+name+" service's internal gRPC, host:port")
	fs.StringVar(&c.CA, c.flag+"-ca", c.CA, "PEM `file` of the authority that signs the "+name+" service's certificate; empty for plaintext on loopback")
	fs.StringVar(&c.Cert, c.flag+"-cert", c.Cert, "PEM `file` of the certificate to present to the "+name+" service")
	fs.StringVar(&c.Key, c.flag+"-key", c.Key, "PEM `file` of the certificate's key")
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	if c.Conn != nil {
		return nil
	}
	if c.service == "" {
		return errors.New("a connection to no service: it is made by Default")
	}
	name := "-" + c.flag
	var wrong []error
	if c.Target == "" {
		wrong = append(wrong, fmt.Errorf("%s: an address is needed", name))
	}
	if (c.Cert == "") != (c.Key == "") {
		wrong = append(wrong, fmt.Errorf("%s-cert and %s-key go together", name, name))
	}
	if c.Cert != "" && c.CA == "" {
		wrong = append(wrong, fmt.Errorf("%s-cert needs %s-ca", name, name))
	}
	if c.Target != "" && c.CA == "" && c.Cert == "" && !isLoopback(c.Target) {
		wrong = append(wrong, fmt.Errorf("%s: %s is not on loopback, so %s-ca, %s-cert and %s-key are needed", name, c.Target, name, name, name))
	}
	return errors.Join(wrong...)
}

// Dial returns a connection, which connects at the first call and reconnects
// whenever it is lost. It does not go idle, so that its state says whether the
// service is there.
func (c *Config) Dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if c.Conn != nil {
		return c.Conn, nil
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if c.CA != "" {
		source, err := certs.Open(certs.Files{Cert: c.Cert, Key: c.Key, CA: c.CA}, nil)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", c.Target, err)
		}
		creds = source.ServiceCredentials(c.service)
	}
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(memnet.MaxMessage)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
	}, opts...)
	conn, err := grpc.NewClient(c.Target, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", c.Target, err)
	}
	return conn, nil
}

// Close closes a connection that Dial returned. Config.Conn stays open: it belongs
// to whoever set it.
func (c *Config) Close(conn *grpc.ClientConn) error {
	if conn == nil || conn == c.Conn {
		return nil
	}
	return conn.Close()
}

// isLoopback reports whether a target is on this machine.
func isLoopback(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	if _, addr, ok := strings.Cut(target, ":///"); ok {
		target = addr
	}
	return netaddr.IsLoopback(target)
}
