package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/tidegatehq/tidegate/services/portal/internal/static"
)

//go:embed assets htmx
var assetFiles embed.FS

// assets are what pages load. Their paths have a hash of all of them, so that browsers
// keep them for good and see every change.
type assets struct {
	handlers map[string]http.Handler // by path
}

// assetList has the files of assets by the name in their path, several of them one after
// the other. htmx is from the folder that the script refresh writes; its extension comes
// with it, as every page needs both.
func assetList() map[string]string {
	return map[string]string{
		"app.css":      "assets/app.css",
		"app.js":       "assets/app.js",
		"console.js":   "assets/console.js",
		"icons.svg":    "assets/icons.svg",
		"logo.svg":     "assets/logo.svg",
		"htmx.js":      "htmx/htmx.min.js htmx/hx-csp.min.js",
		"htmx-LICENSE": "htmx/LICENSE",
	}
}

// assetsPath is where the assets are. It panics if an embedded file is not there.
func assetsPath() string {
	all := sha256.New()
	list := assetList()
	for _, name := range sortedKeys(list) {
		text, err := assetText(list[name])
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(all, "%s %d\n%s", name, len(text), text)
	}
	return "/assets/" + hex.EncodeToString(all.Sum(nil)[:6]) + "/"
}

func newAssets() (*assets, error) {
	a := &assets{handlers: map[string]http.Handler{}}
	base := assetsPath()
	for name, file := range assetList() {
		text, err := assetText(file)
		if err != nil {
			return nil, err
		}
		a.handlers[base+name] = static.New(mediaType(name), static.Forever, text)
	}
	return a, nil
}

// assetText is what an asset has: its files.
func assetText(files string) ([]byte, error) {
	var all [][]byte
	for file := range strings.FieldsSeq(files) {
		text, err := assetFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes.TrimSpace(text))
	}
	return bytes.Join(all, []byte("\n")), nil
}

// mediaType is that of an asset.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}

// assetURL returns the path of an asset.
func assetURL(base string) func(string) (string, error) {
	return func(name string) (string, error) {
		if file, _, _ := strings.Cut(name, "#"); assetList()[file] == "" {
			return "", fmt.Errorf("no asset is called %s", file)
		}
		return base + name, nil
	}
}
