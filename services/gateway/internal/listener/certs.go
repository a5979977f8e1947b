package listener

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// tlsConfig returns the configuration of the TLS listener. WebSocket over
// HTTP/2 is not spoken, so it is not offered.
func tlsConfig(cfg Config, log *slog.Logger) (*tls.Config, error) {
	cert, key := cfg.CertFile, cfg.KeyFile
	if cert == "" {
		var err error
		if cert, key, err = SelfSigned(cfg.CertDir, time.Now()); err != nil {
			return nil, err
		}
	}
	certs := &certificates{cert: cert, key: key, log: log, now: time.Now}
	if err := certs.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certs.get(), nil },
	}, nil
}

// certificates holds a pair of files, read again when one of them changes. A
// pair that cannot be used leaves the one before in service.
type certificates struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]stamp
	checked time.Time
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// recheck is how often the files are looked at.
const recheck = time.Second

func (c *certificates) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.checked) < recheck {
		return c.pair
	}
	c.checked = now
	if stamps, err := c.stamps(); err == nil && stamps != c.seen {
		if err := c.load(); err != nil {
			c.log.Error("certificate not reloaded; the one before stays in service", "error", err)
		} else {
			c.log.Info("certificate reloaded", "file", c.cert)
		}
		c.seen = stamps
	}
	return c.pair
}

func (c *certificates) stamps() (s [2]stamp, err error) {
	for i, name := range []string{c.cert, c.key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

func (c *certificates) load() error {
	stamps, err := c.stamps()
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.pair, c.seen = &pair, stamps
	return nil
}
