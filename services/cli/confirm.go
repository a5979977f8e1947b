package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// yesFlag is the flag of the commands that take away what cannot be brought back. They
// all begin with confirm.
type yesFlag struct {
	Yes bool `short:"y" help:"Do not ask. Without a terminal, as in a script, nothing is asked anyway."`
}

// confirm says at a terminal what a command is about to do, as "Deletes the application
// Pier", and what it takes along, and asks whether to go on. Without a terminal to answer
// at, it does not ask: a script does what it says, with --yes and without, and the result
// has what went along. Its error is that of a person who did not agree.
func (s *shell) confirm(ctx context.Context, yes bool, does string, takes func() []string) error {
	with := some(takes())
	if !s.asks(yes) {
		s.took = with
		return nil
	}
	if len(with) > 0 {
		does += ", with " + list(with)
	}
	fmt.Fprintf(s.Stderr, "%s.\nGo on? [y/N] ", cell(does))
	line, err := s.line(ctx)
	if err != nil {
		fmt.Fprintln(s.Stderr)
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return failed(codes.Canceled, "nothing was done: the answer was not yes")
}

// asks reports whether confirm asks: at a terminal, without --yes.
func (s *shell) asks(yes bool) bool {
	terminal, ok := s.Stdin.(*os.File)
	return ok && term.IsTerminal(int(terminal.Fd())) && !yes
}

// along is the field of a result that says what a command has taken along.
func (s *shell) along() [][2]string {
	if len(s.took) == 0 {
		return nil
	}
	return [][2]string{{"With", list(s.took)}}
}

// list joins texts as a sentence has them.
func list(texts []string) string {
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1]
}

// number is a number of things, as "2 subscriptions"; empty for none. Where they could
// not be counted it is what they are, as "its subscriptions".
func number(n int, err error, one, many string) string {
	switch {
	case err != nil:
		return "its " + many
	case n == 0:
		return ""
	case n == 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// liveSessions is the number of live sessions that a filter admits. Whoever does not own
// the version does not see them all, so none that are seen are not none.
func (c *client) liveSessions(ctx context.Context, only string) string {
	sessions, _, err := c.listSessions(ctx, only)
	if len(sessions) == 0 {
		return "its live sessions"
	}
	return number(len(sessions), err, "live session", "live sessions")
}

// listSessions returns the live sessions that a filter admits, and the gateways that could
// not be asked.
func (c *client) listSessions(ctx context.Context, only string) (sessions []*gatewayv1.Session, unreachable []string, err error) {
	err = everyPage(func(token string) (string, error) {
		page, err := c.sessions.ListSessions(ctx, &gatewayv1.ListSessionsRequest{
			Parent: allGateways, Filter: only, PageSize: pageSize, PageToken: token, ReturnPartialSuccess: true,
		})
		sessions = append(sessions, page.GetSessions()...)
		unreachable = append(unreachable, page.GetUnreachable()...)
		return page.GetNextPageToken(), err
	})
	return sessions, unreachable, err
}
