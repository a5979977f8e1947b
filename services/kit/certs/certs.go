// Package certs reads TLS certificates, keys and authorities from files and
// reads them again when they change, so that rotation needs no restart. Making
// certificates is left to the command line.
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
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Files names PEM files. CA is who signs the other side's certificates.
type Files struct {
	Cert, Key, CA string
}

// Source gives TLS configurations with what is in the files now. It is safe for
// concurrent use.
type Source struct {
	files Files
	log   *slog.Logger

	mu     sync.Mutex
	stamps [3]stamp
	cert   *tls.Certificate
	pool   *x509.CertPool
	failed error // why they could not be read again
}

// stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the files. Cert and Key go together; either they or CA may be
// empty. When they have changed and cannot be read again, what was read before
// stays in use and log, where it is not nil, says why.
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

// current returns what is in the files now, or was when they were last good.
func (s *Source) current() (*tls.Certificate, *x509.CertPool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stamps, err := s.stat(); err == nil && stamps == s.stamps {
		return s.cert, s.pool
	}
	err := s.read()
	if err != nil && (s.failed == nil || s.failed.Error() != err.Error()) {
		s.log.Warn("TLS files cannot be read again, what they had before stays in use", "error", err)
	}
	s.failed = err
	return s.cert, s.pool
}

// read replaces all that was read, or nothing.
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

func (s *Source) stat() ([3]stamp, error) {
	var stamps [3]stamp
	for i, path := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return stamps, fmt.Errorf("read TLS files: %w", err)
		}
		stamps[i] = stamp{modified: info.ModTime(), size: info.Size()}
	}
	return stamps, nil
}

// Server returns the configuration of a server that offers protos by ALPN. With
// mutual it admits only clients whose certificate CA has signed.
func (s *Source) Server(mutual bool, protos ...string) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protos}
	if mutual {
		base.ClientAuth = tls.RequireAndVerifyClientCert
		// A resumed session would go by the authority of the day that it began.
		base.SessionTicketsDisabled = true
	}
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, pool := s.current()
		if cert == nil {
			return nil, errors.New("the server has no certificate")
		}
		inner := base.Clone()
		inner.Certificates = []tls.Certificate{*cert}
		if mutual {
			if pool == nil {
				return nil, errors.New("the server knows no authority")
			}
			inner.ClientCAs = pool
		}
		return inner, nil
	}
	return outer
}

// Client returns the configuration of a client as the files are now: it trusts
// CA, or the system where there is none, and shows the certificate.
func (s *Source) Client() *tls.Config {
	cert, pool := s.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return cfg
}

// ClientCredentials returns gRPC credentials of a client that follow the files.
func (s *Source) ClientCredentials() credentials.TransportCredentials {
	return &clientCredentials{TransportCredentials: credentials.NewTLS(s.Client()), source: s}
}

// clientCredentials makes each handshake with what is in the files then.
type clientCredentials struct {
	credentials.TransportCredentials
	source *Source
}

// ClientHandshake does the handshake of one connection.
func (c *clientCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(c.source.Client()).ClientHandshake(ctx, authority, conn)
}

// Clone returns a copy.
func (c *clientCredentials) Clone() credentials.TransportCredentials {
	return &clientCredentials{TransportCredentials: c.TransportCredentials.Clone(), source: c.source}
}
