package listener

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// tlsConfig returns the configuration of the TLS listener. It offers HTTP/1.1
// alone, because WebSocket over HTTP/2 (RFC 8441) is not served.
func tlsConfig(cfg Config, log *slog.Logger) (*tls.Config, error) {
	files := certs.Files{Cert: cfg.CertFile, Key: cfg.KeyFile}
	if files.Cert == "" {
		var err error
		if files, err = certs.SelfSigned(cfg.CertDir, "gateway", time.Now()); err != nil {
			return nil, err
		}
	}
	source, err := certs.Open(files, log)
	if err != nil {
		return nil, err
	}
	return source.Server(false, "http/1.1"), nil
}
