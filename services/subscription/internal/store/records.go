package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SessionRecord says how a session went and who ended it, or why a handshake was refused.
type SessionRecord struct {
	// Ref is the record's id, which the close reason has, or the answer to the handshake.
	Ref string
	// Session, Version, Grant and APIKey are resource names; Grant is empty if no
	// credential was required, APIKey if it was another one.
	Session, Version, Grant, APIKey string
	// Application and Subscription are ids, or empty.
	Application, Subscription string
	ClientAddress             string
	StartedAt, EndedAt        time.Time
	// EndedBy and EndReason are the API's numbers of a party and of an end reason.
	// A newer gateway may report numbers that this release does not know.
	EndedBy, EndReason int64
	// Close codes; 0 means that there was none.
	CloseCodeFromClient, CloseCodeToClient, CloseCodeFromBackend, CloseCodeToBackend int64
	In, Out                                                                          Traffic
	// LastInAt and LastOutAt are when the last frame came in and went out; the zero
	// time if none did.
	LastInAt, LastOutAt time.Time
	Truncated           bool
	// RouteChangeNumber is the number of the catalog's change that made the route.
	RouteChangeNumber int64
	Detail            string
	// Status and Code are what a refused handshake was answered with; 0 and empty for a
	// session. API is a resource name, where a refused handshake led to an API but to no
	// version. Host, Path and UserAgent are what it asked for.
	Status                           int64
	Code, API, Host, Path, UserAgent string
	// Plan is the resource name of the plan of the subscription, or empty. Limits are what
	// limits did to the session, or the one that refused the handshake; those of an
	// application and of a version are read by its owner only.
	Plan   string
	Limits []LimitUsage
	// Deciding is the limit that ended the session or refused the handshake, nil for none;
	// it is read by whoever reads what such a limit did.
	Deciding *DecidingLimit
	// Renewals is how often the credential was renewed, and RenewedAt when last; the zero time
	// if it never was.
	Renewals  int64
	RenewedAt time.Time
	// LeftOut is how many later records of the same kind and hour were not kept.
	LeftOut int64
	// Labels are read, not written.
	Labels Labels
}

// DecidingLimit is a limit that ended a session or refused a handshake. Without a name it is
// a plan that a gateway did not know, or did not understand.
type DecidingLimit struct {
	LimitName
	Detail string `json:",omitempty"`
}

// AddRecords takes in a batch of records, once. If a ref has a record already, the
// stored one stays as it is.
func (s *Store) AddRecords(ctx context.Context, b Batch, records []SessionRecord) (result BatchResult, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if result, err = s.take(ctx, tx, recordBatch, b); err != nil || result.Duplicate {
			return err
		}
		owners := newOwners(tx)
		// In one order, so that batches of two gateways do not wait for each other.
		groups, counts := byGroup(records), map[LeftOut]int64{}
		for _, group := range slices.SortedFunc(maps.Keys(groups), recordGroup.compare) {
			left, err := s.addGroup(ctx, tx, owners, group, groups[group])
			if err != nil {
				return err
			}
			result.LeftOut += len(left)
			for _, r := range left {
				counts[r.leftOut()]++
			}
		}
		return addLeftOut(ctx, tx, counts)
	})
	if err != nil {
		return BatchResult{}, fmt.Errorf("add session records: %w", err)
	}
	return result, nil
}

// recordGroup is what session records are bounded by: an application, a version that is
// tried out, or a version and a client's network where no credential is required, and the hour in which the sessions ended.
// Tokens are no bound: whoever has an application's secret gets as many as it likes.
// Refused handshakes are bounded by API, code and the hour in which they began, so that a
// flood of one kind does not hide the others; those that led to no API are together.
type recordGroup struct {
	hour    int64
	of      string
	refused bool
}

// refusals returns the group of refused handshakes.
func refusals(l LeftOut) recordGroup {
	api := l.API
	if l.Version != "" {
		api, _, _ = strings.Cut(l.Version, "/versions/")
	}
	return recordGroup{hour: micros(l.Hour), of: api + " refused " + l.Code, refused: true}
}

func (g recordGroup) compare(other recordGroup) int {
	return cmp.Or(cmp.Compare(g.hour, other.hour), cmp.Compare(g.of, other.of))
}

// byGroup groups records, each group in the order in which they came.
func byGroup(records []SessionRecord) map[recordGroup][]SessionRecord {
	groups := map[recordGroup][]SessionRecord{}
	for _, r := range records {
		g := recordGroup{hour: micros(r.EndedAt.Truncate(time.Hour)), of: r.Application}
		switch {
		case r.Code != "":
			g = refusals(r.leftOut())
		case g.of == "":
			g.of = r.Version + " " + network(r.ClientAddress)
		case g.of == TryOut:
			g.of += " " + r.Version
		}
		groups[g] = append(groups[g], r)
	}
	return groups
}

// network returns the network of an address, with or without a port.
func network(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return clientaddr.Network(at.Addr()).String()
	}
	if addr, err := netip.ParseAddr(address); err == nil {
		return clientaddr.Network(addr).String()
	}
	return address
}

// addGroup adds as many records of a group as there is room for, and returns those that
// are left out. The last of the others says how many.
func (s *Store) addGroup(ctx context.Context, tx *sqldb.Tx, owners *owners, g recordGroup, records []SessionRecord) (left []SessionRecord, err error) {
	most := s.bounds.Records
	if g.refused {
		most = s.bounds.Refusals
	}
	if most == 0 {
		return nil, addAll(ctx, tx, owners, records)
	}
	var kept int
	var last string
	// The write locks the row until the commit, so that two batches cannot both take
	// the last room.
	err = tx.QueryRowContext(ctx, `
		INSERT INTO record_count (hour, bounded, kept, last_ref) VALUES ($1, $2, 0, '')
		ON CONFLICT (hour, bounded) DO UPDATE SET kept = record_count.kept
		RETURNING kept, last_ref`, g.hour, g.of).Scan(&kept, &last)
	if err != nil {
		return nil, fmt.Errorf("count session records: %w", err)
	}
	fitting := records[:min(len(records), max(0, most-kept))]
	if err := addAll(ctx, tx, owners, fitting); err != nil {
		return nil, err
	}
	if len(fitting) > 0 {
		last = fitting[len(fitting)-1].Ref
		_, err := tx.ExecContext(ctx, `UPDATE record_count SET kept = $1, last_ref = $2 WHERE hour = $3 AND bounded = $4`,
			int64(kept+len(fitting)), last, g.hour, g.of)
		if err != nil {
			return nil, fmt.Errorf("count session records: %w", err)
		}
	}
	if left = records[len(fitting):]; len(left) > 0 {
		if _, err := tx.ExecContext(ctx, `UPDATE session_record SET left_out = left_out + $1 WHERE ref = $2`, int64(len(left)), last); err != nil {
			return nil, fmt.Errorf("count session records left out: %w", err)
		}
	}
	return left, nil
}

func addAll(ctx context.Context, tx *sqldb.Tx, owners *owners, records []SessionRecord) error {
	for _, r := range records {
		if err := addRecord(ctx, tx, owners, r); err != nil {
			return err
		}
	}
	return nil
}

func addRecord(ctx context.Context, tx *sqldb.Tx, owners *owners, r SessionRecord) error {
	owner, err := owners.of(ctx, r.Application)
	if err != nil {
		return err
	}
	limits, err := asJSON(r.Limits, len(r.Limits) == 0)
	if err != nil {
		return fmt.Errorf("write limits: %w", err)
	}
	deciding, err := asJSON(r.Deciding, r.Deciding == nil)
	if err != nil {
		return fmt.Errorf("write deciding limit: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO session_record (ref, session, version, application, subscription, grant_name,
			application_owner, client_address, started_at, ended_at, ended_by, end_reason,
			close_code_from_client, close_code_to_client, close_code_from_backend, close_code_to_backend,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire,
			last_in_at, last_out_at, truncated, route_change_number, detail, left_out,
			status, code, api, host, path, user_agent, plan, limits, deciding_limit, api_key, renewals, renewed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
			$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, 0, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41)
		ON CONFLICT (ref) DO NOTHING`,
		r.Ref, r.Session, r.Version, r.Application, r.Subscription, r.Grant,
		owner, r.ClientAddress, micros(r.StartedAt), micros(r.EndedAt), r.EndedBy, r.EndReason,
		r.CloseCodeFromClient, r.CloseCodeToClient, r.CloseCodeFromBackend, r.CloseCodeToBackend,
		r.In.Messages, r.In.Frames, r.In.Payload, r.In.Wire, r.Out.Messages, r.Out.Frames, r.Out.Payload, r.Out.Wire,
		micros(r.LastInAt), micros(r.LastOutAt), r.Truncated, r.RouteChangeNumber, r.Detail,
		r.Status, r.Code, r.API, r.Host, r.Path, r.UserAgent, r.Plan, limits, deciding, r.APIKey, r.Renewals, micros(r.RenewedAt))
	return err
}

// asJSON returns a value as JSON, or nothing where there is none.
func asJSON(value any, none bool) (string, error) {
	if none {
		return "", nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// selectRecord reads records for a viewer; owner is the parameter that has v.Owner().
func selectRecord(v identity.Viewer, owner string) string {
	seen := seenBy(owner)
	ofApplication, ofVersion := seen[0], seen[1]+" OR "+seen[2]
	if v.Owner() == nil {
		ofApplication, ofVersion = "TRUE", "TRUE"
	}
	return `
	SELECT ref, session, version, application, subscription, grant_name,
		client_address, started_at, ended_at, ended_by, end_reason,
		close_code_from_client, close_code_to_client, close_code_from_backend, close_code_to_backend,
		in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire,
		last_in_at, last_out_at, truncated, route_change_number, detail, left_out,
		status, code, api, host, path, user_agent, plan, limits, deciding_limit, api_key, renewals, renewed_at, (` + ofApplication + `), (` + ofVersion + `), ` + recordLabels + `
	FROM session_record r `
}

func scanRecord(row sqldb.Row) (SessionRecord, error) {
	var r SessionRecord
	var started, ended, lastIn, lastOut, renewed int64
	var limits, deciding string
	var ofApplication, ofVersion bool
	err := sqldb.With(row, r.Labels.dests()...).Scan(&r.Ref, &r.Session, &r.Version, &r.Application, &r.Subscription, &r.Grant,
		&r.ClientAddress, &started, &ended, &r.EndedBy, &r.EndReason,
		&r.CloseCodeFromClient, &r.CloseCodeToClient, &r.CloseCodeFromBackend, &r.CloseCodeToBackend,
		&r.In.Messages, &r.In.Frames, &r.In.Payload, &r.In.Wire, &r.Out.Messages, &r.Out.Frames, &r.Out.Payload, &r.Out.Wire,
		&lastIn, &lastOut, &r.Truncated, &r.RouteChangeNumber, &r.Detail, &r.LeftOut,
		&r.Status, &r.Code, &r.API, &r.Host, &r.Path, &r.UserAgent, &r.Plan, &limits, &deciding, &r.APIKey, &r.Renewals, &renewed, &ofApplication, &ofVersion)
	if err == nil && limits != "" {
		err = json.Unmarshal([]byte(limits), &r.Limits)
	}
	if err == nil && deciding != "" {
		err = json.Unmarshal([]byte(deciding), &r.Deciding)
	}
	hidden := func(l LimitName) bool {
		return l.Place != placeSubscription && (l.Place != placeApplication || !ofApplication) && (l.Place != placeVersion || !ofVersion)
	}
	r.Limits = slices.DeleteFunc(r.Limits, func(l LimitUsage) bool { return hidden(l.LimitName) })
	if r.Deciding != nil && hidden(r.Deciding.LimitName) {
		r.Deciding = nil
	}
	if !ofApplication && r.Application != TryOut { // as with live sessions; whoever tries a version out has no application
		r.Grant = ""
	}
	r.StartedAt, r.EndedAt, r.LastInAt, r.LastOutAt, r.RenewedAt = maybe(started), maybe(ended), maybe(lastIn), maybe(lastOut), maybe(renewed)
	return r, err
}

// ListKey returns the record's key in lists.
func (r SessionRecord) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: micros(r.EndedAt), ID: r.Ref}
}

// SessionRecord returns a record of v's applications or versions, or a NotFound
// fault.
func (s *Store) SessionRecord(ctx context.Context, v identity.Viewer, ref string) (SessionRecord, error) {
	r, found, err := sqldb.One(ctx, s.db, scanRecord, selectRecord(v, "$2")+`
		WHERE ref = $1 AND `+ofViewer(v, "session_record", "ref", "$2", ofAPI("$2")), ref, v.Owner())
	switch {
	case err != nil:
		return SessionRecord{}, fmt.Errorf("read session record %q: %w", ref, err)
	case !found:
		return SessionRecord{}, fault.NotFound("sessionRecords/%s", ref)
	}
	return r, nil
}

// RecordFilter restricts SessionRecords; a nil field restricts nothing.
type RecordFilter struct {
	// Version is a resource name.
	Version *string
	// Application and Subscription are ids.
	Application, Subscription *string
	// APIKey is a resource name.
	APIKey *string
	// EndReason is the API's number of an end reason.
	EndReason *int64
	// Code is that of refused handshakes.
	Code *string
	// Refused is true for refused handshakes, false for sessions.
	Refused *bool
	// Ended is when the sessions ended.
	Ended page.TimeRange
}

// SessionRecords returns the records before a key that v may see, which are those
// of v's applications and v's versions, newest first. The zero key begins with the
// newest.
func (s *Store) SessionRecords(ctx context.Context, v identity.Viewer, f RecordFilter, before sqldb.TimeKey) iter.Seq2[SessionRecord, error] {
	if before == (sqldb.TimeKey{}) {
		before.Time = math.MaxInt64
	}
	if f.APIKey != nil && f.Application == nil { // whose records an index has
		f.Application = applicationOf(*f.APIKey)
	}
	all, err := s.seesAllRecords(ctx, v, f)
	if err != nil {
		return func(yield func(SessionRecord, error) bool) { yield(SessionRecord{}, err) }
	}
	seen := ofViewer(v, "session_record", "ref", "$4", ofAPI("$4"))
	if all {
		seen = "TRUE"
	}
	return sqldb.List(ctx, s.db, scanRecord, SessionRecord.ListKey, before, selectRecord(v, "$4")+`
		WHERE (ended_at, ref) < ($1, $2)
			AND `+seen+`
			AND `+equals("version", "$5", f.Version)+`
			AND `+equals("application", "$6", f.Application)+`
			AND `+equals("subscription", "$7", f.Subscription)+`
			AND (CAST($8 AS BIGINT) IS NULL OR end_reason = $8)
			AND (CAST($9 AS TEXT) IS NULL OR code = $9)
			AND (CAST($10 AS BOOLEAN) IS NULL OR (code <> '') = $10)
			AND (CAST($11 AS BIGINT) IS NULL OR ended_at >= $11)
			AND (CAST($12 AS BIGINT) IS NULL OR ended_at < $12)
			AND (CAST($13 AS TEXT) IS NULL OR api_key = $13)
		ORDER BY ended_at DESC, ref DESC LIMIT $3`,
		v.Owner(), f.Version, f.Application, f.Subscription, f.EndReason, f.Code, f.Refused, f.Ended.Start, f.Ended.End, f.APIKey)
}

// applicationOf returns the id of the application of an API key, nil where the name is none.
func applicationOf(key string) *string {
	n, err := resourcename.ParseAPIKey("", key)
	if err != nil {
		return nil
	}
	return &n.Application
}

// seesAllRecords reports whether v, who does not see everything, may see each record that a
// filter leaves: those of a version or an application of v's. Then an index has the page that
// is read; else all records that v may see are looked for.
func (s *Store) seesAllRecords(ctx context.Context, v identity.Viewer, f RecordFilter) (bool, error) {
	if v.Owner() == nil || f.Version == nil && f.Application == nil {
		return false, nil
	}
	all, err := sqldb.Exists(ctx, s.db, `
		SELECT EXISTS (SELECT 1 FROM version WHERE name = $1 AND owner = $3)
			OR EXISTS (SELECT 1 FROM application WHERE id = $2 AND owner = $3)`, f.Version, f.Application, v.User)
	if err != nil {
		return false, fmt.Errorf("read whose session records they are: %w", err)
	}
	return all, nil
}

// equals returns the condition that a column has the value of a parameter, which nil does
// not restrict. It has no OR, so that an index finds the rows.
func equals(column, param string, value *string) string {
	if value == nil {
		return "CAST(" + param + " AS TEXT) IS NULL"
	}
	return column + " = " + param
}
