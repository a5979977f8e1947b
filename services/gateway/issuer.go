package gateway

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/sealedfile"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// issuer is the installation's issuer of tokens, by which the gateway recognizes
// credentials that must not reach a backend. The subscription service says who it is;
// a copy on disk says so at a start while that service is away. It never changes
// within an installation.
type issuer struct {
	ours *credential.Recognizer
	file *sealedfile.File
	log  *slog.Logger
}

// openIssuer returns the issuer as the file at path says, or one that is not known yet.
func openIssuer(path string, key *seal.Key, log *slog.Logger) *issuer {
	i := &issuer{file: &sealedfile.File{Path: path, Key: key, Purpose: "gateway/issuer/1"}, log: log}
	url, err := i.file.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("issuer on disk not used", "file", path, "error", err)
	}
	i.ours = credential.NewRecognizer(string(url), apikey.Declared())
	return i
}

// learn returns a task that asks for the issuer until it is told, and keeps it. What
// comes from the service counts for more than what is on disk.
func (i *issuer) learn(ask func(context.Context) (identity.KeySet, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		pause := retry.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
		for {
			asking, cancel := context.WithTimeout(ctx, 3*time.Second)
			set, err := ask(asking)
			cancel()
			if err == nil && set.Issuer != "" {
				i.set(set.Issuer)
				return nil
			}
			if !pause.Wait(ctx) {
				return nil
			}
		}
	}
}

// set makes the issuer known and keeps it for the next start, sealed with the newest
// master key.
func (i *issuer) set(url string) {
	i.ours.Learn(url)
	if err := i.file.Write([]byte(url)); err != nil {
		i.log.Error("issuer not written to disk", "file", i.file.Path, "error", err)
	}
}
