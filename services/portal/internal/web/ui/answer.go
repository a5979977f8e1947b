package ui

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Notice says what has happened, above the page.
type Notice struct {
	// Kind is "ok", "warn", "danger" or, for what is only said, empty.
	Kind string
	// Text is one or two sentences.
	Text string
}

// Redirect leads to another page of the portal.
type Redirect struct {
	// To is a path, with a query where it has one.
	To string
	// Notice is what that page says, if it has a text.
	Notice Notice
}

// Done leads to a page, which says what was done.
func Done(to, format string, a ...any) Redirect {
	return Redirect{To: to, Notice: Notice{Kind: "ok", Text: fmt.Sprintf(format, a...)}}
}

// write answers 303, so that the page is fetched with GET.
func (a Redirect) write(s *Site, w http.ResponseWriter, r *Request) error {
	if a.Notice.Text != "" {
		s.tell(w, a.Notice)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r.Request, LocalPath(a.To), http.StatusSeeOther)
	return nil
}

// With returns an answer that sets headers first, such as cookies.
func With(answer Answer, set func(w http.ResponseWriter)) Answer { return with{answer, set} }

// with is an answer that sets headers.
type with struct {
	Answer
	set func(w http.ResponseWriter)
}

// write sets the headers, and answers.
func (a with) write(s *Site, w http.ResponseWriter, r *Request) error {
	a.set(w)
	return a.Answer.write(s, w, r)
}

// LocalPath returns a path of this portal, or "/" for anything that leads elsewhere: only
// a path that a browser cannot take for another host is one.
func LocalPath(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }) {
		return "/"
	}
	return to
}

// File is an answer that browsers save.
type File struct {
	// Name is the file's name, Type its media type.
	Name, Type string
	// Body is what it has.
	Body []byte
}

// write answers with the file.
func (a File) write(_ *Site, w http.ResponseWriter, _ *Request) error {
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": a.Name})
	if disposition == "" {
		return fmt.Errorf("%q cannot be the name of a file", a.Name)
	}
	h := w.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Content-Disposition", disposition)
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(a.Body)
	return nil
}

// noticeCookie carries a notice to the next page. It is sealed, so that nobody else
// words one.
const noticeCookie = "__Host-tidegate-notice"

// tell has the next page say a notice.
func (s *Site) tell(w http.ResponseWriter, n Notice) {
	text, err := json.Marshal(n)
	if err != nil || len(text) > 2<<10 {
		return
	}
	SetCookie(w, noticeCookie, base64.RawURLEncoding.EncodeToString(s.key.Seal(text, []byte(noticeCookie))), time.Minute)
}

// told returns the notice for this page, and forgets it.
func (s *Site) told(w http.ResponseWriter, r *http.Request) *Notice {
	c, err := r.Cookie(noticeCookie)
	if err != nil {
		return nil
	}
	SetCookie(w, noticeCookie, "", -1)
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return nil
	}
	text, err := s.key.Open(sealed, []byte(noticeCookie))
	n := &Notice{}
	if err != nil || json.Unmarshal(text, n) != nil {
		return nil
	}
	return n
}

// SetCookie sets a cookie of the portal's own for a time, 0 for as long as the browser
// runs. A negative time deletes it.
func SetCookie(w http.ResponseWriter, name, value string, keep time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	switch {
	case keep < 0:
		c.MaxAge = -1
	case keep > 0:
		c.MaxAge = int(keep / time.Second)
	}
	http.SetCookie(w, c)
}
