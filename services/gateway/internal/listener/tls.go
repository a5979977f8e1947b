package listener

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// openCertificates reads the certificates of the TLS listener: those of virtual hosts, which
// clients choose by the name that they ask for (RFC 6066 section 3), and the one for all others.
func (l *Listener) openCertificates() (err error) {
	files := certs.Files{Cert: l.cfg.CertFile, Key: l.cfg.KeyFile}
	if files.Cert == "" {
		if files, err = certs.SelfSigned(l.cfg.CertDir, "gateway", time.Now()); err != nil {
			return err
		}
	}
	if l.source, err = certs.Open(files, l.log); err != nil {
		return err
	}
	// HTTP/1.1 alone, because WebSocket over HTTP/2 (RFC 8441) is not served.
	l.tls = l.source.Server(false, "http/1.1")
	if l.cfg.HostCertDir == "" {
		return nil
	}
	if l.folder, err = certs.OpenFolder(l.cfg.HostCertDir, l.log); err != nil {
		return fmt.Errorf("-%stls-dir: %w", l.cfg.prefix, err)
	}
	others := l.tls.GetCertificate
	l.tls.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "" {
			if cert := l.folder.Get(hello.ServerName); cert != nil {
				return cert, nil
			}
		}
		return others(hello)
	}
	return nil
}

// Reload reads the certificates again.
func (l *Listener) Reload() error {
	if l.source == nil {
		return nil
	}
	err := l.source.Reload()
	if l.folder != nil {
		err = errors.Join(err, l.folder.Reload())
	}
	return err
}

// CertificatesFailed looks at the files of certificates, and returns how many cannot be used
// as they are now.
func (l *Listener) CertificatesFailed() (n int) {
	if l.source != nil && l.source.Failed() {
		n++
	}
	if l.folder != nil {
		n += l.folder.Failed()
	}
	return n
}
