package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// liveCatalog has one published version with two live sessions, and counts demotes.
type liveCatalog struct {
	seenCatalog
	gatewayv1.UnimplementedSessionServiceServer
}

func (s *liveCatalog) GetVersion(ctx context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	v, err := s.seenCatalog.GetVersion(ctx, req)
	v.State = catalogv1.Version_STATE_PUBLISHED
	return v, err
}

func (s *liveCatalog) GetApi(context.Context, *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	return &catalogv1.Api{DisplayName: "Ferry"}, nil
}

func (s *liveCatalog) ListSessions(context.Context, *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	return &gatewayv1.ListSessionsResponse{Sessions: make([]*gatewayv1.Session, 2)}, nil
}

// typed is a terminal at which a person has typed text.
func typed(t *testing.T, text string) *os.File {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	if _, err := person.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return program
}

// A destructive command says at a terminal what it takes with it, and goes on only after
// a yes or with --yes. Without a terminal it does not ask, and says afterwards what went
// along.
func TestDestructiveCommandsAsk(t *testing.T) {
	t.Parallel()
	const asked = "Withdraws Ferry/1.0.0 from the gateways, with 2 live sessions.\nGo on? [y/N] "
	const with = "2 live sessions"
	for _, tt := range []struct {
		name, answer   string
		terminal       bool
		args           []string
		stdout, stderr string
		done           bool
	}{
		{"a yes", "y\n", true, nil, "Demoted", asked, true},
		{"a whole yes", "Yes\n", true, nil, "Demoted", asked, true},
		{"a no", "n\n", true, nil, "", asked + "tidegate: api demote: nothing was done: the answer was not yes\n", false},
		{"only return", "\n", true, nil, "", asked + "tidegate: api demote: nothing was done: the answer was not yes\n", false},
		{"--yes at a terminal", "", true, []string{"--yes"}, with, "", true},
		{"a script", "", false, nil, with, "", true},
		{"a script with --yes", "", false, []string{"-y"}, with, "", true},
		{"a script for JSON", "", false, []string{"-o", "json"}, `"etag"`, "", true},
	} {
		cat := &liveCatalog{}
		c := newFakeServer(t, func(srv *grpc.Server) {
			catalogv1.RegisterCatalogServiceServer(srv, cat)
			gatewayv1.RegisterSessionServiceServer(srv, cat)
		}).signIn(t)
		if tt.terminal {
			c.stdin = typed(t, tt.answer)
		}
		stdout, stderr, code := c.run(t, append([]string{"api", "demote", seenVersion}, tt.args...)...)
		if !strings.Contains(stdout, tt.stdout) || tt.stdout == "" && stdout != "" || stderr != tt.stderr || (code == 0) != tt.done || len(cat.etags) == 1 != tt.done {
			t.Errorf("%s: %q, %q, %d, and the server was asked for %q; want %q, %q and done %t", tt.name, stdout, stderr, code, cat.etags, tt.stdout, tt.stderr, tt.done)
		}
	}
}

// liveDenyRules are deny rules beside live sessions: 3 of the one version and 1 of another.
type liveDenyRules struct {
	denyRules
	gatewayv1.UnimplementedSessionServiceServer
	created *catalogv1.CreateDenyRuleRequest
	counted *gatewayv1.CountSessionsRequest
	away    []string
}

func (d *liveDenyRules) CreateDenyRule(_ context.Context, req *catalogv1.CreateDenyRuleRequest) (*catalogv1.DenyRule, error) {
	d.created = req
	return theRule(), nil
}

func (d *liveDenyRules) CountSessions(_ context.Context, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	d.counted = req
	return &gatewayv1.CountSessionsResponse{
		Counts: []*gatewayv1.SessionCount{{Name: "apis/1/versions/2", Sessions: 3}}, Total: 4, Unreachable: d.away,
	}, nil
}

// Who denies is told at a terminal how many live sessions that closes, and says yes first;
// a script is told afterwards.
func TestDenyingAsks(t *testing.T) {
	t.Parallel()
	const refused = "nothing was done: the answer was not yes\n"
	for _, tt := range []struct {
		args, answer, asked, with string
		away                      []string
		filter                    string
	}{
		{
			args: "deny create --from 203.0.113.0/24", answer: "n\n", filter: `client_address = "203.0.113.0/24"`,
			asked: "Denies every API to clients at 203.0.113.0/24, with 4 live sessions.\nGo on? [y/N] ",
		},
		{
			args: "deny create --api Ferry", answer: "y\n", filter: `api = "apis/1"`,
			asked: "Denies the API Ferry to everybody, with 4 live sessions.\nGo on? [y/N] ",
		},
		{
			args: "deny create --api Ferry/1.0.0 --app applications/x --subscription subscriptions/s --from 10.0.0.1", answer: "y\n",
			filter: `api = "apis/1" AND application = "applications/x" AND subscription = "subscriptions/s" AND client_address = "10.0.0.1"`,
			asked:  "Denies Ferry/1.0.0 to the application applications/x at 10.0.0.1 and the subscription subscriptions/s, with 3 live sessions.\nGo on? [y/N] ",
		},
		{
			args: "deny create --app applications/x", answer: "y\n", away: []string{"gateways/g"}, filter: `application = "applications/x"`,
			asked: "Denies every API to the application applications/x, with the live sessions that it matches.\nGo on? [y/N] ",
		},
		{args: "deny create --from 10.0.0.1 --yes", filter: `client_address = "10.0.0.1"`, with: "4 live sessions"},
		{
			args: "deny update r --from 203.0.0.0/16", answer: "n\n", filter: `api = "apis/1" AND client_address = "203.0.0.0/16"`,
			asked: "Denies the API Ferry to clients at 203.0.0.0/16, with 4 live sessions.\nGo on? [y/N] ",
		},
		{args: "deny update r --from 203.0.0.0/16 -y", filter: `api = "apis/1" AND client_address = "203.0.0.0/16"`, with: "4 live sessions"},
		{args: "deny update r --reason x"},
	} {
		d := &liveDenyRules{away: tt.away}
		c := newFakeServer(t, func(srv *grpc.Server) {
			catalogv1.RegisterCatalogServiceServer(srv, ferry{})
			catalogv1.RegisterDenyRuleServiceServer(srv, d)
			gatewayv1.RegisterSessionServiceServer(srv, d)
		}).signIn(t)
		if tt.asked != "" || tt.filter == "" {
			c.stdin = typed(t, tt.answer)
		}
		stdout, stderr, code := c.run(t, strings.Fields(tt.args)...)
		no := tt.answer == "n\n"
		if !strings.HasPrefix(stderr, tt.asked) || no != strings.HasSuffix(stderr, refused) || no != (code != 0) || no == (d.created != nil || d.updated != nil) {
			t.Errorf("%s: %q, %d, and the server was asked for %v, %v; want %q", tt.args, stderr, code, d.created, d.updated, tt.asked)
		}
		if d.counted.GetFilter() != tt.filter {
			t.Errorf("%s: counted those of %s, want %s", tt.args, d.counted.GetFilter(), tt.filter)
		}
		if got := strings.Contains(stdout, "With"); got != (tt.with != "") || !strings.Contains(stdout, tt.with) {
			t.Errorf("%s: %q, want with %q", tt.args, stdout, tt.with)
		}
	}
}

// A server is forgotten with what is kept for it, after a yes.
func TestServerRemoveAsks(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	c := f.signIn(t)
	kept := func(known *state) error {
		known.server(f.addr).OAuthClients = map[string]storedOAuthClient{"1": {}, "2": {}}
		return nil
	}
	if err := (&store{dir: c.dir}).update(kept); err != nil {
		t.Fatal(err)
	}
	asked := "Forgets the server " + f.addr + ", with 1 sign-in and 2 kept secrets.\nGo on? [y/N] "
	for _, tt := range []struct{ answer, stdout, stderr string }{
		{"n\n", "", asked + "tidegate: server remove: nothing was done: the answer was not yes\n"},
		{"y\n", "Removed  " + f.addr + "\n", asked},
	} {
		c.stdin = typed(t, tt.answer)
		if stdout, stderr, _ := c.run(t, "server", "remove", f.addr); stdout != tt.stdout || stderr != tt.stderr {
			t.Errorf("after %q: %q, %q, want %q, %q", tt.answer, stdout, stderr, tt.stdout, tt.stderr)
		}
		known, err := (&store{dir: c.dir}).read()
		if err != nil || (known.Servers[f.addr] == nil) != (tt.stdout != "") {
			t.Errorf("after %q, the servers are %v: %v", tt.answer, known.Servers, err)
		}
	}
}

// interrupter is what a person sees who interrupts the program at once.
type interrupter func()

func (f interrupter) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// An interrupt is an answer too.
func TestInterruptedAnswer(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	s := &shell{Program: Program{Stdin: typed(t, ""), Stderr: interrupter(interrupt)}, global: &global{Output: formatTable}}
	err := s.confirm(ctx, false, "Deletes all", func() []string { return nil })
	if f, ok := errors.AsType[*failure](err); !ok || f.code != codes.Canceled || err.Error() != "interrupted" {
		t.Errorf("confirm() = %v, want that it was interrupted", err)
	}
}

// A person may think longer than a command may take.
func TestTimeStandsStillForAPerson(t *testing.T) {
	t.Parallel()
	ctx, cancel := newPatience(t.Context(), time.Hour)
	defer cancel()
	s := &shell{patience: ctx}
	goOn := s.wait()
	if ctx.timer.Stop() {
		t.Error("the time goes on while a person is asked")
	}
	if goOn(); !ctx.timer.Stop() {
		t.Error("the time does not go on after the answer")
	}
	short, cancel := newPatience(t.Context(), time.Nanosecond)
	defer cancel()
	if <-short.Done(); !errors.Is(short.Err(), context.DeadlineExceeded) {
		t.Errorf("Err() after the time = %v, want DeadlineExceeded", short.Err())
	}
	child, cancel := context.WithCancel(short)
	defer cancel()
	if <-child.Done(); !errors.Is(child.Err(), context.DeadlineExceeded) {
		t.Errorf("Err() of a child after the time = %v, want DeadlineExceeded", child.Err())
	}
}

// A change of limits, and the deletion of a plan, say at a terminal how many they touch;
// what touches nobody's traffic is not asked.
func TestPlanChangesAsk(t *testing.T) {
	t.Parallel()
	const uses = "1 version that offers it, 2 versions that have it for all their traffic, 3 subscriptions, 1 application and 42 live sessions"
	const changes = "Changes the limits of the plan Gold, with " + uses + ".\nGo on? [y/N] "
	const deletes = "Deletes the plan Gold, with " + uses + ".\nGo on? [y/N] "
	for _, tt := range []struct {
		args, answer   string
		terminal       bool
		stdout, stderr string
		done           bool
	}{
		{"update Gold --connections 5", "y\n", true, "Changed", changes, true},
		{"update Gold --remove-limit connections", "n\n", true, "", changes + "tidegate: plan update: nothing was done: the answer was not yes\n", false},
		{"update Gold --connections 5 --yes", "", true, uses, "", true},
		{"update Gold --connections 5", "", false, uses, "", true},
		{"update Gold --description new", "", true, "Changed", "", true},
		{"delete Gold", "y\n", true, "Deleted", deletes, true},
		{"delete Gold", "\n", true, "", deletes + "tidegate: plan delete: nothing was done: the answer was not yes\n", false},
		{"delete Gold", "", false, uses, "", true},
		{"delete Gold -o json", "", false, `"42 live sessions"`, "", true},
	} {
		s := newPlansServer(t)
		c := s.command(t)
		if tt.terminal {
			c.stdin = typed(t, tt.answer)
		}
		stdout, stderr, code := c.run(t, append([]string{"plan"}, strings.Fields(tt.args)...)...)
		done := s.updated != nil || s.deleted.GetEtag() == "seen"
		if !strings.Contains(stdout, tt.stdout) || tt.stdout == "" && stdout != "" || stderr != tt.stderr || (code == 0) != tt.done || done != tt.done {
			t.Errorf("tidegate plan %s, terminal %t: %q, %q, %d, done %t; want %q, %q, %t", tt.args, tt.terminal, stdout, stderr, code, done, tt.stdout, tt.stderr, tt.done)
		}
	}
	s := newPlansServer(t)
	s.use = nil
	if stdout, _, code := s.command(t).run(t, "plan", "delete", "Gold"); code != 0 || !strings.Contains(stdout, "its versions, its subscriptions, its applications and 42 live sessions") {
		t.Errorf("plan delete whose use is not known = %q, %d", stdout, code)
	}
}
