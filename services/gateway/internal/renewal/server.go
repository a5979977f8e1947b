package renewal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Path is where clients list the sessions of their credential, and below which they renew.
const Path = "/-/sessions"

// Caller judges a request as a handshake to a path would be judged, as far as the credential
// goes; handshake.Handler does.
type Caller interface {
	// Caller returns the grant of the credential that a request shows for the version at a
	// path.
	Caller(ctx context.Context, r *listener.Request, path string) (*grant.Grant, error)
	// Reads reports whether pages of an origin may read answers about the version at a path.
	Reads(r *listener.Request, path, origin string) bool
	// Problem returns the answer to an error of Caller.
	Problem(err error) *problem.Problem
}

// Server answers clients' requests about their live sessions.
type Server struct {
	Instance string
	Tag      ref.Tag // of this boot
	Local    *Local
	Others   *Others
	Caller   Caller
	Log      *slog.Logger
}

// Own answers a request for an endpoint below Path; it returns nil where there is none. It
// implements listener.Config.Own.
func (s *Server) Own(ctx context.Context, r *listener.Request, method string) []byte {
	name, isCredential := strings.CutSuffix(strings.TrimPrefix(r.Path, Path+"/"), "/credential")
	serve, allowed := s.list, http.MethodGet
	switch {
	case r.Path == Path:
	case isCredential && name != "" && !strings.Contains(name, "/"):
		serve = func(ctx context.Context, r *listener.Request) (any, error) { return s.renew(ctx, r, name) }
		allowed = http.MethodPost
	default:
		return nil
	}
	cors := corsOf(r)
	if r.Path == Path {
		cors = s.corsOfList(r)
	}
	switch method {
	case allowed:
	case http.MethodOptions: // a browser asks whether its page may; whether it may, the request itself is judged for
		return problem.Response(http.StatusOK, "text/plain; charset=utf-8", nil, false, append(cors,
			head.Field{Name: "Access-Control-Allow-Methods", Value: allowed},
			head.Field{Name: "Access-Control-Allow-Headers", Value: strings.Join(r.Header["Access-Control-Request-Headers"], ", ")},
			head.Field{Name: "Access-Control-Max-Age", Value: "600"})...)
	default:
		p := &problem.Problem{
			Status: http.StatusMethodNotAllowed, Code: problem.MethodNotAllowed, Detail: "the method must be " + allowed,
			Header: append(cors, head.Field{Name: "Allow", Value: "OPTIONS, " + allowed}),
		}
		return p.Response("", method == http.MethodHead)
	}
	ctx, cancel := context.WithDeadline(ctx, r.Deadline)
	defer cancel()
	answer, err := serve(ctx, r)
	if err != nil {
		s.Log.Debug("request about sessions refused", "client", r.Remote, "error", err)
		p := *s.problemOf(err)
		p.Header = append(cors, p.Header...)
		return p.Response("", false)
	}
	text, _ := json.Marshal(answer) // texts and lists do not fail
	return problem.Response(http.StatusOK, "application/json", append(text, '\n'), false, cors...)
}

// corsOf are the headers that let the page that asks read the answer. A page that the version
// does not take gets the answer that is everybody's, so that this tells it nothing.
func corsOf(r *listener.Request) []head.Field {
	fields := []head.Field{{Name: "Vary", Value: "Origin"}}
	if lines := r.Header["Origin"]; len(lines) == 1 {
		fields = append(fields, head.Field{Name: "Access-Control-Allow-Origin", Value: lines[0]},
			head.Field{Name: "Access-Control-Expose-Headers", Value: "Retry-After"})
	}
	return fields
}

// corsOfList are the headers for a list, which says different things about versions: only pages
// that the version takes read them.
func (s *Server) corsOfList(r *listener.Request) []head.Field {
	asked := *r
	path, err := takePath(&asked)
	if lines := r.Header["Origin"]; err == nil && len(lines) == 1 && s.Caller.Reads(r, path, lines[0]) {
		return corsOf(r)
	}
	return []head.Field{{Name: "Vary", Value: "Origin"}}
}

// problemOf returns the answer to what went wrong.
func (s *Server) problemOf(err error) *problem.Problem {
	switch {
	case errors.Is(err, ErrNotFound):
		return &problem.Problem{Status: http.StatusNotFound, Code: problem.NotFound, Detail: ErrNotFound.Error()}
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem.Problem{
			Status: http.StatusServiceUnavailable, Code: problem.CredentialUnchecked, Detail: ErrUnavailable.Error(),
			Header: []head.Field{problem.RetryAfter(2 * time.Second)},
		}
	}
	return s.Caller.Problem(err)
}

// renewed is the answer to a renewal.
type renewed struct {
	Ref        string   `json:"ref"`
	ExpireTime string   `json:"expireTime,omitempty"` // none: the credential never expires
	Scopes     []string `json:"scopes"`
}

// renew renews the credential of the session with a ref, wherever it is. What has the tag of no
// gateway is refused without asking any.
func (s *Server) renew(ctx context.Context, r *listener.Request, name string) (any, error) {
	tag, ok := ref.TagOf(name)
	if !ok {
		return nil, ErrNotFound
	}
	if tag == s.Tag {
		return s.renewHere(ctx, r, name)
	}
	// What has no tag may be anywhere: before it is said of a session here that it is not
	// renewed, the others are asked as they are for one that is made up.
	here := tag == ref.NoTag && s.Local.Holds(name)
	if here {
		if answer, err := s.renewHere(ctx, r, name); !errors.Is(err, ErrNotFound) {
			return answer, err
		}
	}
	holder, silent := s.Others.holder(ctx, name, tag)
	if errors.Is(silent, ErrNotFound) {
		return nil, ErrNotFound
	}
	answer, err := any(nil), ErrNotFound
	switch {
	case holder != nil:
		answer, err = s.renewAt(ctx, r, name, holder)
	case !here: // as if there were one
		answer, err = s.renewHere(ctx, r, name)
	}
	if errors.Is(err, ErrNotFound) && silent != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, silent) // as of what a silent gateway may have
	}
	return answer, err
}

// renewHere renews a session of this gateway's.
func (s *Server) renewHere(ctx context.Context, r *listener.Request, name string) (any, error) {
	g, err := s.Local.Renew(ctx, name, Shown{Header: r.Header, Query: r.Query, Client: r.Remote.Addr(), Proxy: r.Proxy})
	if err != nil {
		return nil, err
	}
	return renewed{name, stamp(g.ExpireTime), append([]string{}, g.Scopes...)}, nil
}

// renewAt has the gateway renew a session that holds it.
func (s *Server) renewAt(ctx context.Context, r *listener.Request, name string, holder *other) (any, error) {
	leave, ok := s.Others.enter()
	if !ok {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errTooMany)
	}
	defer leave()
	req := &backplanev1.RenewSessionRequest{Ref: name, Query: []byte(r.Query), ClientAddress: r.Remote.Addr().String(), Proxy: r.Proxy}
	for field, lines := range r.Header {
		for _, line := range lines {
			req.Header = append(req.Header, &backplanev1.HeaderField{Name: field, Value: []byte(line)})
		}
	}
	answers, errs := ask(ctx, []other{*holder}, func(ctx context.Context, o other, opts ...grpc.CallOption) (*backplanev1.RenewSessionResponse, error) {
		return o.live.RenewSession(ctx, req, opts...)
	})
	switch status.Code(errs[0]) {
	case codes.OK:
		return renewed{name, stamp(timeOf(answers[0].GetExpireTime())), append([]string{}, answers[0].GetScopes()...)}, nil
	case codes.NotFound:
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, holder.name, errs[0])
}

// listed are the sessions of a credential.
type listed struct {
	Sessions       []listedSession `json:"sessions"`
	SilentGateways []string        `json:"silentGateways"`
}

type listedSession struct {
	Ref       string `json:"ref"`
	Gateway   string `json:"gateway"`
	StartTime string `json:"startTime,omitempty"`

	start      time.Time
	ExpireTime string `json:"expireTime,omitempty"`
}

func newListed(ref, gateway string, start, expires time.Time) listedSession {
	return listedSession{Ref: ref, Gateway: gateway, StartTime: stamp(start), ExpireTime: stamp(expires), start: start}
}

// timeOf returns a time that is not set as the zero time.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// list lists the sessions of the caller's credential on all gateways.
func (s *Server) list(ctx context.Context, r *listener.Request) (any, error) {
	path, err := takePath(r)
	if err != nil {
		return nil, err
	}
	g, err := s.Caller.Caller(ctx, r, path)
	if err != nil {
		return nil, err
	}
	out := listed{Sessions: []listedSession{}, SilentGateways: []string{}}
	for _, live := range s.Local.List(Credential(g), g.Version) {
		here := resourcename.Gateway{Gateway: s.Instance}.String()
		out.Sessions = append(out.Sessions, newListed(live.Ref(), here, live.Started(), live.Grant().ExpireTime))
	}
	all, err := s.Others.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	leave, ok := s.Others.enter()
	if !ok {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errTooMany)
	}
	defer leave()
	answers, errs := ask(ctx, all, func(ctx context.Context, o other, opts ...grpc.CallOption) (*backplanev1.ListCredentialSessionsResponse, error) {
		return o.live.ListCredentialSessions(ctx, &backplanev1.ListCredentialSessionsRequest{Credential: Credential(g), Version: g.Version}, opts...)
	})
	for i, err := range errs {
		if err != nil {
			out.SilentGateways = append(out.SilentGateways, all[i].name)
		}
		for _, live := range answers[i].GetSessions() {
			out.Sessions = append(out.Sessions, newListed(live.GetRef(), all[i].name, timeOf(live.GetStartTime()), timeOf(live.GetExpireTime())))
		}
	}
	slices.SortStableFunc(out.Sessions, func(a, b listedSession) int { return compareStarts(a.start, b.start) })
	return out, nil
}

// takePath takes the path of the version out of the query: the rest may be a credential.
func takePath(r *listener.Request) (string, error) {
	var rest []string
	var path string
	for piece := range strings.SplitSeq(r.Query, "&") {
		value, is := strings.CutPrefix(piece, "path=")
		switch {
		case is && path == "":
			path = strings.ReplaceAll(strings.ReplaceAll(value, "%2F", "/"), "%2f", "/")
		case is:
			return "", badPath("must be there once")
		default:
			rest = append(rest, piece)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return "", badPath("must be the path of the version at this gateway, such as /echo/1.0.0")
	}
	r.Query = strings.Join(rest, "&")
	return path, nil
}

func badPath(why string) error {
	return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: "path: " + why}
}

// stamp writes a time; the zero time is "".
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
