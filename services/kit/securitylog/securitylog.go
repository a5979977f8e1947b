// Package securitylog writes what operators need to see who got in, who did not, and
// who changed what others may do: one line an event, with who, from where, what, and
// why not. The lines go to the program's log, and to a file of their own if there is
// one.
//
// A flood of events must not fill disks, or hide events of another kind: of each kind
// the first few of a second are written, and the rest of that second is one line with
// their count.
//
// An event is written before the call that it is about is answered, as in a database's
// log: what a crash cuts off is what operators look for. A disk that is full only loses
// the file's lines; one that hangs holds up the calls, so docs/deployment.md asks for a
// local one.
package securitylog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// Kind is what happened.
type Kind string

// The kinds. docs/deployment.md says what each means.
const (
	SignedIn        Kind = "SIGNED_IN"
	SignInFailed    Kind = "SIGN_IN_FAILED"
	LockedOut       Kind = "LOCKED_OUT"
	Unlocked        Kind = "UNLOCKED"
	SignInEnded     Kind = "SIGN_IN_ENDED"
	SignedUp        Kind = "SIGNED_UP"
	SignUpRefused   Kind = "SIGN_UP_REFUSED"
	TokenIssued     Kind = "TOKEN_ISSUED"
	TokenRefused    Kind = "TOKEN_REFUSED"
	ClientRefused   Kind = "CLIENT_REFUSED"
	Denied          Kind = "DENIED"
	Revoked         Kind = "REVOKED"
	PasswordChanged Kind = "PASSWORD_CHANGED"
	RolesChanged    Kind = "ROLES_CHANGED"
	UserChanged     Kind = "USER_CHANGED"
	SecretMade      Kind = "SECRET_MADE"
	KeyRotated      Kind = "KEY_ROTATED"
	OwnerChanged    Kind = "OWNER_CHANGED"
	Published       Kind = "PUBLISHED"
	SessionClosed   Kind = "SESSION_CLOSED"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{
		SignedIn, SignInFailed, LockedOut, Unlocked, SignInEnded, SignedUp, SignUpRefused, TokenIssued, TokenRefused, ClientRefused,
		Denied, Revoked, PasswordChanged, RolesChanged, UserChanged, SecretMade, KeyRotated, OwnerChanged, Published, SessionClosed,
	}
}

// perSecond is how many events of a kind are written in a second, and flushEvery how
// often counts are written while no event comes.
const (
	perSecond  = 10
	flushEvery = time.Second
)

// maxText is the longest text of an event, in bytes.
const maxText = 256

// Event is something that happened.
type Event struct {
	Kind Kind
	// Who did or tried it; empty means the caller of the gRPC call.
	Who string
	// What it was done to, for example the name of a resource, or empty.
	What string
	// Why it was refused, or what changed; empty where there is nothing to say.
	Why string
}

// Line is a line of the log: an event with all that is known of it, in which no text is
// longer than 256 bytes, or how many more of its kind there were in a second.
type Line struct {
	Time time.Time
	Event
	// From is the address that it came from, Method that of the call; empty where there is
	// none.
	From, Method string
	// LeftOut is 0 for an event. Otherwise the line has a kind and this number only.
	LeftOut int
}

// Log writes events. A nil Log writes none. It is safe for concurrent use.
type Log struct {
	log  *slog.Logger
	now  func() time.Time
	path string

	mu    sync.Mutex
	file  *os.File // nil without a path
	json  *slog.Logger
	kinds map[Kind]*count
	tell  func(Line) // nil for nobody
	// writing is how writing to the file goes.
	writing *retry.Streak
}

// count is what was written and left out of a kind in one second.
type count struct {
	second        int64
	written, left int
}

// Open returns a log that writes to the program's log, at INFO, and appends to the
// file at path, which it makes for its owner only; an empty path is no file. Run writes
// the counts of events that were left out. Close closes the file.
func Open(path string, log *slog.Logger, now func() time.Time) (*Log, error) {
	l := &Log{log: log, now: now, path: path, kinds: map[Kind]*count{},
		writing: retry.NewStreak(log, slog.LevelError, "the security log cannot be written")}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reopen opens the file again, for example after it was renamed. If that fails, the
// old file stays open.
func (l *Log) Reopen() error {
	if l == nil || l.path == "" {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the security log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file, l.json = file, slog.New(slog.NewJSONHandler(file, nil))
	if old != nil {
		return old.Close()
	}
	return nil
}

// Tell gives each further line to keep as well, which must not wait; nil ends that. Of a
// log that services share, keep gets the lines of all.
func (l *Log) Tell(keep func(Line)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell = keep
}

// Close closes the file. Events after that go to the program's log only.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file, l.json = nil, nil
	return err
}

// Write writes an event, or counts it when too many of its kind came in this second.
func (l *Log) Write(ctx context.Context, e Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Unix()
	c := l.kinds[e.Kind]
	if c == nil {
		c = &count{}
		l.kinds[e.Kind] = c
	}
	if c.second != now {
		l.flush(ctx, e.Kind, c)
		*c = count{second: now}
	}
	if c.written >= perSecond {
		c.left++
		return
	}
	c.written++
	l.line(ctx, l.lineOf(ctx, e))
}

// lineOf returns what the log says of an event.
func (l *Log) lineOf(ctx context.Context, e Event) Line {
	if e.Who == "" {
		e.Who = nameOf(identity.From(ctx))
	}
	line := Line{Time: l.now(), Event: Event{Kind: e.Kind, Who: clip(e.Who), What: clip(e.What), Why: clip(e.Why)}}
	if addr := clientaddr.From(ctx); addr.IsValid() {
		line.From = addr.String()
	}
	method, _ := grpc.Method(ctx)
	line.Method = clip(method[strings.LastIndexByte(method, '/')+1:])
	return line
}

// attributes returns what a line says. What is empty is left out.
func (l Line) attributes() []any {
	all := []any{"event", string(l.Kind)}
	if l.LeftOut > 0 {
		return append(all, "count", l.LeftOut)
	}
	for _, a := range [][2]string{{"who", l.Who}, {"from", l.From}, {"method", l.Method}, {"what", l.What}, {"why", l.Why}} {
		if a[1] != "" {
			all = append(all, a[0], a[1])
		}
	}
	return all
}

// nameOf names the caller. Whoever comes through the portal without a token is nobody:
// the portal does nothing of its own accord there.
func nameOf(c identity.Caller) string {
	if c.User.Name == "" && c.Service == identity.Portal {
		return ""
	}
	return c.Actor()
}

// clip shortens a text that a caller may have made long.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// flush writes how many events of a kind were left out in their second.
func (l *Log) flush(ctx context.Context, kind Kind, c *count) {
	if c.left > 0 {
		l.line(ctx, Line{Time: l.now(), Event: Event{Kind: kind}, LeftOut: c.left})
	}
	c.left = 0
}

// line writes a line to the log and to the file, and tells whoever keeps it. A file that
// cannot be written to, such as on a full disk, must not stop what the line is about.
func (l *Log) line(ctx context.Context, line Line) {
	if l.tell != nil {
		l.tell(line)
	}
	message, attrs := "security event", line.attributes()
	if line.LeftOut > 0 {
		message = "security events left out"
	}
	l.log.InfoContext(ctx, message, attrs...)
	if l.json == nil {
		return
	}
	record := slog.NewRecord(line.Time, slog.LevelInfo, message, 0)
	record.Add(attrs...)
	err := l.json.Handler().Handle(ctx, record)
	l.writing.Note(context.WithoutCancel(ctx), err) // a call that has ended counts too
}

// Run writes, each second, how many events were left out, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	for {
		again := retry.Sleep(ctx, flushEvery)
		l.flushAll(ctx, !again)
		if !again {
			return nil
		}
	}
}

// flushAll writes the counts of seconds that are over, or all of them.
func (l *Log) flushAll(ctx context.Context, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Unix()
	for _, kind := range slices.Sorted(maps.Keys(l.kinds)) {
		if c := l.kinds[kind]; all || c.second != now {
			l.flush(ctx, kind, c)
		}
	}
}

// Refused writes that a call was refused; identity's interceptors call it. A token
// that has only expired is no event: clients renew it.
func (l *Log) Refused(ctx context.Context, req any, err error) {
	e := Event{Kind: Denied, What: subject(req), Why: status.Convert(err).Message()}
	if fault.Is(err, codes.Unauthenticated) {
		e.Kind = TokenRefused
		if fault.Reason(err) == fault.ReasonTokenExpired {
			return
		}
	}
	l.Write(ctx, e)
}

// subject returns the name of what a request is about, as far as its own fields say.
func subject(req any) string {
	switch r := req.(type) {
	case interface{ GetName() string }:
		return r.GetName()
	case interface{ GetParent() string }:
		return r.GetParent()
	}
	return ""
}
