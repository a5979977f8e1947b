package ui

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Roles of users, by the names that routes use.
const (
	Admin      = identityv1.User_ROLE_ADMIN
	Creator    = identityv1.User_ROLE_CREATOR
	Publisher  = identityv1.User_ROLE_PUBLISHER
	Subscriber = identityv1.User_ROLE_SUBSCRIBER
)

// Role is a role of a user.
type Role = identityv1.User_Role

// Viewer is the user who looks at a page.
type Viewer struct {
	// Name is users/{user}, Username what the user signs in with.
	Name, Username string
	// Roles are those of the access token.
	Roles []Role
	// Token is the access token.
	Token string
}

// May reports whether the viewer has one of the roles; administrators have all. It
// decides what a page offers. What is allowed, the services decide.
func (v *Viewer) May(roles ...Role) bool {
	return v != nil && (len(roles) == 0 || slices.ContainsFunc(v.Roles, func(r Role) bool {
		return r == Admin || slices.Contains(roles, r)
	}))
}

// Initial is the letter that stands for the viewer.
func (v *Viewer) Initial() string {
	for _, c := range v.Username {
		return strings.ToUpper(string(c))
	}
	return ""
}

// Request is a request for a page. Its context is one for calls on the viewer's behalf.
type Request struct {
	*http.Request
	// Viewer is nil where nobody has signed in, which only public routes see.
	Viewer *Viewer
	// entries are those of a form that was not sent because the sign-in had ended.
	entries url.Values
}

// Submitted reports whether the request asks for a change: it is a POST.
func (r *Request) Submitted() bool { return r.Method == http.MethodPost }

// Entries returns what the user has typed into the form of this page: with Submitted to
// be carried out, else, after a sign-in that ended meanwhile, to be shown again. nil
// means that nothing was typed.
func (r *Request) Entries() url.Values {
	if r.Submitted() {
		return r.PostForm
	}
	return r.entries
}

// keptKey is the context's key for what a request resumes.
type keptKey struct{}

// kept is what a request has besides what the browser sent.
type kept struct {
	viewer  *Viewer
	entries url.Values
}

// as returns the request as the viewer's: calls with its context carry the token.
func (r *Request) as(v *Viewer) *Request {
	// A request that resumes another has not the metadata of that.
	ctx := upstream.WithTrace(metadata.NewOutgoingContext(r.Context(), metadata.MD{}), r.Header)
	if v != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+v.Token)
	}
	return &Request{Request: r.WithContext(ctx), Viewer: v, entries: r.entries}
}

// Resume is an answer that shows a page after a sign-in, with the entries of its form.
type Resume struct {
	// Viewer is who has signed in.
	Viewer *Viewer
	// Path is that of the page, with its query.
	Path string
	// Entries are those of its form.
	Entries url.Values
}

// write serves the page in the place of the request.
func (a Resume) write(s *Site, w http.ResponseWriter, r *Request) error {
	again, err := http.NewRequestWithContext(context.WithValue(r.Context(), keptKey{}, kept{a.Viewer, a.Entries}), http.MethodGet, a.Path, nil)
	if err != nil {
		return err
	}
	again.Header = r.Header.Clone()
	again.Header.Del("Content-Type")
	again.Host, again.RemoteAddr, again.TLS = r.Host, r.RemoteAddr, r.TLS
	s.mux.ServeHTTP(w, again)
	return nil
}
