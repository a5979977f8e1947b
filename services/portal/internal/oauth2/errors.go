package oauth2

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Error codes of RFC 6749 sections 5.2 and 4.1.2.1.
const (
	invalidRequest         = "invalid_request"
	invalidClient          = "invalid_client"
	invalidGrant           = "invalid_grant"
	unauthorizedClient     = "unauthorized_client"
	unsupportedGrantType   = "unsupported_grant_type"
	invalidScope           = "invalid_scope"
	unsupportedTokenType   = "unsupported_token_type" // RFC 7009
	temporarilyUnavailable = "temporarily_unavailable"
	serverError            = "server_error"
)

// refusal is an error as an endpoint answers it.
type refusal struct {
	status      int
	code        string
	description string
}

// Error returns the description.
func (r *refusal) Error() string { return r.description }

// invalid is a refusal of a request that is not well made.
func invalid(description string) error {
	return &refusal{status: http.StatusBadRequest, code: invalidRequest, description: description}
}

// unknownClient is a refusal of a client that has not proved itself.
func unknownClient(description string) error {
	return &refusal{status: http.StatusUnauthorized, code: invalidClient, description: description}
}

// errorBody is the body of a refusal.
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// refuse answers with an error.
func (h *Handler) refuse(w http.ResponseWriter, req *http.Request, err error) {
	r, ok := err.(*refusal) //nolint:errorlint // made here and never wrapped
	if !ok {
		r = fromStatus(err)
	}
	if r.code == serverError {
		h.log.Warn("request failed", "path", req.URL.Path, "error", err)
	}
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="tidegate", charset="UTF-8"`)
	}
	w.Header().Set("Content-Type", "application/json")
	h.write(w, r.status, errorBody{Error: r.code, Description: errorDescription(r.description)})
}

// fromStatus turns the status of OAuth2Service into a refusal: its reason is the
// code.
func fromStatus(err error) *refusal {
	st := status.Convert(err)
	switch code := strings.ToLower(fault.Reason(err)); code {
	case invalidClient:
		return &refusal{http.StatusUnauthorized, code, st.Message()}
	case invalidRequest, invalidGrant, unauthorizedClient, unsupportedGrantType, invalidScope, unsupportedTokenType:
		return &refusal{http.StatusBadRequest, code, st.Message()}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return &refusal{http.StatusBadRequest, invalidRequest, st.Message()}
	case codes.Unauthenticated:
		return &refusal{http.StatusUnauthorized, invalidClient, st.Message()}
	case codes.PermissionDenied:
		return &refusal{http.StatusBadRequest, unauthorizedClient, st.Message()}
	case codes.ResourceExhausted:
		return &refusal{http.StatusTooManyRequests, temporarilyUnavailable, st.Message()}
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return &refusal{http.StatusServiceUnavailable, temporarilyUnavailable, st.Message()}
	}
	return &refusal{http.StatusInternalServerError, serverError, "internal error"}
}

// errorDescription replaces the characters that an error_description may not
// have (RFC 6749 section 5.2).
func errorDescription(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < ' ' || c > '~':
			return '?'
		}
		return c
	}, s)
}
