// Package static serves documents that do not change while the portal runs: compressed
// to those who take it, and not at all to those who have them already.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
)

// How long browsers keep a document without asking again.
const (
	// Fresh documents are asked for each time, and sent if they have changed.
	Fresh = "no-cache"
	// Forever is for paths that name the version of what they lead to.
	Forever = "public, max-age=31536000, immutable"
)

// Document is one document. It is an http.Handler.
type Document struct {
	kind, cache, etag string
	plain, compressed func() []byte
}

// New returns a document of a media type with its text.
func New(kind, cache string, text []byte) *Document {
	return &Document{
		kind: kind, cache: cache, etag: tag(text),
		plain: func() []byte { return text },
		compressed: sync.OnceValue(func() []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, _ = w.Write(text) // a buffer takes everything
			_ = w.Close()
			return out.Bytes()
		}),
	}
}

// Compressed returns a document that is embedded as gzip has compressed it.
func Compressed(kind, cache string, text []byte) (*Document, error) {
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read a compressed document: %w", err)
	}
	return &Document{
		kind: kind, cache: cache, etag: tag(text),
		plain: sync.OnceValue(func() []byte {
			out, _ := io.ReadAll(r) // it is embedded, and a test has read it
			return out
		}),
		compressed: func() []byte { return text },
	}, nil
}

// tag is an entity tag, without its quotes.
func tag(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// ServeHTTP answers with the document, in the form that the client takes.
func (d *Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rest.WriteMethodNotAllowed(w, r, http.MethodGet, http.MethodHead)
		return
	}
	h := w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("Cache-Control", d.cache)
	h.Add("Vary", "Accept-Encoding")
	text, etag := d.plain, d.etag
	if takesGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		text, etag = d.compressed, d.etag+"-gzip"
	}
	h.Set("ETag", strconv.Quote(etag))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text()))
}

// takesGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func takesGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		weight = strings.ReplaceAll(weight, " ", "")
		if strings.TrimSpace(name) == "gzip" && strings.TrimRight(weight, "0.") != "q=" {
			return true
		}
	}
	return false
}
