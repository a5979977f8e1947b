package problem

import "github.com/tidegatehq/tidegate/services/gateway/internal/ending"

// Code is why a handshake is refused. Its word is in the answer, in the record and in
// metrics; its number is nowhere outside of the gateway.
type Code uint8

// The codes.
const (
	BadRequest Code = iota + 1
	BadPath
	CredentialMissing
	CredentialInvalid
	NotSubscribed
	Blocked
	Denied
	NoEndpoint
	OriginRefused
	AddressRefused
	RefererRefused
	NotFound
	MethodNotAllowed
	BodyTooLarge
	TargetTooLong
	UpgradeRequired
	AddressBusy
	AddressFull
	AddressRate
	HandshakeRate
	ConnectionsFull
	SessionQuota
	RequestRate
	RequestQuota
	RequestsFull
	TicketsFull
	HeadTooLarge
	BackendRefused
	BackendUnreachable
	BackendForbidden
	BackendIncorrect
	BackendBroken
	BackendCredential
	Busy
	VersionBusy
	BackendBusy
	SessionsFull
	OutOfDescriptors
	CredentialUnchecked
	IdentityUnsigned
	FeatureMissing
	PlanUnknown
	NotReady
	Draining
	OperatorClose
	Unavailable
	BackendTimeout
	HandshakeTimeout
	Loop
	codes // how many there are, with 0
)

// row is all that there is to know about a code.
type row struct {
	word   string
	status string       // the HTTP status that goes with it, or those
	by     ending.Party // who refuses
	doc    string       // in docs/gateway.md
}

// table has the codes in the order of docs/gateway.md, which has the same rows: a test
// compares them.
var table = [codes]row{
	BadRequest: {"BAD_REQUEST", "400", ending.Gateway,
		"The handshake is malformed: a bad key, bad headers, a body, or plain HTTP where TLS is spoken."},
	BadPath: {"BAD_PATH", "400", ending.Gateway,
		"The path has a dot segment, an empty segment in its middle, or an encoded slash, backslash or NUL."},
	CredentialMissing: {"CREDENTIAL_MISSING", "401", ending.Gateway,
		"There is no credential at any place that the version lists; `WWW-Authenticate: Bearer` (RFC 6750)."},
	CredentialInvalid: {"CREDENTIAL_INVALID", "401", ending.Gateway,
		"The credential is malformed, expired, revoked or unknown; the record says which. `WWW-Authenticate: Bearer`."},
	NotSubscribed: {"NOT_SUBSCRIBED", "403", ending.Gateway,
		"The application is not subscribed to the version."},
	Blocked: {"BLOCKED", "403", ending.Gateway,
		"The application's subscription is blocked, its owner is suspended, or access was withdrawn during the handshake."},
	Denied: {"DENIED", "403", ending.Gateway,
		"A [deny rule](#deny-rules) matches the client's address, the API, the application or the subscription; the record names the rule."},
	NoEndpoint: {"NO_ENDPOINT", "403", ending.Gateway,
		"The version has no endpoint of the credential's stage."},
	OriginRefused: {"ORIGIN_REFUSED", "403", ending.Gateway,
		"The version does not list the page's origin."},
	AddressRefused: {"ADDRESS_REFUSED", "403", ending.Gateway,
		"The API key is not good from the client's address."},
	RefererRefused: {"REFERER_REFUSED", "403", ending.Gateway,
		"The API key is not good from the page, or from no page."},
	NotFound: {"NOT_FOUND", "404", ending.Gateway,
		"There is no such API or version, or it is not published; the record says which."},
	MethodNotAllowed: {"METHOD_NOT_ALLOWED", "405", ending.Gateway,
		"The method is not GET."},
	BodyTooLarge: {"BODY_TOO_LARGE", "413", ending.Gateway,
		"The body of a [plain request](#http-beside-the-socket) is over the bound of the version or the gateway, or over the greatest message of a plan."},
	TargetTooLong: {"TARGET_TOO_LONG", "414", ending.Gateway,
		"The request target is over 8 KiB."},
	UpgradeRequired: {"UPGRADE_REQUIRED", "426", ending.Gateway,
		"The request is no WebSocket handshake of version 13."},
	AddressBusy: {"ADDRESS_BUSY", "429", ending.Gateway,
		"Too many handshakes of the client's address (IPv6: its /64) are in progress; `Retry-After` says when to try again."},
	AddressFull: {"ADDRESS_FULL", "429", ending.Gateway,
		"The client's address has too many sessions; `Retry-After`."},
	AddressRate: {"ADDRESS_RATE", "429", ending.Gateway,
		"The client's address (IPv6: its /64) sends too many handshakes in a second; `Retry-After`."},
	HandshakeRate: {"HANDSHAKE_RATE", "429", ending.Gateway,
		"A plan's rate of handshakes is used up; `Retry-After`, and [which limit](#which-limit-it-was) it was."},
	ConnectionsFull: {"CONNECTIONS_FULL", "429", ending.Gateway,
		"There are as many connections as a plan allows at once; `Retry-After`, and which limit it was."},
	SessionQuota: {"SESSION_QUOTA", "429", ending.Gateway,
		"A plan's quota of sessions is used up; `Retry-After`, and which limit it was."},
	RequestRate: {"REQUEST_RATE", "429", ending.Gateway,
		"A plan's rate of messages or bytes has no room for the plain request; `Retry-After`, and which limit it was."},
	RequestQuota: {"REQUEST_QUOTA", "429", ending.Gateway,
		"A plan's quota of messages or bytes is used up; `Retry-After`, and which limit it was."},
	RequestsFull: {"REQUESTS_FULL", "429", ending.Gateway,
		"The application, or the client's address where no credential is needed, has too many [plain requests](#http-beside-the-socket) of this version in progress; `Retry-After`."},
	TicketsFull: {"TICKETS_FULL", "429", ending.Gateway,
		"The credential has as many [tickets](#tickets) that are not spent as it may; `Retry-After`."},
	HeadTooLarge: {"HEAD_TOO_LARGE", "431", ending.Gateway,
		"The head of the request is over the limit."},
	BackendRefused: {"BACKEND_REFUSED", "401, 403, 404, 410, 429, 502, 503, 504", ending.Backend,
		"The backend answered so, or with another status than these and 101, which is 502; its `Retry-After` and `WWW-Authenticate` are passed on with its own status, its body is not."},
	BackendUnreachable: {"BACKEND_UNREACHABLE", "502", ending.Backend,
		"No connection to the backend could be opened."},
	BackendForbidden: {"BACKEND_FORBIDDEN", "502", ending.Gateway,
		"The backend's address must not be dialled."},
	BackendIncorrect: {"BACKEND_INCORRECT", "502", ending.Backend,
		"The backend's answer is not a correct 101."},
	BackendBroken: {"BACKEND_BROKEN", "502", ending.Backend,
		"The backend closed the connection within the handshake."},
	BackendCredential: {"BACKEND_CREDENTIAL", "502", ending.Backend,
		"The backend answered 401 to the credential that the version has for it, or there is no access token for that."},
	Busy: {"BUSY", "503", ending.Gateway,
		"Too many handshakes, plain requests or look-ups of credentials are in progress; `Retry-After`."},
	VersionBusy: {"VERSION_BUSY", "503", ending.Gateway,
		"Too many handshakes of this version wait for its backend, or too many plain requests of it are in progress; `Retry-After`."},
	BackendBusy: {"BACKEND_BUSY", "503", ending.Gateway,
		"Too many handshakes wait for the same backend; `Retry-After`."},
	SessionsFull: {"SESSIONS_FULL", "503", ending.Gateway,
		"The gateway has as many sessions as it can; `Retry-After`."},
	OutOfDescriptors: {"OUT_OF_DESCRIPTORS", "503", ending.Gateway,
		"There is no file descriptor for the backend's connection; `Retry-After`."},
	CredentialUnchecked: {"CREDENTIAL_UNCHECKED", "503", ending.Gateway,
		"The control plane is away and nothing is cached; `Retry-After`."},
	IdentityUnsigned: {"IDENTITY_UNSIGNED", "503", ending.Gateway,
		"The backend is to be told in a JWT who the client is, and the control plane is away; `Retry-After`."},
	FeatureMissing: {"FEATURE_MISSING", "503", ending.Gateway,
		"This gateway lacks a feature that the route requires; `Retry-After`."},
	PlanUnknown: {"PLAN_UNKNOWN", "503", ending.Gateway,
		"The gateway does not know a plan yet, or what is left of its quota of sessions, or does not understand one of its limits; `Retry-After`."},
	NotReady: {"NOT_READY", "503", ending.Gateway,
		"The gateway has no routes yet; `Retry-After`."},
	Draining: {"DRAINING", "503", ending.Gateway,
		"The gateway is stopping; `Retry-After`."},
	OperatorClose: {"OPERATOR_CLOSE", "503", ending.Operator,
		"An operator closed the session during its handshake; `Retry-After`."},
	Unavailable: {"UNAVAILABLE", "503", ending.Gateway,
		"Something failed that clients cannot help; the gateway's log says what. `Retry-After`."},
	BackendTimeout: {"BACKEND_TIMEOUT", "504", ending.Backend,
		"The backend did not answer in time."},
	HandshakeTimeout: {"HANDSHAKE_TIMEOUT", "504", ending.Gateway,
		"The whole handshake took too long."},
	Loop: {"LOOP", "508", ending.Gateway,
		"The handshake came through this installation already, by its `Via` or `CDN-Loop`: a backend leads back to it."},
}

// Codes is how many codes there are: each is less, and 0 is none.
const Codes = int(codes)

// String returns the code's word, empty for 0.
func (c Code) String() string { return table[c].word }

// By returns who refuses a handshake with this code.
func (c Code) By() ending.Party { return table[c].by }

// Reason returns the end reason that the record of a refusal has.
func (c Code) Reason() ending.Reason {
	if c == BackendRefused {
		return ending.BackendRefused
	}
	return ending.Refused
}
