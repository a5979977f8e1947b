package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// States of a version.
const (
	Created   = "CREATED"
	Published = "PUBLISHED"
)

// Version is a row of the table version, with some fields of its API.
type Version struct {
	ID          string
	Version     string
	Description string
	Tags        []string
	// Endpoints are those of the socket.
	Endpoints
	// HTTP says what becomes of plain requests; nil: they are refused.
	HTTP *HTTP
	// Security has the alternatives in order.
	Security []SecurityScheme
	// Plans are ids of plans.
	Plans   []string
	Origins []string
	// MaxSessionAge is 0 for no limit.
	MaxSessionAge time.Duration
	// IdleTimeout is 0 for what gateways allow.
	IdleTimeout time.Duration
	// BackendHost, BackendOrigin and Pings are values of the enums of these names,
	// without their prefixes; empty is "not set".
	BackendHost, BackendOrigin, Pings string
	// Backend is what else backends are told, which may have secrets.
	Backend Backend
	// Endings are what clients get at ends of sessions.
	Endings []ClientEnding
	// Further are where it is reached, too.
	Further []FurtherAddress
	// FixedHost is what the backend gets as Host if BackendHost is HostFixed.
	FixedHost string
	// AdvertisedHosts are those of the installation, in order, if BackendHost is
	// HostClient.
	AdvertisedHosts []string
	// TrafficPlan is the id of the plan of all the version's traffic, or empty.
	TrafficPlan string
	// Subscriptionless is whether applications need no subscription.
	Subscriptionless bool
	// MaxMessageBytes is 0 for what gateways allow.
	MaxMessageBytes int64
	// ErrorTemplate is a value of the enum ErrorFrames.Template without its prefix, or
	// empty for the default; ErrorText is the text of TEXT.
	ErrorTemplate, ErrorText string
	State                    string
	// ChangeNumber is the number of the change that made the version's route as it
	// is.
	ChangeNumber int64
	Etag         int64
	CreatedAt    time.Time
	UpdatedAt    time.Time

	// APIID is the API's id, the only one of the API's fields that is written.
	APIID string
	// DisplayName, Context and Owner are the API's; Owner is the id of a user.
	DisplayName, Context, Owner string
	// Default is whether this is the API's default version.
	Default bool
	// DefaultPaths is whether it is and also gets the paths that name no version. Then
	// Strings has what is or ever was the version string of a version of the API.
	DefaultPaths bool
	Strings      []string
}

// SecurityScheme is a way in which a client proves who it is.
type SecurityScheme struct {
	// Type is one of the types below.
	Type string `json:"type"`
	// Places are where the credential may be, in order.
	Places []Place `json:"places,omitempty"`
}

// Types of security schemes.
const (
	SchemeOAuth2 = "oauth2"
	SchemeNone   = "none"
	SchemeAPIKey = "apiKey"
)

// Anonymous reports whether clients need no credential, neither for the socket nor for HTTP.
func (v Version) Anonymous() bool {
	return anonymous(v.Security) && (v.HTTP == nil || anonymous(v.HTTPSecurity()))
}

func anonymous(schemes []SecurityScheme) bool {
	return len(schemes) == 1 && schemes[0].Type == SchemeNone
}

// Name returns the version's name.
func (v Version) Name() resourcename.Version {
	return resourcename.Version{API: v.APIID, Version: v.ID}
}

// Label returns what users call the version.
func (v Version) Label() string { return v.DisplayName + "/" + v.Version }

// ListPlace returns the version's place in a list.
func (v Version) ListPlace(o Order) ListPlace {
	if o.By == ByName {
		return ListPlace{Text: sqldb.Fold(v.DisplayName), ID: v.ID}
	}
	return ListPlace{Time: v.CreatedAt.UnixMicro(), ID: v.ID}
}

// seenBy reports whether viewer may see the version: its own, a published one, and one in
// the state CREATED if it publishes.
func (v Version) seenBy(viewer identity.Viewer) bool {
	return v.State == Published || v.State == alsoSeen(viewer) || viewer.Sees(v.Owner)
}

const selectVersion = `
	SELECT v.id, v.version, v.description, v.tags, v.endpoints, v.security, v.plans, v.origins,
		v.max_session_age, v.backend_host, v.fixed_host, v.advertised_hosts, v.backend_origin, v.pings,
		v.traffic_plan, v.subscriptionless, v.max_message_bytes, v.error_template, v.error_text,
		v.state, v.change_number, v.etag, v.created_at, v.updated_at,
		v.api_id, a.display_name, a.context, a.owner, (a.default_version = v.id),
		(a.default_version = v.id AND a.default_version_paths),
		CASE WHEN a.default_version = v.id AND a.default_version_paths
			THEN (SELECT string_agg(s.version, ' ' ORDER BY s.version) FROM version_string s WHERE s.api_id = a.id)
			ELSE '' END
	FROM version v JOIN api a ON a.id = v.api_id `

func (s *Store) scanVersion(row sqldb.Row) (Version, error) {
	var v Version
	var sealed []byte
	var strs string
	var created, updated, age int64
	err := row.Scan(&v.ID, &v.Version, &v.Description, text(&v.Tags), &sealed,
		text(&v.Security), text(&v.Plans), text(&v.Origins),
		&age, &v.BackendHost, &v.FixedHost, text(&v.AdvertisedHosts), &v.BackendOrigin, &v.Pings,
		&v.TrafficPlan, &v.Subscriptionless, &v.MaxMessageBytes, &v.ErrorTemplate, &v.ErrorText,
		&v.State, &v.ChangeNumber, &v.Etag, &created, &updated,
		&v.APIID, &v.DisplayName, &v.Context, &v.Owner, &v.Default, &v.DefaultPaths, &strs)
	if err == nil {
		err = s.openEndpoints(&v, sealed)
	}
	if strs != "" {
		v.Strings = strings.Split(strs, " ") // none has a space
	}
	v.MaxSessionAge = time.Duration(age)
	v.CreatedAt, v.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return v, err
}

// Version returns a version that v may see, or a NotFound fault.
func (s *Store) Version(ctx context.Context, v identity.Viewer, name resourcename.Version) (Version, error) {
	return s.readVersion(ctx, s.db, v, name)
}

func (s *Store) readVersion(ctx context.Context, q sqldb.Querier, v identity.Viewer, name resourcename.Version) (Version, error) {
	row, found, err := sqldb.One(ctx, q, s.scanVersion, selectVersion+`WHERE v.id = $1 AND v.api_id = $2`, name.Version, name.API)
	switch {
	case err != nil:
		return Version{}, fmt.Errorf("read version %q: %w", name, err)
	case !found, !row.seenBy(v):
		return Version{}, fault.NotFound("%s", name)
	}
	return row, nil
}

// VersionsByID returns those of the versions with these ids that v may see.
func (s *Store) VersionsByID(ctx context.Context, v identity.Viewer, ids []string) (map[string]Version, error) {
	found, err := readBatch(ctx, s.db, s.scanVersion, func(v Version) string { return v.ID }, selectVersion+`WHERE v.id IN `, ids)
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	maps.DeleteFunc(found, func(_ string, row Version) bool { return !row.seenBy(v) })
	return found, nil
}

// readVersions returns all versions of an API, oldest first.
func (s *Store) readVersions(ctx context.Context, tx *change.Tx, api string) ([]Version, error) {
	all, err := sqldb.All(ctx, tx, s.scanVersion, selectVersion+`WHERE v.api_id = $1 ORDER BY v.created_at, v.id`, api)
	if err != nil {
		return nil, fmt.Errorf("read versions of %q: %w", api, err)
	}
	return all, nil
}

// VersionFilter restricts Versions; nil does not.
type VersionFilter struct {
	// APIs are the ids of the APIs whose versions are listed.
	APIs    []string
	Version *string
	State   *string
	// Tag is one that the version has.
	Tag *string
	// Owner is the id of the user who owns the API.
	Owner *string
	// Query is a text in the description, or in the display name or the context of the API,
	// without regard to case; empty for any.
	Query string
}

// Versions returns the versions after a place that v sees, in an order.
func (s *Store) Versions(ctx context.Context, v identity.Viewer, f VersionFilter, o Order, after ListPlace) iter.Seq2[Version, error] {
	return s.listVersions(ctx, s.db, v, f, o, after)
}

func (s *Store) listVersions(ctx context.Context, q sqldb.Querier, v identity.Viewer, f VersionFilter, o Order, after ListPlace) iter.Seq2[Version, error] {
	l := listing{text: selectVersion + `WHERE TRUE`}
	l.whereContains(s.db, f.Query, "v.search") // before what it takes longer to compare
	l.whereOneOf("v.api_id", f.APIs)
	l.whereEqual("v.version", f.Version)
	l.whereEqual("v.state", f.State)
	l.whereEqual("a.owner", f.Owner)
	if f.Tag != nil {
		l.where(`EXISTS (SELECT 1 FROM version_tag t WHERE t.version_id = v.id AND t.tag = ?)`, *f.Tag)
	}
	if !v.All && (f.State == nil || *f.State != Published) {
		l.where(`a.owner = ? OR v.state IN ('PUBLISHED', ?)`, v.User, alsoSeen(v))
	}
	column := map[By]string{ByTime: "v.created_at", ByName: "v.display_fold"}[o.By]
	if o.By == ByName && f.Owner != nil {
		column = "a.display_fold" // which is the same, and does not lead away from the owner's
	}
	return rows(ctx, q, s.scanVersion, l, o, column, "v.id", after)
}

// alsoSeen is the state in which v sees versions of others, beside PUBLISHED; PUBLISHED
// itself for none.
func alsoSeen(v identity.Viewer) string {
	if v.Publishes {
		return Created
	}
	return Published
}

// MaxVersions is how many versions an API may have.
const MaxVersions = 200

// CreateVersion adds a version to the API v.APIID, which viewer sees and check
// allows to be changed, once for a request.
func (s *Store) CreateVersion(ctx context.Context, req requestid.Request, viewer identity.Viewer, v Version, check func(API) error) (Version, error) {
	return s.createVersion(ctx, req, viewer, v.APIID, func(_ *change.Tx, api API) (Version, error) { return v, check(api) })
}

// CopyVersion adds a version to the API of another version, both of which viewer sees, once
// for a request: what edit makes of the other one.
func (s *Store) CopyVersion(ctx context.Context, req requestid.Request, viewer identity.Viewer, source resourcename.Version,
	edit func(API, Version) (Version, error),
) (Version, error) {
	return s.createVersion(ctx, req, viewer, source.API, func(tx *change.Tx, api API) (Version, error) {
		other, err := s.readVersion(ctx, tx, viewer, source)
		if err != nil {
			return Version{}, err
		}
		v, err := edit(api, other)
		v.APIID = source.API
		return v, err
	})
}

// createVersion adds the version that fill returns to an API that viewer sees, once for a
// request.
func (s *Store) createVersion(ctx context.Context, req requestid.Request, viewer identity.Viewer, in string,
	fill func(*change.Tx, API) (Version, error),
) (v Version, err error) {
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParseVersion("", text)
		if err == nil {
			v, err = s.readVersion(ctx, tx, viewer, made)
		}
		return err
	}
	err = s.log.Write(ctx, "create version", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		api, err := readAPI(ctx, tx, viewer, in)
		if err != nil {
			return change.Record{}, err
		}
		if v, err = fill(tx, api); err != nil {
			return change.Record{}, err
		}
		v.ID, v.State = id.New(), Created
		if err := checkNew(ctx, tx, api, v); err != nil {
			return change.Record{}, err
		}
		if err := s.checkFurther(ctx, tx, viewer, api, v, nil); err != nil {
			return change.Record{}, err
		}
		v.Further = s.advertised(v.Further)
		standard, err := s.readDefault(ctx, tx, api)
		if err != nil {
			return change.Record{}, err
		}
		sealed, err := s.sealEndpoints(v)
		if err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO version (id, api_id, version, description, tags, endpoints, security, plans, origins,
				max_session_age, backend_host, fixed_host, advertised_hosts, backend_origin, pings,
				traffic_plan, subscriptionless, max_message_bytes, error_template, error_text, state, change_number,
				etag, created_at, updated_at, display_fold, search)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, 0, 1, $22, $22, '', '')`,
			v.ID, v.APIID, v.Version, v.Description, text(&v.Tags), sealed,
			text(&v.Security), text(&v.Plans), text(&v.Origins), int64(v.MaxSessionAge),
			v.BackendHost, v.FixedHost, s.hostsOf(v), v.BackendOrigin, v.Pings,
			v.TrafficPlan, v.Subscriptionless, v.MaxMessageBytes, v.ErrorTemplate, v.ErrorText, v.State, tx.Time.UnixMicro())
		if err != nil {
			return change.Record{}, err
		}
		v.DisplayName, v.Context = api.DisplayName, api.Context
		if err := link(ctx, tx, v); err != nil {
			return change.Record{}, err
		}
		if err := keepString(ctx, tx, v.APIID, v.Version); err != nil {
			return change.Record{}, err
		}
		event, err := s.routeEvent(ctx, tx, &v, nil)
		if err != nil {
			return change.Record{}, err
		}
		err = s.addDefault(ctx, tx, event, standard)
		return change.Record{Resource: v.Name().String(), After: v, Event: event}, err
	}))
	return v, err
}

// checkNew refuses a version whose version string or address is taken or whose plans
// do not exist, and one more than an API may have.
func checkNew(ctx context.Context, tx *change.Tx, api API, v Version) error {
	if err := checkPlans(ctx, tx, v); err != nil {
		return err
	}
	var count int64
	var taken string
	err := tx.QueryRowContext(ctx, `
		SELECT count(*), COALESCE(max(CASE WHEN lower(version) = lower($1) THEN version ELSE '' END), '')
		FROM version WHERE api_id = $2`, v.Version, api.ID).Scan(&count, &taken)
	switch {
	case err != nil:
		return fmt.Errorf("count the API's versions: %w", err)
	case taken != "":
		return fault.AlreadyExists("version.version: the API has a version %q", taken)
	case count >= MaxVersions:
		return fault.Precondition("the API has %d versions, the most that it may have", MaxVersions)
	}
	if err := checkAddress(ctx, tx, api, v.Version); err != nil {
		return err
	}
	return checkVersionBesideFurther(ctx, tx, api, v.Version)
}

// checkPlans refuses a version with plans that do not exist.
func checkPlans(ctx context.Context, tx *change.Tx, v Version) error {
	var wrong []fault.Violation
	for i, id := range v.Plans {
		if err := wantPlan(ctx, tx, id, fmt.Sprintf("version.plans[%d]", i), &wrong); err != nil {
			return err
		}
	}
	if v.TrafficPlan != "" {
		if err := wantPlan(ctx, tx, v.TrafficPlan, "version.traffic_plan", &wrong); err != nil {
			return err
		}
	}
	if v.Subscriptionless {
		if err := wantPlan(ctx, tx, DefaultSubscriptionless, "version.subscriptionless", &wrong); err != nil {
			return err
		}
	}
	return fault.InvalidAll(wrong...)
}

// wantPlan adds to wrong that there is no plan with this id, which a field needs.
func wantPlan(ctx context.Context, tx *change.Tx, id, field string, wrong *[]fault.Violation) error {
	exists, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM plan WHERE id = $1)`, id)
	if err != nil {
		return fmt.Errorf("look for plan %q: %w", id, err)
	}
	if !exists {
		*wrong = append(*wrong, fault.Violation{Field: field, Message: "there is no " + resourcename.Plan{Plan: id}.String()})
	}
	return nil
}

// UpdateVersion makes a version that viewer may see what edit makes of it: all but its
// version string, its API and the fields that the server sets.
func (s *Store) UpdateVersion(ctx context.Context, viewer identity.Viewer, name resourcename.Version, edit func(Version) (Version, error)) (v Version, err error) {
	err = s.log.Write(ctx, "update version", func(tx *change.Tx) (change.Record, error) {
		old, err := s.readVersion(ctx, tx, viewer, name)
		if err != nil {
			return change.Record{}, err
		}
		if v, err = edit(old); err != nil {
			return change.Record{}, err
		}
		v.ID, v.APIID = old.ID, old.APIID
		if err := checkPlans(ctx, tx, v); err != nil {
			return change.Record{}, err
		}
		if err := s.checkFurther(ctx, tx, viewer, API{ID: old.APIID, Context: old.Context, Owner: old.Owner}, v, old.Further); err != nil {
			return change.Record{}, err
		}
		v.Further = s.advertised(v.Further)
		sealed, err := s.sealEndpoints(v)
		if err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE version SET description = $1, tags = $2, endpoints = $3, security = $4,
				plans = $5, origins = $6, max_session_age = $7, backend_host = $8, fixed_host = $9,
				advertised_hosts = $10, backend_origin = $11, pings = $12, traffic_plan = $13, subscriptionless = $14,
				max_message_bytes = $15, error_template = $16, error_text = $17, state = $18, etag = etag + 1, updated_at = $19
			WHERE id = $20`,
			v.Description, text(&v.Tags), sealed, text(&v.Security),
			text(&v.Plans), text(&v.Origins), int64(v.MaxSessionAge), v.BackendHost, v.FixedHost,
			s.hostsOf(v), v.BackendOrigin, v.Pings, v.TrafficPlan, v.Subscriptionless,
			v.MaxMessageBytes, v.ErrorTemplate, v.ErrorText, v.State, tx.Time.UnixMicro(), v.ID)
		if err != nil {
			return change.Record{}, err
		}
		v.DisplayName, v.Context = old.DisplayName, old.Context
		if err := unlink(ctx, tx, v.ID); err != nil {
			return change.Record{}, err
		}
		if err := link(ctx, tx, v); err != nil {
			return change.Record{}, err
		}
		event, err := s.routeEvent(ctx, tx, &v, &old)
		return change.Record{Resource: name.String(), Before: old, After: v, Event: event}, err
	})
	return v, err
}

// keepSearch keeps in a version's row what lists are searched and ordered by, of which some
// is its API's.
func keepSearch(ctx context.Context, tx *change.Tx, v Version) error {
	name := sqldb.Fold(v.DisplayName)
	_, err := tx.ExecContext(ctx, `UPDATE version SET display_fold = $1, search = $2 WHERE id = $3`,
		name, name+"\n"+foldContext(v.Context)+"\n"+sqldb.Fold(v.Description), v.ID)
	if err != nil {
		return fmt.Errorf("keep what version %q is found by: %w", v.ID, err)
	}
	return nil
}

// keepStates keeps in an API's row how many of its versions are in which state.
func keepStates(ctx context.Context, tx *change.Tx, api string) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE api SET published = (SELECT count(*) FROM version v WHERE v.api_id = api.id AND v.state = 'PUBLISHED'),
			created = (SELECT count(*) FROM version v WHERE v.api_id = api.id AND v.state = 'CREATED')
		WHERE id = $1`, api)
	if err != nil {
		return fmt.Errorf("count the states of versions of %q: %w", api, err)
	}
	return nil
}

// link adds what versions are found by: their tags and plans, their further addresses, what
// is searched, and in their API's row their state.
func link(ctx context.Context, tx *change.Tx, v Version) error {
	if err := keepSearch(ctx, tx, v); err != nil {
		return err
	}
	if err := keepStates(ctx, tx, v.APIID); err != nil {
		return err
	}
	if err := keepAddresses(ctx, tx, v); err != nil {
		return err
	}
	for _, tag := range v.Tags {
		_, err := tx.ExecContext(ctx, `INSERT INTO version_tag (version_id, tag) VALUES ($1, $2)`, v.ID, tag)
		if err != nil {
			return fmt.Errorf("add tag: %w", err)
		}
	}
	for _, plan := range v.Plans {
		_, err := tx.ExecContext(ctx, `INSERT INTO version_plan (version_id, plan_id) VALUES ($1, $2)`, v.ID, plan)
		if err != nil {
			return fmt.Errorf("offer plan: %w", err)
		}
	}
	return nil
}

// unlink removes the rows that link adds for tags and plans.
func unlink(ctx context.Context, tx *change.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM version_tag WHERE version_id = $1`, id); err != nil {
		return fmt.Errorf("clear tags: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM version_plan WHERE version_id = $1`, id); err != nil {
		return fmt.Errorf("clear plans: %w", err)
	}
	return nil
}

// DeleteVersion removes a version that viewer sees, and that check and checkDeletable allow to
// be removed; its API no longer has it as the default.
func (s *Store) DeleteVersion(ctx context.Context, viewer identity.Viewer, name resourcename.Version, check func(Version) error) error {
	return s.log.Write(ctx, "delete version", func(tx *change.Tx) (change.Record, error) {
		v, err := s.readVersion(ctx, tx, viewer, name)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(v); err != nil {
			return change.Record{}, err
		}
		if err := checkDeletable(ctx, tx, viewer, v.APIID, v.ID); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE api SET default_version = '', etag = etag + 1, updated_at = $1 WHERE id = $2 AND default_version = $3`,
			tx.Time.UnixMicro(), v.APIID, v.ID)
		if err != nil {
			return change.Record{}, fmt.Errorf("clear the default version: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM version WHERE id = $1`, v.ID); err != nil {
			return change.Record{}, err
		}
		if err := keepStates(ctx, tx, v.APIID); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: name.String(), Before: v, Event: &backplanev1.RouteEvent{RemovedRoutes: []string{name.String()}}}, nil
	})
}
