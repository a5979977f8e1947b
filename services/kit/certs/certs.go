// Package certs makes TLS certificates and the authorities that sign them, and
// reads them from PEM files: again when these change, so that rotation needs no
// restart.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/tidegatehq/tidegate/services/kit/filestamp"
)

// Modern returns what every TLS configuration begins with: TLS 1.3 where the other
// side has it, otherwise TLS 1.2 with suites that have forward secrecy and
// authenticated encryption alone (RFC 9325 section 4.2).
func Modern() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// Files names PEM files.
type Files struct {
	Cert, Key string
	// CA has the authorities that sign the other side's certificates.
	CA string
}

// Source makes TLS configurations that follow its files. It is safe for
// concurrent use.
type Source struct {
	files Files
	log   *slog.Logger

	mu     sync.Mutex
	stamps [3]filestamp.Stamp
	cert   *tls.Certificate
	pool   *x509.CertPool
	failed error // why the files cannot be read again
}

// Open reads the files. Cert and Key go together; either they or CA may be
// empty. Every handshake checks whether the files have changed. Files that have
// and cannot be used leave what was read before in use, and log says why; it
// may be nil.
func Open(files Files, log *slog.Logger) (*Source, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("a certificate and its key go together")
	}
	s := &Source{files: files, log: log}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// current returns what the files have now, or had when they could last be used.
func (s *Source) current() (*tls.Certificate, *x509.CertPool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stamps, err := s.stat(); err != nil || s.failed != nil || !slices.EqualFunc(stamps[:], s.stamps[:], filestamp.Stamp.Same) {
		_ = s.readAgain() // logged; what was read before stays in use
	}
	return s.cert, s.pool
}

// Reload reads the files at once, whether they look changed or not. Files that
// cannot be used leave what was read before in use.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readAgain()
}

// Failed looks at the files, and reports whether what is in use is not what they have, because
// that cannot be used.
func (s *Source) Failed() bool {
	s.current()
	return s.why() != nil
}

// why returns why the files could not be read again the last time, nil if they could.
func (s *Source) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// readAgain reads and logs what came of it, the same failure once.
func (s *Source) readAgain() error {
	err := s.read()
	switch {
	case err == nil:
		s.log.Info("TLS files read again", "certificate", s.files.Cert, "authority", s.files.CA)
	case s.failed == nil || s.failed.Error() != err.Error():
		s.log.Error("TLS files cannot be read again; what they had before stays in use", "error", err)
	}
	s.failed = err
	return err
}

// read replaces everything that was read before, or nothing.
func (s *Source) read() error {
	stamps, err := s.stat()
	if err != nil {
		return err
	}
	var cert *tls.Certificate
	if s.files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
		if err != nil {
			return fmt.Errorf("read certificate %s and key %s: %w", s.files.Cert, s.files.Key, err)
		}
		cert = &pair
	}
	var pool *x509.CertPool
	if s.files.CA != "" {
		pem, err := os.ReadFile(s.files.CA)
		if err != nil {
			return fmt.Errorf("read authority: %w", err)
		}
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read authority %s: no certificate in it", s.files.CA)
		}
	}
	s.stamps, s.cert, s.pool = stamps, cert, pool
	return nil
}

func (s *Source) stat() ([3]filestamp.Stamp, error) {
	var stamps [3]filestamp.Stamp
	for i, path := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		if path == "" {
			continue
		}
		var err error
		if stamps[i], err = filestamp.Of(path); err != nil {
			return stamps, fmt.Errorf("read TLS files: %w", err)
		}
	}
	return stamps, nil
}

// Server returns the configuration of a server that offers protos in ALPN. If
// mutual is set, it admits only clients with a certificate that CA has signed.
func (s *Source) Server(mutual bool, protos ...string) *tls.Config {
	cfg := Modern()
	cfg.NextProtos = protos
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, _ := s.current()
		if cert == nil {
			return nil, errors.New("the server has no certificate")
		}
		return cert, nil
	}
	if !mutual {
		return cfg
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	// A resumed session would not be checked against the current authority.
	cfg.SessionTicketsDisabled = true
	outer := cfg.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		_, pool := s.current()
		if pool == nil {
			return nil, errors.New("the server knows no authority")
		}
		inner := cfg.Clone()
		inner.ClientCAs = pool
		return inner, nil
	}
	return outer
}

// Client returns the configuration of a client that trusts CA, or the system's
// authorities if there is none, and presents the certificate. It does not follow
// the files; see ServiceCredentials.
func (s *Source) Client() *tls.Config {
	cert, pool := s.current()
	cfg := Modern()
	cfg.RootCAs = pool
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return cfg
}

// ServiceCredentials returns a client's gRPC credentials, which follow the files
// and trust a server by the name of its service alone, whatever its address: the
// first DNS name of its certificate must be name. Servers know their callers by the
// same rule, so a certificate that has a service's name among others is nobody's.
func (s *Source) ServiceCredentials(name string) credentials.TransportCredentials {
	return &serviceCredentials{TransportCredentials: credentials.NewTLS(s.Client()), source: s, service: name}
}

// serviceCredentials reads the files at each handshake.
type serviceCredentials struct {
	credentials.TransportCredentials
	source  *Source
	service string // what the server must be called first
}

// ClientHandshake performs the handshake of a connection. The address that was dialled
// does not matter.
func (c *serviceCredentials) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg := c.source.Client()
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if names := state.PeerCertificates[0].DNSNames; len(names) == 0 || names[0] != c.service {
			return fmt.Errorf("the certificate is for %q, not first for %s", names, c.service)
		}
		return nil
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, c.service, conn)
}

// Clone returns a copy.
func (c *serviceCredentials) Clone() credentials.TransportCredentials {
	return &serviceCredentials{TransportCredentials: c.TransportCredentials.Clone(), source: c.source, service: c.service}
}

// RootsWith returns the system's authorities and those of a PEM file. Without a file it
// returns nil, which means the system's.
func RootsWith(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}
