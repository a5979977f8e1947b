// Package oauthcode has the error codes of OAuth 2.0. OAuth2Service decides which
// one applies and sends it as the reason of a google.rpc.ErrorInfo; the portal
// writes it into the answers of its endpoints.
package oauthcode

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Code is an error code, as the answers of endpoints have it.
type Code string

// Codes of RFC 6749 section 5.2.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidClient        Code = "invalid_client"
	InvalidGrant         Code = "invalid_grant"
	UnauthorizedClient   Code = "unauthorized_client"
	UnsupportedGrantType Code = "unsupported_grant_type"
	InvalidScope         Code = "invalid_scope"
)

// Codes of other sections: of RFC 8707 section 2 the first, the others of RFC 6749
// section 4.1.2.1.
const (
	InvalidTarget          Code = "invalid_target"
	TemporarilyUnavailable Code = "temporarily_unavailable"
	ServerError            Code = "server_error"
)

// reasons are the codes that OAuth2Service sends.
var reasons = []Code{InvalidRequest, InvalidClient, InvalidGrant, UnsupportedGrantType, InvalidScope, InvalidTarget}

// Reasons returns the reasons that With gives.
func Reasons() []fault.Known {
	var all []fault.Known
	for _, c := range reasons {
		known := fault.Known{Reason: c.reason(), Code: codes.InvalidArgument}
		if c == InvalidClient {
			known.Code = codes.Unauthenticated
		}
		all = append(all, known)
	}
	return all
}

// reason returns the code in upper case, as AIP-193 writes reasons.
func (c Code) reason() string { return strings.ToUpper(string(c)) }

// With returns a fault whose reason is the code.
func With(c Code, err error) error { return fault.WithReason(err, c.reason()) }

// Of returns the code that err, a fault or what a gRPC call returned, has for a
// reason, or "" where it has none.
func Of(err error) Code {
	if c := Code(strings.ToLower(fault.Reason(err))); slices.Contains(reasons, c) {
		return c
	}
	return ""
}
