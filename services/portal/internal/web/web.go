// Package web combines the portal's HTTP handlers: it has the paths, the headers of
// every answer, the metrics and the recovery from panics.
package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/portal/internal/cors"
	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
	"github.com/tidegatehq/tidegate/services/portal/internal/static"
)

// Paths of the portal's own answers.
const (
	RESTPath    = "/v1/"
	OpenAPIPath = "/openapi.json"
	yamlPath    = "/openapi.yaml"
)

// Parts are what the portal serves.
type Parts struct {
	// REST serves /v1/.
	REST http.Handler
	// OAuth2 has the handlers of the OAuth2 endpoints by path; a path that ends in a
	// slash includes all paths under it.
	OAuth2 map[string]http.Handler
	// OpenAPI is the OpenAPI document.
	OpenAPI []byte
	// Docs has the handlers of the page that shows it, by path.
	Docs map[string]http.Handler
	// Pages are those of the portal, with / and every path that nothing else has.
	Pages http.Handler
	// Proxies are believed about the clients of requests; nil is nobody.
	Proxies *proxies.Config
	// Origins are those of pages that may use all this.
	Origins cors.Origins
}

// New returns the handler of all parts; it counts requests in reg.
func New(parts Parts, log *slog.Logger, reg prometheus.Registerer) (http.Handler, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(RESTPath, m.count("rest", parts.REST))
	for p, h := range parts.OAuth2 {
		mux.Handle(p, m.count(path.Base(p), h))
	}
	mux.Handle(OpenAPIPath, m.count("openapi", static.New("application/json", static.Fresh, parts.OpenAPI)))
	mux.Handle(yamlPath, m.count("openapi", inYAML(parts.OpenAPI)))
	for p, h := range parts.Docs {
		mux.Handle(p, m.count("docs", h))
	}
	mux.Handle("/", m.count("pages", parts.Pages))
	return secured(parts.Origins.Handler(recovered(identified(mux, parts.Proxies), log))), nil
}

// secured sets the headers that every answer has. Strict-Transport-Security is not
// among them: it applies to all ports of a host, and gateways also serve plain ws.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// identified puts the client's address into the context of a request.
func identified(next http.Handler, p *proxies.Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := netip.ParseAddrPort(r.RemoteAddr) // not valid for what is no TCP address
		chain, err := p.Chain(netip.AddrPortFrom(peer.Addr().Unmap().WithZone(""), peer.Port()), r.Header)
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			rest.WriteInvalid(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(clientaddr.With(r.Context(), chain.Client().Addr())))
	})
}

// recovered answers "internal error" when a handler panics.
func recovered(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // the value that net/http asks for
				panic(p)
			}
			log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			w.Header().Set("Cache-Control", "no-store")
			rest.WriteInternal(w, r)
		}()
		next.ServeHTTP(w, r)
	})
}

// metrics count requests by the part that answers them.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_portal_requests_total", Help: "HTTP requests answered.",
		}, []string{"part", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidegate_portal_request_seconds", Help: "Time to answer HTTP requests.",
		}, []string{"part"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register HTTP metrics: %w", err)
		}
	}
	return m, nil
}

// count counts the requests of a part.
func (m *metrics) count(part string, next http.Handler) http.Handler {
	labels := prometheus.Labels{"part": part}
	return promhttp.InstrumentHandlerDuration(m.seconds.MustCurryWith(labels),
		promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(labels), next))
}
