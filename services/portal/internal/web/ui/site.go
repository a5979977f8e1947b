package ui

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
)

// SignIn is what pages need of package signin.
type SignIn interface {
	// Viewer returns who sends a request, or nil for nobody. It may set cookies.
	Viewer(w http.ResponseWriter, r *http.Request) (*Viewer, error)
	// Renew returns the viewer with a new access token, after one was refused, or nil
	// when the sign-in has ended. It sets cookies.
	Renew(w http.ResponseWriter, r *http.Request) (*Viewer, error)
	// Ask returns the answer that asks the user to sign in, and leads back. keep says
	// whether the page can show the entries of its form again.
	Ask(r *Request, keep bool) (Answer, error)
}

// maxForm is the greatest size of a form's body.
const maxForm = 1 << 20

// Site serves pages.
type Site struct {
	mux      *http.ServeMux
	signIn   SignIn
	key      *seal.Key
	assets   *assets
	problems *Template[Problem]
	portals  []Portal // that have pages
	log      *slog.Logger
}

// NewSite returns the site of the routes. Cookies of notices are sealed with the key.
// What has no route is served by other.
func NewSite(routes []Route, signIn SignIn, key *seal.Key, other http.Handler, log *slog.Logger) (*Site, error) {
	a, err := newAssets()
	if err != nil {
		return nil, err
	}
	s := &Site{mux: http.NewServeMux(), signIn: signIn, key: key, assets: a, problems: problemTemplate(), log: log}
	for path, h := range a.handlers {
		s.mux.Handle(path, h)
	}
	for _, route := range append(routes, s.home()) {
		s.portals = append(s.portals, portalAt(route.Pattern)...)
		for method := range strings.FieldsSeq(route.Method) {
			s.mux.Handle(method+" "+route.Pattern, s.page(route))
		}
	}
	s.mux.Handle("/", s.elsewhere(other))
	return s, nil
}

// ServeHTTP serves a page or an asset. Requests that change something and come from
// another origin's page are refused.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(s.page(Route{Public: true, Handler: func(*Request) (Answer, error) { return s.problems.problem(crossOrigin()), nil }}))
	guard.Handler(s.mux).ServeHTTP(w, r)
}

// page returns the handler of a route.
func (s *Site) page(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, answer := s.answer(route, w, r)
		if err := answer.write(s, w, req); err != nil {
			s.log.ErrorContext(r.Context(), "page not served", "path", r.URL.Path, "error", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
		}
	})
}

// answer runs a route's handler, with a refreshed sign-in once more where the first was
// refused. What goes wrong is a page too.
func (s *Site) answer(route Route, w http.ResponseWriter, r *http.Request) (*Request, Answer) {
	req := &Request{Request: r}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			return req, s.problems.problem(badForm())
		}
	}
	k, resumed := r.Context().Value(keptKey{}).(kept)
	viewer, err := k.viewer, error(nil)
	req.entries = k.entries
	if !resumed {
		viewer, err = s.signIn.Viewer(w, r)
	}
	var answer Answer
	if err == nil {
		req = req.as(viewer)
		answer, err = s.run(route, req)
	}
	if err != nil && mustSignIn(err) && viewer != nil && !resumed {
		if viewer, err = s.signIn.Renew(w, r); err == nil {
			req = (&Request{Request: r, entries: k.entries}).as(viewer)
			answer, err = s.run(route, req)
		}
	}
	if err != nil && mustSignIn(err) {
		answer, err = s.signIn.Ask(req, strings.Contains(route.Method, http.MethodGet))
	}
	if err != nil {
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			s.log.WarnContext(r.Context(), "page is a problem", "path", r.URL.Path, "error", err)
		}
		answer = s.problems.problem(p)
	}
	return req, answer
}

// run runs a route's handler for those whom the route is for.
func (s *Site) run(route Route, r *Request) (Answer, error) {
	if err := route.allowed(r.Viewer); err != nil {
		return nil, err
	}
	return route.Handler(r)
}

// elsewhere serves what is no page: browsers get a page that says so, programs what
// other answers.
func (s *Site) elsewhere(other http.Handler) http.Handler {
	none := s.page(Route{Public: true, Handler: func(*Request) (Answer, error) { return s.problems.problem(noPage()), nil }})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allowed := s.methods(r); len(allowed) > 0 {
			rest.WriteMethodNotAllowed(w, r, allowed...)
			return
		}
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			none.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// methods returns those of the pages at the path of a request.
func (s *Site) methods(r *http.Request) []string {
	var all []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if _, pattern := s.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "/" {
			all = append(all, method)
		}
	}
	return all
}

// send writes a page that is whole.
func send(w http.ResponseWriter, r *http.Request, status int, body *bytes.Buffer) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = body.WriteTo(w)
	}
}

// home leads to the first portal of the viewer's roles.
func (s *Site) home() Route {
	return Page("/{$}", nil, nil, func(r *Request) (Answer, error) {
		for _, p := range s.portals {
			if r.Viewer.May(p.roles...) {
				return Redirect{To: p.To}, nil
			}
		}
		return Redirect{To: "/account"}, nil
	})
}
