package listener

import (
	"log/slog"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// openCertificate returns the certificate of the TLS listener.
func openCertificate(cfg Config, log *slog.Logger) (*certs.Source, error) {
	files := certs.Files{Cert: cfg.CertFile, Key: cfg.KeyFile}
	if files.Cert == "" {
		var err error
		if files, err = certs.SelfSigned(cfg.CertDir, "gateway", time.Now()); err != nil {
			return nil, err
		}
	}
	return certs.Open(files, log)
}
