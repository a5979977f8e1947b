// Package oauth2 serves the OAuth2 endpoints: tokens (RFC 6749), revocation
// (RFC 7009), introspection (RFC 7662), keys (RFC 7517) and metadata (RFC
// 8414). It reads forms and writes JSON; the subscription service's OAuth2Service
// decides.
package oauth2

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Paths of the endpoints. Metadata is also served under its path, for an issuer whose
// URL has a path (RFC 8414 section 3.1).
const (
	TokenPath      = "/oauth2/token"
	RevokePath     = "/oauth2/revoke"
	IntrospectPath = "/oauth2/introspect"
	KeysPath       = "/oauth2/jwks"
	// IdentityKeysPath has the keys that backend identities are signed with.
	IdentityKeysPath = "/oauth2/identity-jwks"
	MetadataPath     = "/.well-known/oauth-authorization-server"
)

// Handler serves the endpoints.
type Handler struct {
	oauth oauth2v1.OAuth2ServiceClient
	log   *slog.Logger
}

// New returns a handler that calls oauth.
func New(oauth oauth2v1.OAuth2ServiceClient, log *slog.Logger) *Handler {
	return &Handler{oauth: oauth, log: log}
}

// Routes are the handlers by path.
func (h *Handler) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		TokenPath:          h.post(h.token),
		RevokePath:         h.post(h.revoke),
		IntrospectPath:     h.post(h.introspect),
		KeysPath:           h.get(h.keySet(oauth2v1.SigningKey_PURPOSE_ACCESS_TOKENS)),
		IdentityKeysPath:   h.get(h.keySet(oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY)),
		MetadataPath:       h.get(h.metadata),
		MetadataPath + "/": h.get(h.metadata),
	}
}

// answer is an endpoint's answer: a body, or an empty one if it is nil.
type answer any

// post wraps an endpoint that takes an OAuth client's form.
func (h *Handler) post(serve func(*http.Request, *form) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		if r.Method != http.MethodPost {
			h.refuseMethod(w, r, http.MethodPost)
			return
		}
		f, err := readForm(w, r)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		a, err := serve(r.WithContext(upstream.WithTrace(r.Context(), r.Header)), f)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		h.write(w, http.StatusOK, a)
	})
}

// get wraps an endpoint that anybody may read.
func (h *Handler) get(serve func(http.ResponseWriter, *http.Request) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.refuseMethod(w, r, http.MethodGet, http.MethodHead)
			return
		}
		a, err := serve(w, r.WithContext(upstream.WithTrace(r.Context(), r.Header)))
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			h.refuse(w, r, err)
			return
		}
		h.write(w, http.StatusOK, a)
	})
}

// write answers with JSON.
func (h *Handler) write(w http.ResponseWriter, status int, a answer) {
	if a == nil {
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(a)
	if err != nil {
		h.log.Error("answer could not be written", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (h *Handler) refuseMethod(w http.ResponseWriter, r *http.Request, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	h.refuse(w, r, &refusal{status: http.StatusMethodNotAllowed, code: oauthcode.InvalidRequest,
		description: "the method must be " + allowed[0]})
}
