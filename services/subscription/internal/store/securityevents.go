package store

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SecurityEvent is a line of the security log.
type SecurityEvent struct {
	ID string
	securitylog.Line
	// About is the user that the event is about, users/{id}, or empty. It is read, not
	// written.
	About string
	// ActorLabel and AboutLabel are the usernames of who did it and of whom it is about,
	// empty for what is no user. They are read, not written.
	ActorLabel, AboutLabel UserLabel
}

// UserLabel is what users call a user, and last called one that was deleted.
type UserLabel struct {
	Username string
	Deleted  bool
}

// AddSecurityEvents keeps events. One with an ID that is kept already stays as it is.
func (s *Store) AddSecurityEvents(ctx context.Context, events []SecurityEvent) error {
	err := s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		for _, e := range events {
			about, username := aboutUser(e.Event)
			_, err := tx.ExecContext(ctx, `
				INSERT INTO security_event (id, happened_at, event, actor, client_address, method, subject, about, detail, left_out)
				VALUES ($1, $2, $3, $4, $5, $6, $7, COALESCE((SELECT 'users/' || id FROM users WHERE username_fold = $8), $9), $10, $11)
				ON CONFLICT (id) DO NOTHING`,
				e.ID, e.Time.UnixMicro(), string(e.Kind), text(e.Who), text(e.From), text(e.Method), text(e.What), sqldb.Fold(username), about, text(e.Why), int64(e.LeftOut))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add security events: %w", err)
	}
	return nil
}

// text is what a caller may have made of a name, as both engines take it.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// aboutUser returns the name of the user that an event is about, or a username that was
// tried, or neither.
func aboutUser(e securitylog.Event) (name, username string) {
	switch e.Kind {
	case securitylog.SignInFailed, securitylog.LockedOut:
		return "", text(e.What)
	case securitylog.SignedIn, securitylog.SignedUp, securitylog.SignUpRefused, securitylog.ClientRefused:
		return "", "" // what somebody has typed, which may look like a resource name
	}
	if rest, ok := strings.CutPrefix(e.What, "users/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		return text(UserName(id)), ""
	}
	return "", ""
}

// SecurityEventFilter restricts SecurityEvents; a nil field restricts nothing.
type SecurityEventFilter struct {
	// Event is a kind.
	Event *string
	// User is the resource name of who did it, or whom it is about.
	User *string
	// ClientAddress is as netip.Addr prints it.
	ClientAddress *string
	// Happened is when it was.
	Happened page.TimeRange
}

// SecurityEvents returns the events before a key, newest first. The zero key begins with
// the newest.
func (s *Store) SecurityEvents(ctx context.Context, f SecurityEventFilter, before sqldb.TimeKey) iter.Seq2[SecurityEvent, error] {
	if before == (sqldb.TimeKey{}) {
		before.Time = math.MaxInt64
	}
	ofUser := "CAST($5 AS TEXT) IS NULL"
	if f.User != nil {
		ofUser = "(actor = $5 OR about = $5)"
	}
	return sqldb.List(ctx, s.db, scanSecurityEvent, SecurityEvent.ListKey, before, `
		SELECT id, happened_at, event, actor, client_address, method, subject, about, detail, left_out,
			(SELECT u.username FROM users u WHERE u.id = substr(e.actor, 7) AND e.actor LIKE 'users/%'),
			(SELECT f.display_name FROM former_name f WHERE f.name = e.actor),
			(SELECT u.username FROM users u WHERE u.id = substr(e.about, 7)),
			(SELECT f.display_name FROM former_name f WHERE f.name = e.about)
		FROM security_event e
		WHERE (happened_at, id) < ($1, $2)
			AND `+equals("event", "$4", f.Event)+`
			AND `+ofUser+`
			AND `+equals("client_address", "$6", f.ClientAddress)+`
			AND (CAST($7 AS BIGINT) IS NULL OR happened_at >= $7)
			AND (CAST($8 AS BIGINT) IS NULL OR happened_at < $8)
		ORDER BY happened_at DESC, id DESC LIMIT $3`,
		f.Event, f.User, f.ClientAddress, f.Happened.Start, f.Happened.End)
}

// ListKey returns the event's key in lists.
func (e SecurityEvent) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: e.Time.UnixMicro(), ID: e.ID}
}

func scanSecurityEvent(row sqldb.Row) (SecurityEvent, error) {
	var e SecurityEvent
	var at, leftOut int64
	var actor, formerActor, about, formerAbout *string
	err := row.Scan(&e.ID, &at, &e.Kind, &e.Who, &e.From, &e.Method, &e.What, &e.About, &e.Why, &leftOut, &actor, &formerActor, &about, &formerAbout)
	e.Time, e.LeftOut = sqldb.Time(at), int(leftOut)
	e.ActorLabel, e.AboutLabel = userLabel(e.Who, actor, formerActor), userLabel(e.About, about, formerAbout)
	return e, err
}

// userLabel returns the label of what has this name: that of now, or a former one.
func userLabel(name string, now, former *string) (l UserLabel) {
	if !strings.HasPrefix(name, "users/") {
		return l
	}
	if l.Deleted = now == nil; l.Deleted {
		now = former
	}
	if now != nil {
		l.Username = *now
	}
	return l
}
