package ui

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Problem is what a page says in the place of what was asked for.
type Problem struct {
	// Status is the HTTP status.
	Status int
	// Title is the heading, Text what failed, Advice what to do.
	Title, Text, Advice string
	// Reason is that of the error, which documents and others who help know.
	Reason string
	// Retry is how long to wait before the next attempt; 0 says nothing.
	Retry time.Duration
}

// problemTemplate returns the template of problems.
func problemTemplate() *Template[Problem] { return Parse[Problem](files, "templates/problem.html") }

// problem is the page that shows a problem.
func (t *Template[V]) problem(p V) Answer { return problemPage[V]{t, p} }

// problemPage is a page with a problem.
type problemPage[V any] struct {
	t *Template[V]
	p V
}

// write answers with the status of the problem.
func (a problemPage[V]) write(s *Site, w http.ResponseWriter, r *Request) error {
	head := Head{Status: http.StatusInternalServerError}
	if p, ok := any(a.p).(Problem); ok {
		head.Status, head.Title = p.Status, p.Title
		if p.Retry > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((p.Retry+time.Second-1)/time.Second), 10))
		}
	}
	return a.t.Page(head, a.p).write(s, w, r)
}

// problemOf is the one place where the status of a call becomes what a page says.
func problemOf(err error) Problem {
	s := status.Convert(err)
	p := Problem{Text: sentence(s.Message()), Reason: fault.Reason(err), Retry: fault.RetryDelay(err)}
	nothing := "Nothing was changed."
	switch s.Code() {
	case codes.NotFound:
		p.Status, p.Title = http.StatusNotFound, "Not found"
		p.Advice = "It may have been deleted, or it is not yours to see."
	case codes.PermissionDenied:
		p.Status, p.Title = http.StatusForbidden, "Not allowed"
		p.Advice = nothing + " An administrator can give you another role."
	case codes.InvalidArgument, codes.OutOfRange:
		p.Status, p.Title, p.Advice = http.StatusBadRequest, "That does not fit", nothing
	case codes.AlreadyExists:
		p.Status, p.Title, p.Advice = http.StatusConflict, "Already there", nothing
	case codes.Aborted:
		p.Status, p.Title = http.StatusConflict, "Somebody else has changed this meanwhile"
		p.Advice = nothing + " Go back, load the page again and look at what is there now."
	case codes.FailedPrecondition:
		p.Status, p.Title, p.Advice = http.StatusConflict, "That is not possible now", nothing
	case codes.ResourceExhausted:
		p.Status, p.Title, p.Advice = http.StatusTooManyRequests, "Too much", nothing
	case codes.Unavailable, codes.DeadlineExceeded:
		p.Status, p.Title = http.StatusServiceUnavailable, "A part of Tidegate is away"
		p.Advice = "Try again in a moment. Live sessions go on."
		if s.Code() == codes.DeadlineExceeded {
			p.Advice += " Look first whether your change was made."
		}
		p.Retry = max(p.Retry, time.Second)
	default:
		p.Status, p.Title = http.StatusInternalServerError, "That went wrong"
		p.Text = "It is not your fault. The log of the portal has the cause."
		p.Advice = "Look whether your change was made, and try again."
	}
	return p
}

// noPage says that there is no page at an address.
func noPage() Problem {
	return Problem{Status: http.StatusNotFound, Title: "No such page", Text: "There is nothing at this address.",
		Advice: "Begin at the first page.", Reason: fault.ReasonPathNotFound}
}

// crossOrigin says that another site's page has sent a form.
func crossOrigin() Problem {
	return Problem{Status: http.StatusForbidden, Title: "Sent from another site", Text: "A page of another site has sent this form.",
		Advice: "Nothing was changed. Use the form of this portal."}
}

// badForm says that a form cannot be read.
func badForm() Problem {
	return Problem{Status: http.StatusBadRequest, Title: "That form cannot be read", Text: "It is too long, or not written as browsers do.",
		Advice: "Nothing was changed."}
}

// Themes are the looks of pages.
func Themes() []Option {
	return []Option{{Value: "", Text: "As the device"}, {Value: "light", Text: "Light"}, {Value: "dark", Text: "Dark"}}
}

// themeCookie has the theme. It is not sealed: it says no more than it does.
const themeCookie = "__Host-tidegate-theme"

// Theme returns the theme that the browser asks for, empty for the device's own.
func Theme(r *http.Request) string {
	c, err := r.Cookie(themeCookie)
	if err != nil || !slices.ContainsFunc(Themes(), func(o Option) bool { return o.Value == c.Value }) {
		return ""
	}
	return c.Value
}

// SetTheme keeps a theme for a year, or forgets it where it is not one.
func SetTheme(w http.ResponseWriter, theme string) {
	if theme != "light" && theme != "dark" {
		SetCookie(w, themeCookie, "", -1)
		return
	}
	SetCookie(w, themeCookie, theme, 365*24*time.Hour)
}
