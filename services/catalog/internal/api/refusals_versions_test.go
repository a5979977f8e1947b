package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

const (
	badVersion      = "must be 1 to 30 characters of A-Z a-z 0-9 _ . - and start with a letter or a digit, as 1.0.0"
	badEndpoint     = "must be a ws, wss, http or https URL of at most 2048 characters with a host, without user info and fragment"
	badHost         = "its host must be a DNS name or an IP address"
	badPort         = "its port must be a number from 1 to 65535"
	badIdle         = "version.idle_timeout: must be greater than or equal to 1s and less than or equal to 2592000s"
	badAge          = "version.max_session_age: must be greater than or equal to 1s and less than or equal to 2592000s"
	badOrigin       = "must be an origin, as https://example.com, https://*.example.com, http://[::1]:3000, app://localhost, file:// or null"
	optionsField    = "version.backend_options"
	badFixed        = ": fixed_host is needed with HOST_FIXED, and must be empty without it"
	badFixedHost    = "must be a host with or without a port, as app.example.com:8443, of at most 255 characters"
	fixed           = catalogv1.BackendOptions_HOST_FIXED
	badMessageBytes = "version.max_message_bytes: must be greater than or equal to 0 and less than or equal to 1073741824"
	places0         = "version.security[0].oauth2.places[0]."
	firstAt         = "version.security[0].oauth2.places[0]"
	wholeOrigin     = "must be the whole origin of a page, as https://app.example.com, without * and not null, because security[0].oauth2.places[0] is a cookie"
	badTag          = "must have 1 to 50 characters, no control characters and no space at either end"
	notPromised     = "this needs the role publisher: without it, traffic_plan, subscriptionless and pass_credential cannot be changed"
	badVersionName  = "name: must be apis/{api}/versions/{version}"
)

// errorFrames are those of a version.
func errorFrames(template catalogv1.ErrorFrames_Template, text string) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) { v.ErrorFrames = &catalogv1.ErrorFrames{Template: template, Text: text} }
}

const badCloseCode = "must be 1000, 1001, 1008, 1011, 1012, 1013, or from 3000 to 4999, or 0 for the one by default"

// endings are what clients of a version get.
func endings(all ...*catalogv1.ClientEnding) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) { v.ClientEndings = all }
}

const (
	badPrefix      = "must be 1 to 8 segments of A-Z a-z 0-9 _ . -, each after a / and starting with a letter, a digit or _, without a / at the end, as /app/socket"
	badVirtualHost = "must be a host name in lower case without a port, as chat.example.com, or *.example.com for all names with one label more"
)

// furtherAt are further addresses of a version: hosts, each with the prefix after it.
func furtherAt(list ...string) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) {
		v.FurtherAddresses = nil
		for at := range slices.Chunk(list, 2) {
			v.FurtherAddresses = append(v.FurtherAddresses, &catalogv1.FurtherAddress{Host: at[0], Prefix: at[1]})
		}
	}
}

// pairs are n addresses on the shared host.
func pairs(n int) (list []string) {
	for i := range n {
		list = append(list, "", fmt.Sprint("/a", i))
	}
	return list
}

// options are those of a version with a fixed host.
func options(host catalogv1.BackendOptions_Host, fixed string) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) { v.BackendOptions = &catalogv1.BackendOptions{Host: host, FixedHost: fixed} }
}

// badField is a version of which one field is wrong.
type badField struct {
	name    string
	change  func(*catalogv1.Version)
	message string
}

// badFields are versions of which one field is wrong, for creating and updating.
func badFields() []badField {
	production := func(url string) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) { v.Endpoints = &catalogv1.Endpoints{Production: endpoint(url)} }
	}
	origins := func(all ...string) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) { v.AllowedOrigins = all }
	}
	security := func(s ...*catalogv1.SecurityScheme) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) { v.Security = s }
	}
	cookie := func(name string, origins ...string) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) {
			v.Security, v.AllowedOrigins = []*catalogv1.SecurityScheme{oauth2(place("cookie:" + name))}, origins
		}
	}
	many := func(n int, format string) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	at, origin := "version.endpoints.production[0].url: ", "version.allowed_origins[0]: "
	return append(badHTTP(), []badField{
		{"a long description", func(v *catalogv1.Version) { v.Description = strings.Repeat("x", 4097) }, "version.description: must be at most 4096 characters"},
		{"NUL in the description", func(v *catalogv1.Version) { v.Description = "\x00" }, "version.description: must not have the character NUL"},
		{"NUL in a tag", func(v *catalogv1.Version) { v.Tags = []string{"a", "\x00"} }, "version.tags[1]: must not have the character NUL"},
		{"an empty tag", func(v *catalogv1.Version) { v.Tags = []string{""} }, "version.tags[0]: " + badTag},
		{"a long tag", func(v *catalogv1.Version) { v.Tags = []string{strings.Repeat("x", 51)} }, "version.tags[0]: " + badTag},
		{"a tag with a newline", func(v *catalogv1.Version) { v.Tags = []string{"a", "a\nb"} }, "version.tags[1]: " + badTag},
		{"a tag of a space", func(v *catalogv1.Version) { v.Tags = []string{" "} }, "version.tags[0]: " + badTag},
		{"a tag with a no-break space at its end", func(v *catalogv1.Version) { v.Tags = []string{"a\u00a0"} }, "version.tags[0]: " + badTag},
		{"a tag with a hidden character", func(v *catalogv1.Version) { v.Tags = []string{"a\u200bb"} }, "version.tags[0]: " + badTag},
		{"a tag twice", func(v *catalogv1.Version) { v.Tags = []string{"a", "a"} }, "version.tags: must not have the same value twice"},
		{"21 tags", func(v *catalogv1.Version) { v.Tags = many(21, "%d") }, "version.tags: must contain no more than 20 item(s)"},
		{"empty endpoints", func(v *catalogv1.Version) { v.Endpoints = &catalogv1.Endpoints{} }, "version.endpoints: needs a production or a sandbox endpoint"},
		{"a relative endpoint", production("/echo"), at + badEndpoint},
		{"a variable for a host", production("ws://{uri.path.1}/"), at + "must have variables in its path and query only"},
		{"an unknown variable", production("ws://backend/{room}"), at + "must have { and } only for variables: {uri.path.N} with N from 1 to 20, or {uri.query.NAME} with a NAME of A-Z a-z 0-9 . _ ~ -"},
		{"a handshake for a health check with variables", func(v *catalogv1.Version) {
			production("ws://backend/{uri.path.1}")(v)
			v.Endpoints.HealthCheck = &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_WEBSOCKET}
		}, "version.endpoints.health_check.kind: must be KIND_HTTP with variables in an endpoint's URL, which only a client's request fills in"},
		{"an endpoint of another scheme", production("ftp://backend"), at + badEndpoint},
		{"an endpoint without a host", production("ws:///x"), at + badEndpoint},
		{"an endpoint with a user", production("ws://user:secret@backend"), at + badEndpoint},
		{"an endpoint with a fragment", production("ws://backend/#x"), at + badEndpoint},
		{"an endpoint with a space", production("ws://backend/a b"), at + badEndpoint},
		{"an endpoint whose query is not ASCII", production("ws://backend/?q=ä"), at + "must have a query of ASCII characters only; others are percent-encoded"},
		{"a long endpoint", production("ws://b/" + strings.Repeat("x", 2042)), at + badEndpoint},
		{"an endpoint with a bad escape", production("ws://backend/%zz"), at + `must be a URL: invalid URL escape "%zz"`},
		{"an endpoint with a control character", production("ws://backend/\x7f"), at + "must be a URL: net/url: invalid control character in URL"},
		{"an endpoint with port 0", production("ws://backend:0"), at + badPort},
		{"an endpoint with a large port", production("ws://backend:65536"), at + badPort},
		{"an endpoint with an empty port", production("ws://backend:/x"), at + badPort},
		{"an endpoint with a port of letters", production("ws://backend:http"), at + `must be a URL: invalid port ":http" after host`},
		{"an endpoint with only a port", production("ws://:80"), at + badHost},
		{"an endpoint with a bad name", production("ws://-x-"), at + badHost},
		{"an endpoint with an empty label", production("ws://a..b"), at + badHost},
		{"an endpoint with a long label", production("ws://" + strings.Repeat("a", 64)), at + badHost},
		{"an endpoint with a name that is not ASCII", production("ws://bäckend"), at + badHost},
		{"an endpoint with half an address", production("ws://10.0.0"), at + badHost},
		{"an endpoint with a bad address", production("ws://1.2.3.256"), at + badHost},
		{"an endpoint with a zone", production("ws://[fe80::1%25eth0]:80"), at + badHost},
		{"long URLs", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: longEndpoints(9)}
		}, "version.endpoints: must have URLs of at most 16384 characters together, with those of http"},
		{"a bad sandbox", func(v *catalogv1.Version) { v.Endpoints = &catalogv1.Endpoints{Sandbox: endpoint("ws://b:99999")} }, "version.endpoints.sandbox[0].url: " + badPort},
		{"an endpoint twice in a stage", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: append(endpoint("ws://a"), endpoint("ws://a")...)}
		}, "version.endpoints.production[1].url: must not be the same as another one of its stage"},
		{"too many endpoints", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{}
			for i := range 11 {
				v.Endpoints.Production = append(v.Endpoints.Production, endpoint(fmt.Sprint("ws://b", i))...)
			}
		}, "version.endpoints.production: must contain no more than 10 item(s)"},
		{"a health check of no kind", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://a"), HealthCheck: &catalogv1.HealthCheck{}}
		}, "version.endpoints.health_check.kind: must be KIND_WEBSOCKET or KIND_HTTP"},
		{"a health check by HTTP without a path", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://a"), HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP}}
		}, "version.endpoints.health_check: http_path is needed with KIND_HTTP, and must be empty without it"},
		{"a health check of a path with a space", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://a"), HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/a b"}}
		}, "version.endpoints.health_check.http_path: must be a path of at most 1024 characters that starts with /, as /healthz, without spaces and without #"},
		{"a suspension that shrinks", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://a"), Suspension: &catalogv1.Suspension{First: durationpb.New(2 * time.Second), Longest: durationpb.New(time.Second)}}
		}, "version.endpoints.suspension: longest must not be less than first"},
		{"a factor below 1", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://a"), Suspension: &catalogv1.Suspension{Factor: 0.5}}
		}, "version.endpoints.suspension.factor: must be from 1 to 10, or 0 for 2"},
		{"an endpoint of no kind", func(v *catalogv1.Version) {
			v.Endpoints = &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{}}}
		}, "version.endpoints.production[0].endpoint: is required"},
		{"a scheme of no kind", security(&catalogv1.SecurityScheme{}), "version.security[0].scheme: is required"},
		{"none with another scheme", security(oauth2(), anonymous()), "version.security[1]: none stands alone"},
		{"none twice", security(anonymous(), anonymous()), "version.security[0]: none stands alone; version.security[1]: none stands alone"},
		{"a place twice", security(oauth2(inHeader("Authorization"), inHeader("authorization"))),
			"version.security[0].oauth2.places[1]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"schemes with a place in common", security(oauth2(inQuery("access_token")), oauth2()),
			"version.security[1].oauth2.places[1]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"an API key where tokens are", security(oauth2(), &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{
			Places: []*catalogv1.CredentialPlace{{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "AUTHORIZATION"}}}},
		}}}), "version.security[1].api_key.places[0]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"a place of no kind", security(oauth2(&catalogv1.CredentialPlace{})), "version.security[0].oauth2.places[0].place: is required"},
		{"a parameter twice", security(oauth2(inQuery("a"), place("query:A"), place("query:a:base64"))),
			"version.security[0].oauth2.places[2]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"a ticket and a parameter of its name", security(oauth2(place("query:ticket"), place("ticket"))),
			"version.security[0].oauth2.places[1]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"sub-protocols twice", security(oauth2(place("subprotocol")), oauth2(place("subprotocol"))),
			"version.security[1].oauth2.places[0]: must differ from security[0].oauth2.places[0]: the two could not be told apart"},
		{"a header with a space", security(oauth2(inHeader("X Token"))), places0 + "header.name: must be the name of a header, as Authorization or X-Api-Key, of 1 to 64 characters"},
		{"a header of the handshake", security(oauth2(inHeader("sec-WebSocket-key"))), places0 + "header.name: must not be sec-WebSocket-key, which means something else in a handshake"},
		{"a header of proxies", security(oauth2(inHeader("X_Forwarded_For"))), places0 + "header.name: must not be X_Forwarded_For, which means something else in a handshake"},
		{"the header Cookie", security(oauth2(inHeader("cookie"))), places0 + "header.name: must not be cookie, which means something else in a handshake"},
		{"a header in an unknown form", security(oauth2(&catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "A", Form: 99}}})), places0 + "header.form: is not one of the defined values"},
		{"a parameter with a separator", security(oauth2(inQuery("a&b"))), places0 + "query.name: must be the name of a parameter, as access_token, of 1 to 64 characters of A-Z a-z 0-9 . _ ~ $ @ ! * [ ] -"},
		{"a long parameter", security(oauth2(inQuery(strings.Repeat("a", 65)))), places0 + "query.name: must be the name of a parameter, as access_token, of 1 to 64 characters of A-Z a-z 0-9 . _ ~ $ @ ! * [ ] -"},
		{"a first message before another place", security(oauth2(place("first-message"), inQuery("a"))), firstAt + ": a first message is the last place: those before it are looked at in the handshake"},
		{"a first message in an earlier scheme", security(oauth2(place("first-message")), oauth2(inQuery("a"))), firstAt + ": a first message is the last place: those before it are looked at in the handshake"},
		{"a condition without a pointer", security(oauth2(place("first-message,if=/a=b"))), places0 + "first_message.condition: is for a message in JSON: set the pointer, too"},
		{"a pointer without a slash", security(oauth2(place("first-message,at=token"))), places0 + "first_message.pointer: must be empty or a JSON pointer, as /token, of at most 256 bytes"},
		{"a pointer with a bare tilde", security(oauth2(place("first-message,at=/a~b"))), places0 + "first_message.pointer: must be empty or a JSON pointer, as /token, of at most 256 bytes"},
		{"a long pointer", security(oauth2(place("first-message,at=/" + strings.Repeat("ä", 128)))), places0 + "first_message.pointer: must be empty or a JSON pointer, as /token, of at most 256 bytes"},
		{"a condition on the whole text", security(oauth2(place("first-message,at=/a,if=b=c"))), places0 + "first_message.condition.pointer: must be a JSON pointer, as /method, of at most 256 bytes"},
		{"a sub-protocol with a space", security(oauth2(place("first-message,protocol=a%20b"))), places0 + "first_message.subprotocols[0]: must be the name of a sub-protocol, as mqtt, of 1 to 64 characters"},
		{"a cookie with a separator", cookie("a;b", "https://a.example"), places0 + "cookie.name: must be the name of a cookie, as session, of 1 to 64 characters"},
		{"a cookie of ours", cookie("__Host-Tidegate", "https://a.example"), places0 + "cookie.name: must not begin with tidegate, as the cookies of Tidegate's own pages do"},
		{"a cookie for any page", cookie("a"), "version.allowed_origins: must list the pages that may connect, as https://app.example.com, because security[0].oauth2.places[0] is a cookie"},
		{"a cookie for subdomains and null", cookie("a", "https://a.example", "https://*.a.example", "null"),
			"version.allowed_origins[1]: " + wholeOrigin + "; version.allowed_origins[2]: " + wholeOrigin},
		{"a plan that is none", func(v *catalogv1.Version) { v.Plans = []string{"plans/gold", "plans/none"} }, "version.plans[1]: there is no plans/none"},
		{"a plan by its display name", func(v *catalogv1.Version) { v.Plans = []string{"Gold"} }, "version.plans[0]: must be plans/{plan}"},
		{"a plan twice", func(v *catalogv1.Version) { v.Plans = []string{"plans/gold", "plans/gold"} }, "version.plans: must not have the same value twice"},
		{"51 plans", func(v *catalogv1.Version) { v.Plans = many(51, "plans/p%d") }, "version.plans: must contain no more than 50 item(s)"},
		{"an origin with a path", origins("https://example.com/"), origin + badOrigin},
		{"an origin without a scheme", origins("example.com"), origin + badOrigin},
		{"any origin", origins("*"), origin + badOrigin},
		{"an origin with a star inside", origins("https://a.*.example.com"), origin + badOrigin},
		{"a long origin", origins("https://" + strings.Repeat("a", 248)), origin + badOrigin},
		{"an origin of another scheme with a path", origins("app://a/b"), origin + badOrigin},
		{"an origin of another scheme with a star", origins("app://*.a"), origin + badOrigin},
		{"an origin of a file", origins("file:///index.html"), origin + badOrigin},
		{"an origin that is null in capital letters", origins("NULL"), origin + badOrigin},
		{"an origin that is null with a scheme", origins("https://null/"), origin + badOrigin},
		{"an origin with an IPv6 address without brackets", origins("http://::1"), origin + badOrigin},
		{"an origin with a large port beside an IPv6 address", origins("http://[::1]:70000"), origin + badPort},
		{"an origin of another scheme with port 0", origins("app://a:0"), origin + badPort},
		{"an origin with a large port", origins("https://a:70000"), origin + badPort},
		{"an origin with an empty label", origins("https://a..b"), origin + badHost},
		{"an origin twice", origins("https://a", "https://a"), "version.allowed_origins: must not have the same value twice"},
		{"101 origins", origins(many(101, "https://o%d")...), "version.allowed_origins: must contain no more than 100 item(s)"},
		{"long origins", origins(many(90, "https://"+strings.Repeat("a.", 50)+"o%d")...), "version.allowed_origins: must have at most 8192 characters together"},
		{"a short session", func(v *catalogv1.Version) { v.MaxSessionAge = durationpb.New(time.Millisecond) }, badAge},
		{"a short idle time", func(v *catalogv1.Version) { v.IdleTimeout = durationpb.New(time.Second - 1) }, badIdle},
		{"a long idle time", func(v *catalogv1.Version) { v.IdleTimeout = durationpb.New(30*24*time.Hour + 1) }, badIdle},
		{"a long session", func(v *catalogv1.Version) { v.MaxSessionAge = durationpb.New(30*24*time.Hour + 1) }, badAge},
		{"a fixed host that is none", options(fixed, ""), optionsField + badFixed},
		{"a fixed host for another option", options(catalogv1.BackendOptions_HOST_CLIENT, "a"), optionsField + badFixed},
		{"a fixed host with a scheme", options(fixed, "https://a"), optionsField + ".fixed_host: " + badFixedHost},
		{"a fixed host with a line break", options(fixed, "a\r\nX: y"), optionsField + ".fixed_host: " + badFixedHost},
		{"a long fixed host", options(fixed, strings.Repeat("a.", 128)), optionsField + ".fixed_host: " + badFixedHost},
		{"a fixed host with an empty label", options(fixed, "a..b"), optionsField + ".fixed_host: " + badHost},
		{"a fixed host with port 0", options(fixed, "a:0"), optionsField + ".fixed_host: " + badPort},
		{"an unknown host option", options(9, ""), optionsField + ".host: is not one of the defined values"},
		{"an unknown origin option", func(v *catalogv1.Version) { v.BackendOptions = &catalogv1.BackendOptions{Origin: 9} }, optionsField + ".origin: is not one of the defined values"},
		{"a rule for a header without a name", headers(setHeader("", "v")), rule0 + "name: " + badHeaderName},
		{"a rule for a header with a space", headers(setHeader("X Y", "v")), rule0 + "name: " + badHeaderName},
		{"a rule for a header with a long name", headers(setHeader(strings.Repeat("x", 101), "v")), rule0 + "name: " + badHeaderName},
		{"a rule for Host", headers(setHeader("host", "v")), rule0 + "name: must not be Host, which backend_options.host sets"},
		{"a rule for Origin", headers(removeHeader("ORIGIN")), rule0 + "name: must not be Origin, which backend_options.origin sets"},
		{"a rule that says nothing", headers(&catalogv1.HeaderRule{Name: "X-A"}), rule0 + "action: is required"},
		{"a rule that does not remove", headers(&catalogv1.HeaderRule{Name: "X-A", Action: &catalogv1.HeaderRule_Remove{}}), rule0 + "remove: must equal true"},
		{"a header with a line break", headers(setHeader("X-A", "a\r\nX-B: b")), rule0 + "set: " + badHeaderValue},
		{"an empty header", headers(setHeader("X-A", "")), rule0 + "set: " + badHeaderValue},
		{"a header that ends with a space", headers(setHeader("X-A", "a ")), rule0 + "set: " + badHeaderValue},
		{"a header outside ASCII", headers(setHeader("X-A", "ü")), rule0 + "set: " + badHeaderValue},
		{"a long header", headers(setHeader("X-A", strings.Repeat("x", 4097))), rule0 + "set: " + badHeaderValue},
		{"a secret with a line break", headers(secretHeader("X-A", "a\nb")), rule0 + "secret.value: must have at most 4096 visible ASCII characters, with spaces only between them"},
		{"a secret that is not there", headers(secretHeader("X-A", "")), rule0 + "secret.value: is required: none is stored"},
		{"a header with two rules", headers(setHeader("X-A", "1"), removeHeader("x_a")), "version.backend_options.headers[1].name: is the header of headers[0], too: a header has one rule"},
		{"a copy of no header", headers(copyHeader("X-A", "")), rule0 + "copy_of: " + badHeaderName},
		{"a copy of a header that does not pass", headers(copyHeader("X-A", "X-Forwarded-User")), rule0 + "copy_of: must not be X-Forwarded-User, which does not pass from clients to backends"},
		{"31 rules for headers", headers(manyHeaders(31, "v")...), "version.backend_options.headers: must contain no more than 30 item(s)"},
		{"large rules for headers", headers(manyHeaders(3, strings.Repeat("v", 3000))...), "version.backend_options.headers: must have at most 8192 bytes of names and values together"},
		{"an address twice", furtherAt("chat.example.com", "/a", "chat.example.com", "/A"), "version.further_addresses[1]: is the same as further_addresses[0]"},
		{"an address with a slash at its end", furtherAt("", "/a/"), "version.further_addresses[0].prefix: " + badPrefix},
		{"an address of the gateway's own", furtherAt("", "/-/healthz"), "version.further_addresses[0].prefix: " + badPrefix},
		{"an address without a slash", furtherAt("", "a"), "version.further_addresses[0].prefix: " + badPrefix},
		{"an address with a dot segment", furtherAt("", "/a/../b"), "version.further_addresses[0].prefix: " + badPrefix},
		{"an encoded address", furtherAt("", "/%61"), "version.further_addresses[0].prefix: " + badPrefix},
		{"an address of nine segments", furtherAt("", "/1/2/3/4/5/6/7/8/9"), "version.further_addresses[0].prefix: " + badPrefix},
		{"a host with a port", furtherAt("chat.example.com:443", "/a"), "version.further_addresses[0].host: " + badVirtualHost},
		{"a host in capitals", furtherAt("Chat.example.com", "/a"), "version.further_addresses[0].host: " + badVirtualHost},
		{"an IP address as a host", furtherAt("192.0.2.1", "/a"), "version.further_addresses[0].host: " + badVirtualHost},
		{"a wildcard in the middle", furtherAt("chat.*.com", "/a"), "version.further_addresses[0].host: " + badVirtualHost},
		{"a host that there is not", furtherAt("chat.example.com", "/a"), `version.further_addresses[0].host: there is no virtual host "chat.example.com": the installation has none, only the shared host, which is an empty text`},
		{"an address of an unknown kind", func(v *catalogv1.Version) {
			v.FurtherAddresses = []*catalogv1.FurtherAddress{{Prefix: "/a", Serves: 99}}
		}, "version.further_addresses[0].serves: is not one of the defined values"},
		{"an address for HTTP that there is not", func(v *catalogv1.Version) {
			v.FurtherAddresses = []*catalogv1.FurtherAddress{{Host: "chat.example.com", Serves: catalogv1.FurtherAddress_SERVES_HTTP}}
		}, "version.further_addresses[0].serves: must not be HTTP while the version has no http"},
		{"11 addresses", furtherAt(pairs(11)...), "version.further_addresses: must contain no more than 10 item(s)"},
		{"an ending without a cause", endings(&catalogv1.ClientEnding{Code: 4000}), "version.client_endings[0].cause: is required"},
		{"an ending of an unknown cause", endings(&catalogv1.ClientEnding{Cause: 99, Code: 4000}), "version.client_endings[0].cause: is not one of the defined values"},
		{"an ending with a code that nobody sends", endings(&catalogv1.ClientEnding{Cause: 1, Code: 1006}), "version.client_endings[0].code: " + badCloseCode},
		{"an ending with a code that is too large", endings(&catalogv1.ClientEnding{Cause: 1, Code: 5000}), "version.client_endings[0].code: " + badCloseCode},
		{"an ending that says nothing", endings(&catalogv1.ClientEnding{Cause: 1}), "version.client_endings[0]: needs a code or a text"},
		{"an ending with a long text", endings(&catalogv1.ClientEnding{Cause: 1, Text: strings.Repeat("x", 1025)}), "version.client_endings[0].text: must be at most 1024 bytes"},
		{"two endings of a cause", endings(&catalogv1.ClientEnding{Cause: 1, Code: 4000}, &catalogv1.ClientEnding{Cause: 1, Code: 4001}), "version.client_endings[1].cause: is the cause of client_endings[0], too: a cause has one ending"},
		{"an unknown identity", func(v *catalogv1.Version) { v.BackendOptions = &catalogv1.BackendOptions{Identity: 9} }, optionsField + ".identity: is not one of the defined values"},
		{"no credential to pass on", func(v *catalogv1.Version) {
			v.PassCredential, v.Security = true, []*catalogv1.SecurityScheme{anonymous()}
		}, "version.pass_credential: must be false with the security none, which asks for no credential"},
		{"two for the header of the credential", func(v *catalogv1.Version) {
			v.PassCredential, v.BackendOptions = true, &catalogv1.BackendOptions{Headers: []*catalogv1.HeaderRule{removeHeader("authorization")}}
		}, "version.pass_credential: must be false with backend_options.headers[0], a rule for the header that the credential is passed on in"},
		{"unknown pings", func(v *catalogv1.Version) { v.Pings = 9 }, "version.pings: is not one of the defined values"},
		{"a traffic plan that is none", func(v *catalogv1.Version) { v.TrafficPlan = "plans/none" }, "version.traffic_plan: there is no plans/none"},
		{"a traffic plan by its display name", func(v *catalogv1.Version) { v.TrafficPlan = "Gold" }, "version.traffic_plan: must be plans/{plan}"},
		{"no subscription and no security", func(v *catalogv1.Version) {
			v.Subscriptionless, v.Security = true, []*catalogv1.SecurityScheme{anonymous()}
		}, "version.subscriptionless: must be false with the security none, which asks for no token"},
		{"large messages", func(v *catalogv1.Version) { v.MaxMessageBytes = 1<<30 + 1 }, badMessageBytes},
		{"messages of less than nothing", func(v *catalogv1.Version) { v.MaxMessageBytes = -1 }, badMessageBytes},
		{"an unknown template", errorFrames(9, ""), "version.error_frames.template: is not one of the defined values"},
		{"a template without its text", errorFrames(catalogv1.ErrorFrames_TEMPLATE_TEXT, ""), "version.error_frames.text: is required with the template TEXT, 1 to 1000 bytes"},
		{"a text for another template", errorFrames(catalogv1.ErrorFrames_TEMPLATE_JSON, "x"), "version.error_frames.text: only with the template TEXT"},
		{"a text for no template", errorFrames(0, "x"), "version.error_frames.text: only with the template TEXT"},
		{"a long text", errorFrames(catalogv1.ErrorFrames_TEMPLATE_TEXT, strings.Repeat("ä", 500)+"x"), "version.error_frames.text: must be at most 1000 bytes"},
		{"a long etag", func(v *catalogv1.Version) { v.Etag = strings.Repeat("1", 65) }, "version.etag: must be at most 64 characters"},
	}...)
}

func TestCreateVersionRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	create := func(parent string, v *catalogv1.Version, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.CreateVersion, &catalogv1.CreateVersionRequest{Parent: parent, Version: v}, who...)
	}
	good := func() *catalogv1.Version {
		return &catalogv1.Version{Version: "3.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")}}
	}
	promising := func(traffic string, subscriptionless bool) *catalogv1.Version {
		v := good()
		v.TrafficPlan, v.Subscriptionless = traffic, subscriptionless
		return v
	}
	called := func(version string) func(...grpc.CallOption) error {
		v := good()
		v.Version = version
		return create(w.echo.GetName(), v, w.ann)
	}
	f, err := w.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Under", Context: "/echo/4.0.0"}}, w.ann)
	w.must(f, err)
	bare := &catalogv1.Version{Version: "3.0.0"}
	all := []refusal{
		{"without a token", create(w.echo.GetName(), good()), codes.Unauthenticated, notSignedIn},
		{"without a parent", create("", good(), w.ann), codes.InvalidArgument, "parent: must be apis/{api}"},
		{"with every API as the parent", create("apis/-", good(), w.ann), codes.NotFound, "apis/- not found"},
		{"without a version", create(w.echo.GetName(), nil, w.ann), codes.InvalidArgument, "version: is required"},
		{"of none", create("apis/none", good(), w.ann), codes.NotFound, "apis/none not found"},
		{"of what is hidden", create(w.hidden.GetName(), good(), w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"of somebody else's", create(w.echo.GetName(), good(), w.bob), codes.PermissionDenied, notOwner},
		{"by a subscriber", create(w.echo.GetName(), good(), w.sue), codes.PermissionDenied, notOwner},
		{"by an owner who is no creator any more", create(w.echo.GetName(), good(), w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"without a version string", called(""), codes.InvalidArgument, "version.version: " + badVersion},
		{"with a dot version", called(".."), codes.InvalidArgument, "version.version: " + badVersion},
		{"with a version with /", called("1/2"), codes.InvalidArgument, "version.version: " + badVersion},
		{"with a long version", called(strings.Repeat("1", 31)), codes.InvalidArgument, "version.version: " + badVersion},
		{"with a version that is taken", called("1.0.0"), codes.AlreadyExists, `version.version: the API has a version "1.0.0"`},
		{"with an address that is taken", called("4.0.0"), codes.AlreadyExists, `version.version: the address "/echo/4.0.0" is taken by another API's context`},
		{"with a traffic plan by a creator", create(w.echo.GetName(), promising("plans/gold", false), w.trainee), codes.PermissionDenied, notPromised},
		{"without subscriptions by a creator", create(w.echo.GetName(), promising("", true), w.trainee), codes.PermissionDenied, notPromised},
		{"without endpoints", create(w.echo.GetName(), bare, w.ann), codes.InvalidArgument, "version.endpoints: is required"},
	}
	for _, c := range badFields() {
		v := good()
		c.change(v)
		all = append(all, refusal{"with " + c.name, create(w.echo.GetName(), v, w.ann), codes.InvalidArgument, c.message})
	}
	w.try(all)
}

func TestReadsOfVersionsRefuse(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	get := func(name string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.GetVersion, &catalogv1.GetVersionRequest{Name: name}, who...)
	}
	list := func(req *catalogv1.ListVersionsRequest, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.ListVersions, req, who...)
	}
	filter := func(text string) func(...grpc.CallOption) error {
		return list(&catalogv1.ListVersionsRequest{Parent: w.echo.GetName(), Filter: text}, w.ann)
	}
	first, err := w.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: w.echo.GetName(), PageSize: 1}, w.ann)
	w.must(first, err)
	_, id, _ := strings.Cut(w.published.GetName(), "/versions/")
	elsewhere := w.other.GetName() + "/versions/" + id
	w.try([]refusal{
		{"Get without a token", get(w.published.GetName()), codes.Unauthenticated, notSignedIn},
		{"Get with a bad name", get(w.echo.GetName(), w.ann), codes.InvalidArgument, badVersionName},
		{"Get of none", get(w.echo.GetName()+"/versions/none", w.ann), codes.NotFound, w.echo.GetName() + "/versions/none not found"},
		{"Get in another API", get(elsewhere, w.ann), codes.NotFound, elsewhere + " not found"},
		{"Get of what is not published", get(w.created.GetName(), w.bob), codes.NotFound, w.created.GetName() + " not found"},
		{"List without a token", list(&catalogv1.ListVersionsRequest{Parent: "apis/-"}), codes.Unauthenticated, notSignedIn},
		{"List without a parent", list(&catalogv1.ListVersionsRequest{}, w.ann), codes.InvalidArgument, "parent: must be apis/{api}"},
		{"List of none", list(&catalogv1.ListVersionsRequest{Parent: "apis/none"}, w.ann), codes.NotFound, "apis/none not found"},
		{"List of what is hidden", list(&catalogv1.ListVersionsRequest{Parent: w.hidden.GetName()}, w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"List with a negative size", list(&catalogv1.ListVersionsRequest{Parent: "apis/-", PageSize: -1}, w.ann), codes.InvalidArgument, badSize},
		{"List with a token that is none", list(&catalogv1.ListVersionsRequest{Parent: "apis/-", PageToken: "e30"}, w.ann), codes.InvalidArgument, badToken},
		{"List of APIs under one", list(&catalogv1.ListVersionsRequest{Parent: w.echo.GetName(), Apis: []string{w.echo.GetName()}}, w.ann), codes.InvalidArgument, "apis: is for the parent apis/- only"},
		{"List of what is no API", list(&catalogv1.ListVersionsRequest{Parent: "apis/-", Apis: []string{"echo"}}, w.ann), codes.InvalidArgument, "apis[0]: must be apis/{api}"},
		{"List with the token of other APIs", list(&catalogv1.ListVersionsRequest{Parent: "apis/-", Apis: []string{w.echo.GetName()}, PageToken: first.GetNextPageToken()}, w.ann), codes.InvalidArgument, "page_token: belongs to another list or filter"},
		{"List with the token of another parent", list(&catalogv1.ListVersionsRequest{Parent: "apis/-", PageToken: first.GetNextPageToken()}, w.ann), codes.InvalidArgument, "page_token: belongs to another list or filter"},
		{"List with an unknown field", filter(`plans = "plans/gold"`), codes.InvalidArgument, `filter: no field "plans": there are version, state, tags, owner`},
		{"List with an unknown state", filter(`state = "RETIRED"`), codes.InvalidArgument, `filter: no state "RETIRED": there are CREATED, PUBLISHED`},
	})
}

func TestUpdateVersionRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	update := func(v *catalogv1.Version, who grpc.CallOption, paths ...string) func(...grpc.CallOption) error {
		return refuse(ctx, w.UpdateVersion, &catalogv1.UpdateVersionRequest{Version: v, UpdateMask: mask(paths...)}, who)
	}
	named := func(name string) *catalogv1.Version {
		return &catalogv1.Version{Name: name, Description: "x", Etag: "stale"}
	}
	of := func(name string, change func(*catalogv1.Version), paths ...string) func(...grpc.CallOption) error {
		v := &catalogv1.Version{Name: name}
		change(v)
		return update(v, w.ann, paths...)
	}
	nothing := func(*catalogv1.Version) {}
	badName := "version.name: must be apis/{api}/versions/{version}"
	known := "there are description, tags, endpoints, security, plans, allowed_origins, max_session_age, idle_timeout, " +
		"endpoints.production, endpoints.sandbox, endpoints.health_check, endpoints.suspension, endpoints.timeouts, endpoints.production_connection, endpoints.sandbox_connection, backend_options, backend_options.host, backend_options.fixed_host, backend_options.origin, backend_options.headers, backend_options.identity, pings, " +
		"traffic_plan, subscriptionless, pass_credential, deflate, client_endings, further_addresses, max_message_bytes, error_frames, error_frames.template, error_frames.text, " +
		"http, http.endpoints, http.endpoints.production, http.endpoints.sandbox, http.endpoints.health_check, http.endpoints.suspension, http.endpoints.timeouts, " +
		"http.endpoints.production_connection, http.endpoints.sandbox_connection, http.security, http.cors, http.max_body_bytes, http.timeout"
	all := []refusal{
		{"without a token", refuse(ctx, w.UpdateVersion, &catalogv1.UpdateVersionRequest{Version: w.created}), codes.Unauthenticated, notSignedIn},
		{"without a version", update(nil, w.ann), codes.InvalidArgument, badName},
		{"with an API's name", update(named(w.echo.GetName()), w.ann), codes.InvalidArgument, badName},
		{"with a bad name", update(named(w.created.GetName()+"/x"), w.ann), codes.InvalidArgument, badName},
		{"with a name without a prefix", update(named(strings.TrimPrefix(w.created.GetName(), "apis/")), w.ann), codes.InvalidArgument, badName},
		{"of none", update(named("apis/none/versions/none"), w.root), codes.NotFound, "apis/none/versions/none not found"},
		{"of what is hidden", update(named(w.created.GetName()), w.bob), codes.NotFound, w.created.GetName() + " not found"},
		{"of somebody else's", update(named(w.published.GetName()), w.bob), codes.PermissionDenied, notOwner},
		{"of somebody else's by a publisher", update(named(w.created.GetName()), w.pete), codes.PermissionDenied, notOwner},
		{"by an owner who is no creator any more", update(named(w.created.GetName()), w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"with a stale etag", update(named(w.created.GetName()), w.ann), codes.Aborted, staleEtag},
		{"of an unknown field", of(w.created.GetName(), nothing, "nonesuch"), codes.InvalidArgument, `update_mask: no field "nonesuch": ` + known},
		{"of an unknown part", of(w.created.GetName(), nothing, "endpoints.staging"), codes.InvalidArgument, `update_mask: no field "endpoints.staging": ` + known},
		{"of the state", of(w.created.GetName(), func(v *catalogv1.Version) { v.State = catalogv1.Version_STATE_PUBLISHED }, "state"), codes.InvalidArgument, "version.state: cannot be changed by an update"},
		{"of the version string", of(w.created.GetName(), func(v *catalogv1.Version) { v.Version = "9" }, "version"), codes.InvalidArgument, "version.version: cannot be changed by an update"},
		{"of the version string without a mask", of(w.created.GetName(), func(v *catalogv1.Version) { v.Version = "9" }), codes.InvalidArgument, "version.version: cannot be changed by an update"},
		{"to no endpoints", of(w.created.GetName(), nothing, "endpoints"), codes.InvalidArgument, "version.endpoints: is required"},
		{"to no endpoint", of(w.created.GetName(), nothing, "endpoints.production"), codes.InvalidArgument, "version.endpoints: needs a production or a sandbox endpoint"},
		{"of all to nothing", of(w.created.GetName(), nothing, "*"), codes.InvalidArgument, "version.endpoints: is required"},
		{"of the traffic plan by a creator", update(&catalogv1.Version{Name: w.created.GetName(), TrafficPlan: "plans/gold"}, w.trainee), codes.PermissionDenied, notPromised},
		{"of subscriptions by a creator", update(&catalogv1.Version{Name: w.created.GetName(), Subscriptionless: true}, w.trainee), codes.PermissionDenied, notPromised},
		{"of the traffic plan and more by a publisher", update(&catalogv1.Version{Name: w.created.GetName(), TrafficPlan: "plans/gold", Description: "x"}, w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"of the traffic plan by a publisher who is not the owner", update(&catalogv1.Version{Name: w.created.GetName(), TrafficPlan: "plans/gold"}, w.pete), codes.PermissionDenied, notOwner},
		{"of the traffic plan of a published version by a creator", update(&catalogv1.Version{Name: w.published.GetName(), TrafficPlan: "plans/gold"}, w.trainee), codes.PermissionDenied, "this needs the role publisher: without it, only the description and the tags of a published version can be changed"},
		{"of a published version to no plan", of(w.published.GetName(), nothing, "plans"), codes.FailedPrecondition, "version.plans: a published version needs a plan, unless its security is none or it is subscriptionless"},
	}
	for _, c := range badFields() {
		want, code := c.message, codes.InvalidArgument
		if c.name == "a long etag" {
			want, code = staleEtag, codes.Aborted
		}
		all = append(all, refusal{"with " + c.name, of(w.created.GetName(), c.change), code, want})
	}
	w.try(all)
}

func TestTransitionsRefuse(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	publish := func(name, etag string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.PublishVersion, &catalogv1.PublishVersionRequest{Name: name, Etag: etag}, who...)
	}
	demote := func(name, etag string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.DemoteVersion, &catalogv1.DemoteVersionRequest{Name: name, Etag: etag}, who...)
	}
	bare, err := w.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: w.echo.GetName(), Version: &catalogv1.Version{
		Version: "bare", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
	}}, w.ann)
	w.must(bare, err)
	w.try([]refusal{
		{"without a token", publish(w.created.GetName(), ""), codes.Unauthenticated, notSignedIn},
		{"with a bad name", publish(w.echo.GetName(), "", w.ann), codes.InvalidArgument, badVersionName},
		{"of none", publish("apis/none/versions/none", "", w.root), codes.NotFound, "apis/none/versions/none not found"},
		{"of what is hidden", publish(w.created.GetName(), "", w.bob), codes.PermissionDenied, "this needs the role publisher"},
		{"of what is published with a stale etag", publish(w.published.GetName(), "9", w.pete), codes.Aborted, staleEtag},
		{"demote by a publisher who is not the owner", demote(w.published.GetName(), "", w.pete), codes.PermissionDenied, notOwner},
		{"of somebody else's", demote(w.published.GetName(), "", w.bob), codes.PermissionDenied, notOwner},
		{"by a subscriber", demote(w.published.GetName(), "", w.sue), codes.PermissionDenied, notOwner},
		{"publish by a creator", publish(w.created.GetName(), "stale", w.trainee), codes.PermissionDenied, "this needs the role publisher"},
		{"demote by a creator", demote(w.published.GetName(), "", w.trainee), codes.PermissionDenied, "this needs the role publisher"},
		{"with a stale etag", publish(w.created.GetName(), "9", w.ann), codes.Aborted, staleEtag},
		{"demote of what is not published, somebody else's", demote(w.created.GetName(), "", w.pete), codes.PermissionDenied, notOwner},
		{"publish without a plan", publish(bare.GetName(), "", w.root), codes.FailedPrecondition, "version.plans: a published version needs a plan, unless its security is none or it is subscriptionless"},
	})
}

func TestDeleteVersionRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	remove := func(name, etag string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.DeleteVersion, &catalogv1.DeleteVersionRequest{Name: name, Etag: etag}, who...)
	}
	w.try([]refusal{
		{"without a token", remove(w.created.GetName(), ""), codes.Unauthenticated, notSignedIn},
		{"with a bad name", remove(w.echo.GetName(), "", w.ann), codes.InvalidArgument, badVersionName},
		{"of none", remove("apis/none/versions/none", "", w.root), codes.NotFound, "apis/none/versions/none not found"},
		{"of what is hidden", remove(w.created.GetName(), "", w.bob), codes.NotFound, w.created.GetName() + " not found"},
		{"of somebody else's", remove(w.published.GetName(), "", w.bob), codes.PermissionDenied, notOwner},
		{"by an owner who is no creator any more", remove(w.created.GetName(), "", w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"with a stale etag", remove(w.created.GetName(), "2", w.ann), codes.Aborted, staleEtag},
		{"of what is published", remove(w.published.GetName(), "", w.ann), codes.FailedPrecondition, "the version is PUBLISHED: demote it first"},
	})
}
