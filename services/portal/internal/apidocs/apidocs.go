// Package apidocs serves the page /docs, where the OpenAPI document can be read and
// tried out. The page is Swagger UI, from the folder swagger-ui, which the script
// refresh writes. Its large files are embedded as gzip has compressed them.
package apidocs

import (
	"bytes"
	"embed"
	"fmt"
	"net/http"

	"github.com/tidegatehq/tidegate/services/portal/internal/static"
)

//go:embed docs.html docs.js swagger-ui
var files embed.FS

// Path is the page; all that belongs to it is below.
const Path = "/docs"

// policy is the Content-Security-Policy of the page: it runs what the portal serves,
// shows the images of its style sheet, and asks nobody but the portal.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Media types.
const (
	html       = "text/html; charset=utf-8"
	javaScript = "text/javascript; charset=utf-8"
	css        = "text/css; charset=utf-8"
	text       = "text/plain; charset=utf-8"
)

// Routes returns the handlers by path. The files of Swagger UI are below its version,
// and so can be kept for good.
func Routes() (map[string]http.Handler, error) {
	version, err := files.ReadFile("swagger-ui/VERSION")
	if err != nil {
		return nil, err
	}
	below := Path + "/" + string(bytes.TrimSpace(version)) + "/"
	all := map[string]http.Handler{}
	for _, f := range []struct{ name, path, kind, cache string }{
		{"docs.html", Path, html, static.Fresh},
		{"docs.js", Path + "/docs.js", javaScript, static.Fresh},
		{"swagger-ui/swagger-ui.css.gz", below + "swagger-ui.css", css, static.Forever},
		{"swagger-ui/swagger-ui-bundle.js.gz", below + "swagger-ui-bundle.js", javaScript, static.Forever},
		// Where the script says that its licences are.
		{"swagger-ui/swagger-ui-bundle.js.LICENSE.txt", below + "swagger-ui-bundle.js.LICENSE.txt", text, static.Forever},
		{"swagger-ui/LICENSE", below + "LICENSE", text, static.Forever},
		{"swagger-ui/NOTICE", below + "NOTICE", text, static.Forever},
	} {
		if all[f.path], err = document(f.name, f.kind, f.cache, below); err != nil {
			return nil, fmt.Errorf("serve %s: %w", f.name, err)
		}
	}
	all[Path] = page(all[Path])
	return all, nil
}

// document reads a file; below is where those of Swagger UI are.
func document(name, kind, cache, below string) (http.Handler, error) {
	read, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(read, []byte("\x1f\x8b")) {
		return static.Compressed(kind, cache, read)
	}
	return static.New(kind, cache, bytes.ReplaceAll(read, []byte(Path+"/VERSION/"), []byte(below))), nil
}

// page gives a page its policy.
func page(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		next.ServeHTTP(w, r)
	})
}
