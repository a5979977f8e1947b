package oauth2

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

// refusal is an error response of an endpoint.
type refusal struct {
	status      int
	code        oauthcode.Code
	description string
}

// Error returns the description.
func (r *refusal) Error() string { return r.description }

// invalid refuses a malformed request.
func invalid(description string) error {
	return &refusal{status: http.StatusBadRequest, code: oauthcode.InvalidRequest, description: description}
}

// unknownClient refuses an OAuth client that has not authenticated.
func unknownClient(description string) error {
	return &refusal{status: http.StatusUnauthorized, code: oauthcode.InvalidClient, description: description}
}

// errorBody is the body of a refusal.
type errorBody struct {
	Error       oauthcode.Code `json:"error"`
	Description string         `json:"error_description,omitempty"`
}

// refuse answers with an error.
func (h *Handler) refuse(w http.ResponseWriter, req *http.Request, err error) {
	r, ok := err.(*refusal) //nolint:errorlint // made here and never wrapped
	if !ok {
		r = fromStatus(err)
	}
	if r.code == oauthcode.ServerError {
		h.log.Warn("request failed", "path", req.URL.Path, "error", err)
	}
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="tidegate", charset="UTF-8"`)
	}
	w.Header().Set("Content-Type", "application/json")
	h.write(w, r.status, errorBody{Error: r.code, Description: errorDescription(r.description)})
}

// fromStatus turns a status of OAuth2Service into a refusal, with its reason as the
// code.
func fromStatus(err error) *refusal {
	st := status.Convert(err)
	switch code := oauthcode.Of(err); code {
	case "":
	case oauthcode.InvalidClient:
		return &refusal{http.StatusUnauthorized, code, st.Message()}
	default:
		return &refusal{http.StatusBadRequest, code, st.Message()}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return &refusal{http.StatusBadRequest, oauthcode.InvalidRequest, st.Message()}
	case codes.Unauthenticated:
		return &refusal{http.StatusUnauthorized, oauthcode.InvalidClient, st.Message()}
	case codes.PermissionDenied:
		return &refusal{http.StatusBadRequest, oauthcode.UnauthorizedClient, st.Message()}
	case codes.ResourceExhausted:
		return &refusal{http.StatusTooManyRequests, oauthcode.TemporarilyUnavailable, st.Message()}
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return &refusal{http.StatusServiceUnavailable, oauthcode.TemporarilyUnavailable, st.Message()}
	}
	return &refusal{http.StatusInternalServerError, oauthcode.ServerError, "internal error"}
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
