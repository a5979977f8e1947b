package ui

import (
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// Closings is an answer that says which sessions a call has closed.
type Closings interface {
	GetClosedSessions() int64
	GetGateways() int32
	GetDuration() *durationpb.Duration
	GetSilentGateways() []string
}

// ClosingForm says which live sessions to close: those at an address and of a filter, where
// they are entered. Other fields come first.
func ClosingForm(r *Request, fields ...Field) *Form {
	return NewForm(r, append(fields,
		Field{
			Name: "address", Label: "Address of the clients", Code: true, Max: 64, Placeholder: "192.0.2.0/24",
			Hint: "An IP address or a network. Empty for all.", Paths: []string{"client_address"},
		},
		Field{
			Name: "filter", Label: "Filter", Code: true, Max: 1024, Placeholder: `application = "applications/…"`,
			Hint: "By api, api_key, application, client_address, grant, oauth_client, plan, secret, subscription, user or version, several with AND. Empty for all.", Paths: []string{"filter"},
		})...)
}

// Closed leads to a page that says what was done, and which sessions that has closed. It warns
// where gateways have not said.
func Closed(to, done string, c Closings) Redirect {
	text := done + " No session was open."
	if n := c.GetClosedSessions(); n > 0 {
		text = fmt.Sprintf("%s %s on %s closed in %d ms.", done, count(n, "session"), count(int64(c.GetGateways()), "gateway"), c.GetDuration().AsDuration()/time.Millisecond)
	}
	var silent []string
	for _, name := range c.GetSilentGateways() {
		silent = append(silent, path.Base(name))
	}
	switch {
	case len(silent) == 0:
		return Redirect{To: to, Notice: Notice{Kind: "ok", Text: text}}
	case silent[0] == "-":
		text += " It is not known which gateways there are: they close theirs as soon as they hear of it."
	default:
		text += " Silent for a second: " + strings.Join(silent, ", ") + "; what is open there ends when it is heard of."
	}
	return Redirect{To: to, Notice: Notice{Kind: "warn", Text: text}}
}

// count is a number of things.
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
