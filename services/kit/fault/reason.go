package fault

import (
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is that of every ErrorInfo that Tidegate returns: the product's name. With
// it a reason says the same wherever it comes from, whichever service found it
// (AIP-193).
const Domain = "tidegate"

// Reasons that say more than the code of an error, because callers or operators then
// do something else. An error without one of these has its code's name as its reason,
// such as NOT_FOUND. A reason never changes, and has a row in docs/api.md.
const (
	ReasonBodyTooLarge         = "BODY_TOO_LARGE"
	ReasonMalformedBody        = "MALFORMED_BODY"
	ReasonUnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE"
	ReasonPathNotFound         = "PATH_NOT_FOUND"
	ReasonMethodNotAllowed     = "METHOD_NOT_ALLOWED"

	ReasonTokenMissing  = "TOKEN_MISSING"
	ReasonTokenExpired  = "TOKEN_EXPIRED"
	ReasonAccessEnded   = "ACCESS_ENDED"
	ReasonWrongPassword = "WRONG_PASSWORD"
	ReasonSignInEnded   = "SIGN_IN_ENDED"
	ReasonUserSuspended = "USER_SUSPENDED"
	ReasonUserPending   = "USER_PENDING"

	ReasonTooManyFailures     = "TOO_MANY_FAILURES"
	ReasonTooManySignIns      = "TOO_MANY_SIGN_INS"
	ReasonTooManySignUps      = "TOO_MANY_SIGN_UPS"
	ReasonTooManyAPIs         = "TOO_MANY_APIS"
	ReasonTooManyApplications = "TOO_MANY_APPLICATIONS"
	ReasonTooManyDenyRules    = "TOO_MANY_DENY_RULES"

	ReasonEtagMismatch        = "ETAG_MISMATCH"
	ReasonLastAdministrator   = "LAST_ADMINISTRATOR"
	ReasonSignUpOff           = "SIGN_UP_OFF"
	ReasonVersionNotPublished = "VERSION_NOT_PUBLISHED"
	ReasonPlanNotOffered      = "PLAN_NOT_OFFERED"
	ReasonSubscriptionBlocked = "SUBSCRIPTION_BLOCKED"
	ReasonNotSubscribed       = "NOT_SUBSCRIBED"
	ReasonOAuthClientMissing  = "OAUTH_CLIENT_MISSING"
	ReasonEndpointMissing     = "ENDPOINT_MISSING"

	ReasonRecordLeftOut = "RECORD_LEFT_OUT"

	ReasonDatabaseUnreachable = "DATABASE_UNREACHABLE"
	ReasonDatabaseFull        = "DATABASE_FULL"
	ReasonDatabaseReadOnly    = "DATABASE_READ_ONLY"
	ReasonServiceUnreachable  = "SERVICE_UNREACHABLE"
)

// Known is a reason and the code of the errors that have it.
type Known struct {
	Reason string
	Code   codes.Code
}

// Reasons returns every reason that errors have. Those of OAuth 2.0 are package
// oauthcode's.
func Reasons() []Known {
	all := []Known{
		{ReasonBodyTooLarge, codes.InvalidArgument},
		{ReasonMalformedBody, codes.InvalidArgument},
		{ReasonUnsupportedMediaType, codes.InvalidArgument},
		{ReasonPathNotFound, codes.NotFound},
		{ReasonMethodNotAllowed, codes.Unimplemented},
		{ReasonTokenMissing, codes.Unauthenticated},
		{ReasonTokenExpired, codes.Unauthenticated},
		{ReasonAccessEnded, codes.Unauthenticated},
		{ReasonWrongPassword, codes.Unauthenticated},
		{ReasonSignInEnded, codes.Unauthenticated},
		{ReasonUserSuspended, codes.PermissionDenied},
		{ReasonUserPending, codes.PermissionDenied},
		{ReasonTooManyFailures, codes.ResourceExhausted},
		{ReasonTooManySignIns, codes.ResourceExhausted},
		{ReasonTooManySignUps, codes.ResourceExhausted},
		{ReasonTooManyAPIs, codes.ResourceExhausted},
		{ReasonTooManyApplications, codes.ResourceExhausted},
		{ReasonTooManyDenyRules, codes.ResourceExhausted},
		{ReasonEtagMismatch, codes.Aborted},
		{ReasonLastAdministrator, codes.FailedPrecondition},
		{ReasonSignUpOff, codes.FailedPrecondition},
		{ReasonVersionNotPublished, codes.FailedPrecondition},
		{ReasonPlanNotOffered, codes.FailedPrecondition},
		{ReasonSubscriptionBlocked, codes.FailedPrecondition},
		{ReasonNotSubscribed, codes.FailedPrecondition},
		{ReasonOAuthClientMissing, codes.FailedPrecondition},
		{ReasonEndpointMissing, codes.FailedPrecondition},
		{ReasonRecordLeftOut, codes.NotFound},
		{ReasonDatabaseUnreachable, codes.Unavailable},
		{ReasonDatabaseFull, codes.Unavailable},
		{ReasonDatabaseReadOnly, codes.Unavailable},
		{ReasonServiceUnreachable, codes.Unavailable},
	}
	for _, code := range []codes.Code{
		codes.Canceled, codes.InvalidArgument, codes.DeadlineExceeded, codes.NotFound, codes.AlreadyExists,
		codes.PermissionDenied, codes.ResourceExhausted, codes.FailedPrecondition, codes.Aborted,
		codes.Unimplemented, codes.Internal, codes.Unavailable, codes.Unauthenticated,
	} {
		all = append(all, Known{nameOf(code), code})
	}
	return all
}

// nameOf returns the name of a code as the protocol writes it, such as NOT_FOUND.
func nameOf(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED" // Go alone spells it with one L
	}
	var name strings.Builder
	for i, c := range code.String() {
		if i > 0 && unicode.IsUpper(c) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(c))
	}
	return name.String()
}

// Complete returns a status that has a reason: s itself, or s with the reason of its
// code. A nil s or one that is OK is returned as it is.
func Complete(s *status.Status) *status.Status {
	if s.Code() == codes.OK || infoOf(s) != nil {
		return s
	}
	with, err := s.WithDetails(&errdetails.ErrorInfo{Reason: nameOf(s.Code()), Domain: Domain})
	if err != nil {
		return s
	}
	return with
}

// Reason returns the reason of a fault or of a received status, or "" for an error
// that is neither and for a status that has none.
func Reason(err error) string {
	s, ok := status.FromError(err)
	if info := infoOf(s); ok && info != nil && info.GetDomain() == Domain {
		return info.GetReason()
	}
	return ""
}

// infoOf returns the ErrorInfo of a status, or nil.
func infoOf(s *status.Status) *errdetails.ErrorInfo {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}
