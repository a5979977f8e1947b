package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// arguments names the flag or argument that gives a field of a request.
var arguments = map[string]string{
	"api.display_name":                   "NAME",
	"api.context":                        "--context",
	"api.description":                    "--description",
	"force":                              "--force",
	"owner":                              "USERNAME",
	"version.version":                    "--version",
	"version.description":                "--description",
	"version.endpoints":                  "--endpoint",
	"version.endpoints.production":       "--endpoint",
	"version.endpoints.sandbox":          "--sandbox-endpoint",
	"version.plans":                      "--plan",
	"version.security":                   "--security",
	"version.allowed_origins":            "--origin",
	"version.tags":                       "--tag",
	"version.max_session_age":            "--max-session-age",
	"version.idle_timeout":               "--idle-timeout",
	"version.backend_options":            "--backend-host",
	"version.backend_options.fixed_host": "--backend-host",
	"version.backend_options.headers":    "--backend-header",
	"version.backend_options.identity":   "--backend-identity",
	"version.pass_credential":            "--pass-credential",
	"version.deflate":                    "--deflate",
	"version.client_endings":             "--ending",
	"version.traffic_plan":               "--traffic-plan",
	"version.further_addresses":          "--address",
	"version.further_addresses.host":     "--address",
	"version.further_addresses.prefix":   "--address",
	"version.further_addresses.serves":   "--address",
	"version.subscriptionless":           "--subscriptionless",
	"version.max_message_bytes":          "--max-message",
	"version.error_frames":               "--error-frames",
	"version.error_frames.template":      "--error-frames",
	"version.error_frames.text":          "--error-frames",
	"plan.display_name":                  "NAME",
	"plan.description":                   "--description",
	"plan.limits":                        "limits",
	"plan.billing":                       "--billing",
	"plan.price_label":                   "--price-label",
	"plan.attributes":                    "--attribute",
	"client_address":                     "--address",
	"deny_rule.api":                      "--api",
	"deny_rule.versions":                 "--api",
	"deny_rule.application":              "--app",
	"deny_rule.subscription":             "--subscription",
	"deny_rule.client_address":           "--from",
	"deny_rule.reason":                   "--reason",
	"deny_rule.expire_time":              "--lifetime",
	"deny_rule":                          "the rule",
	"step":                               "--step",
	"group_by":                           "--by",
	"top":                                "--top",
	"order_by":                           "--order-by",
	"start_time":                         "--since",
	"end_time":                           "--until",
	"amount":                             "AMOUNT",
	"application.display_name":           "NAME",
	"application.description":            "--description",
	"application.plan":                   "--plan",
	"oauth_client_secret.expire_time":    "--lifetime",
	"api_key.display_name":               "NAME",
	"api_key.expire_time":                "--lifetime",
	"api_key.permitted_addresses":        "--from",
	"api_key.permitted_referers":         "--referer",
	"overlap":                            "--overlap",
	"subscription.plan":                  "--plan",
	"subscription.version":               "VERSION",
	"subscription.application":           "APP",
	"user.username":                      "USERNAME",
	"user.display_name":                  "--display-name",
	"user.roles":                         "--role",
	"username":                           "--username",
	"password":                           "the password",
	"new_password":                       "the new password",
	"current_password":                   "the current password",
	"create_user_request.user":           "USERNAME",
	"create_version_request.parent":      "API",

	"version.endpoints.health_check":                 "--health-check",
	"version.endpoints.health_check.http_path":       "--health-check",
	"version.endpoints.health_check.interval":        "--health-interval",
	"version.endpoints.health_check.timeout":         "--health-timeout",
	"version.endpoints.health_check.healthy_after":   "--healthy-after",
	"version.endpoints.health_check.unhealthy_after": "--unhealthy-after",
	"version.endpoints.suspension":                   "--suspend-longest",
	"version.endpoints.suspension.failures":          "--suspend-after",
	"version.endpoints.suspension.first":             "--suspend-first",
	"version.endpoints.suspension.longest":           "--suspend-longest",
	"version.endpoints.suspension.factor":            "--suspend-factor",
	"version.endpoints.timeouts.dial":                "--backend-dial",
	"version.endpoints.timeouts.handshake":           "--backend-handshake",

	"version.http":                   "--http-endpoint",
	"version.http.endpoints":         "--http-endpoint",
	"version.http.endpoints.sandbox": "--sandbox-http-endpoint",
	"version.http.security":          "--http-security",
	"version.http.cors":              "--http-cors",
	"version.http.max_body_bytes":    "--http-max-body",
	"version.http.timeout":           "--http-timeout",
}

// argument returns the flag or argument for a field: that of the list for a list's
// element, and the field itself for an unknown field.
func argument(field string) string {
	bare, _, _ := strings.Cut(field, "[")
	if name, ok := arguments[bare]; ok {
		return name
	}
	if of, ok := strings.CutPrefix(bare, "version.http.endpoints."); ok {
		if name, ok := arguments["version.endpoints."+of]; ok {
			return "--http-" + strings.TrimPrefix(name, "--")
		}
	}
	if _, of, ok := strings.Cut(field, "endpoints.production_connection"); ok {
		return connectionFlag(strings.TrimPrefix(of, "."))
	}
	if _, of, ok := strings.Cut(field, "endpoints.sandbox_connection"); ok {
		return connectionFlag(strings.TrimPrefix(of, "."))
	}
	return field
}

// statusOf returns the gRPC status that err is or wraps.
func statusOf(err error) (*status.Status, bool) {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil, false
	}
	return s.GRPCStatus(), true
}

// failure is an error with what programs need to know of it.
type failure struct {
	error
	code codes.Code
	// details are those of the server's status; nil when it is not the server's error.
	details []*anypb.Any
	// elsewhere says that it is not about the server.
	elsewhere bool
}

// Unwrap returns the error alone.
func (f *failure) Unwrap() error { return f.error }

// failed returns a failure that is not the server's.
func failed(code codes.Code, format string, a ...any) error {
	return &failure{error: fmt.Errorf(format, a...), code: code}
}

// answered returns the failure that a server answered, with words for people.
func answered(st *status.Status, words error) error {
	return &failure{error: words, code: st.Code(), details: st.Proto().GetDetails()}
}

// printFailure prints an error as a google.rpc.Status: what kind it is, its message,
// and the server's details.
func printFailure(w io.Writer, format string, err error) error {
	st := &statuspb.Status{Code: int32(codes.Unknown), Message: oneLine(err.Error())}
	if f, ok := errors.AsType[*failure](err); ok {
		st.Code = int32(f.code)
		for _, detail := range f.details {
			if _, err := detail.UnmarshalNew(); err == nil { // others cannot be printed
				st.Details = append(st.Details, detail)
			}
		}
	} else if _, ok := errors.AsType[*usageError](err); ok {
		st.Code = int32(codes.InvalidArgument)
	}
	text, err := marshal(st)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return printText(w, format, text)
}

// explain turns an error into one that says what happened and what to do. What the
// server said to programs stays.
func (s *shell) explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return s.place(s.late())
	}
	st, ok := statusOf(err)
	if !ok {
		return s.place(err)
	}
	return s.place(answered(st, s.words(st)))
}

// place adds to an error which server it is about, where the user knows several.
func (s *shell) place(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.elsewhere || s.client == nil || !s.client.others || strings.Contains(err.Error(), s.client.address) {
		return err
	}
	return &failure{error: fmt.Errorf("%w (at %s)", err, s.client.address), code: f.code, details: f.details}
}

// words returns what a status says to people.
func (s *shell) words(st *status.Status) error {
	if strings.HasPrefix(st.Message(), "unexpected HTTP status code received from server") { // gRPC's client says so
		return notGRPC(s.client.address)
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return errors.New(s.violations(st))
	case codes.Unauthenticated:
		return fmt.Errorf("%s; sign in with: %s", st.Message(), s.client.login())
	case codes.DeadlineExceeded:
		return s.late()
	case codes.Canceled:
		return errors.New("interrupted")
	case codes.Unavailable:
		return s.unavailable(st)
	case codes.ResourceExhausted:
		if strings.HasPrefix(st.Message(), "grpc: ") {
			return s.tooLarge()
		}
	case codes.Unimplemented:
		return fmt.Errorf("%s does not know this command: %s", s.client.address, st.Message())
	}
	return errors.New(byArgument(st.Message()))
}

// byArgument names the flag or argument in a message that begins with a field.
func byArgument(message string) string {
	field, rest, ok := strings.Cut(message, ": ")
	if !ok {
		return message
	}
	return argument(field) + ": " + rest
}

func (s *shell) late() error {
	return failed(codes.DeadlineExceeded, "no answer within %v; use --timeout to wait longer", s.global.Timeout)
}

// argument returns the flag or argument for a field, as argument does; for one of a limit
// the flag that gave the limit, and for one of a file what the file has.
func (s *shell) argument(field string) string {
	if place := s.file.field(field); place != "" {
		return place
	}
	rest, ofPlan := strings.CutPrefix(field, "plan.")
	if s.change == nil || !ofPlan {
		return argument(field)
	}
	for i, flag := range s.change.given {
		if strings.HasPrefix(rest, fmt.Sprintf("limits[%d]", i)) {
			return flag
		}
	}
	return argument(field)
}

// violations returns what is wrong with a request, by flag or argument.
func (s *shell) violations(st *status.Status) string {
	var texts []string
	for _, v := range fieldViolations(st) {
		text := v.GetDescription()
		if v.GetField() != "" {
			text = s.argument(v.GetField()) + ": " + text
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return st.Message()
	}
	return strings.Join(texts, "; ")
}

// fieldViolations returns what a status says about fields of the request.
func fieldViolations(st *status.Status) []*errdetails.BadRequest_FieldViolation {
	var all []*errdetails.BadRequest_FieldViolation
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			all = append(all, bad.GetFieldViolations()...)
		}
	}
	return all
}

// tooLarge returns the error for a request that is too large for gRPC. It names the
// flag whose value is most of it.
func (s *shell) tooLarge() error {
	total, longest := 0, 0
	for i, arg := range s.Args {
		total += len(arg)
		if len(arg) > len(s.Args[longest]) {
			longest = i
		}
	}
	what := "the command line"
	if long := s.Args[longest]; len(long) > total/2 {
		if flag, _, ok := strings.Cut(long, "="); ok && strings.HasPrefix(flag, "--") {
			what = flag
		} else if longest > 0 && strings.HasPrefix(s.Args[longest-1], "--") {
			what = s.Args[longest-1]
		}
	}
	return fmt.Errorf("%s is larger than the server accepts", what)
}

// unavailable tells a server that is not there, or not trusted, from one that
// cannot answer now.
func (s *shell) unavailable(st *status.Status) error {
	s.client.mu.Lock()
	lost := s.client.lost
	s.client.mu.Unlock()
	if lost == nil || !strings.Contains(st.Message(), "connection error") {
		return fmt.Errorf("%s; try again later", strings.TrimSuffix(st.Message(), ", try again"))
	}
	return s.unreachable(s.client.address, "--server", lost)
}

// notGRPC says that something else than a server's gRPC port answers at an address.
func notGRPC(address string) error {
	return failed(codes.Unavailable, "%s is not the gRPC address of a server; name that with --server, such as %s", address, defaultServer)
}

// unreachable says why there is no connection to an address, and what to do. flag is
// the flag that names another server; it is empty if the address is not a server's.
func (s *shell) unreachable(address, flag string, err error) error {
	var start, another string
	if flag != "" {
		start, another = "; start one with tidegate serve, or name another with "+flag, "; name another server with "+flag
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return failed(codes.Unavailable, "the certificate of %s is not trusted: %s; give the server's with --ca", address, s.client.trust.unsigned())
	case errors.As(err, &host):
		return failed(codes.Unavailable, "the certificate of %s is not trusted: %w", address, host)
	case errors.As(err, &invalid):
		return failed(codes.Unavailable, "the certificate of %s is not trusted: %w", address, invalid)
	case errors.Is(err, connectionRefused):
		return failed(codes.Unavailable, "no server answers at %s%s", address, start)
	case errors.As(err, &dns):
		return failed(codes.Unavailable, "no such host: %s%s", dns.Name, another)
	case flag == "--server" && (errors.As(err, &record) || strings.HasSuffix(err.Error(), "tls: no application protocol")):
		return notGRPC(address)
	case errors.As(err, &record):
		return failed(codes.Unavailable, "%s does not speak TLS", address)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return failed(codes.Unavailable, "no server answers at %s in time", address)
	}
	return failed(codes.Unavailable, "cannot connect to %s: %w", address, err)
}
