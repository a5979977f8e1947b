package web

import (
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
	"github.com/tidegatehq/tidegate/services/portal/internal/static"
)

// inYAML serves a document that is in JSON. Few ask for it, so it is written when the
// first does.
func inYAML(document []byte) http.Handler {
	made := sync.OnceValues(func() (*static.Document, error) {
		var tree yaml.Node
		if err := yaml.Unmarshal(document, &tree); err != nil {
			return nil, err
		}
		inBlocks(&tree)
		text, err := yaml.Marshal(&tree)
		return static.New("application/yaml", static.Fresh, text), err
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := made()
		if err != nil {
			rest.WriteInternal(w, r)
			return
		}
		d.ServeHTTP(w, r)
	})
}

// inBlocks takes the braces and quotes of JSON away where YAML needs none.
func inBlocks(n *yaml.Node) {
	n.Style = 0
	for _, inner := range n.Content {
		inBlocks(inner)
	}
}
