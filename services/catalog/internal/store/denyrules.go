package store

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// DenyRule is a row of the table deny_rule. Its conditions are empty where they are not
// set.
type DenyRule struct {
	ID string
	// API is the id of an API, and Versions are ids of its versions.
	API      string
	Versions []string
	// Application and Subscription are ids.
	Application, Subscription string
	// ClientAddress is as netaddr.NetworkText writes it.
	ClientAddress string
	Reason        string
	// ExpiresAt is zero for never.
	ExpiresAt time.Time
	// Creator is the id of a user.
	Creator string
	// Administrative is whether an administrator who did not own the API made the rule, or
	// changed what it denies or until when.
	Administrative bool
	Etag           int64
	CreatedAt      time.Time
	UpdatedAt      time.Time

	// APIName and Owner are those of the API, empty without one. They are read only.
	APIName, Owner string
}

// Name returns the rule's name.
func (r DenyRule) Name() resourcename.DenyRule { return resourcename.DenyRule{DenyRule: r.ID} }

// Label returns what users call the rule: what it denies.
func (r DenyRule) Label() string {
	var conditions []string
	for _, c := range []string{r.APIName, applicationName(r.Application), subscriptionName(r.Subscription), r.ClientAddress} {
		if c != "" {
			conditions = append(conditions, c)
		}
	}
	return strings.Join(conditions, " + ")
}

// ListPlace returns the rule's place in a list.
func (r DenyRule) ListPlace(Order) ListPlace {
	return ListPlace{Time: r.CreatedAt.UnixMicro(), ID: r.ID}
}

// Message returns the rule as users see it.
func (r DenyRule) Message() *catalogv1.DenyRule {
	m := r.routed()
	m.Reason, m.Creator, m.Administrative = r.Reason, resourcename.User{User: r.Creator}.String(), r.Administrative
	m.ApiDisplayName, m.Etag = r.APIName, page.Etag(r.Etag)
	m.CreateTime, m.UpdateTime = timestamppb.New(r.CreatedAt), timestamppb.New(r.UpdatedAt)
	return m
}

// routed returns the rule as gateways need it.
func (r DenyRule) routed() *catalogv1.DenyRule {
	m := &catalogv1.DenyRule{
		Name: r.Name().String(), Application: applicationName(r.Application), Subscription: subscriptionName(r.Subscription),
		ClientAddress: r.ClientAddress,
	}
	if r.API != "" {
		m.Api = resourcename.API{API: r.API}.String()
	}
	for _, id := range r.Versions {
		m.Versions = append(m.Versions, resourcename.Version{API: r.API, Version: id}.String())
	}
	if !r.ExpiresAt.IsZero() {
		m.ExpireTime = timestamppb.New(r.ExpiresAt)
	}
	return m
}

func applicationName(id string) string {
	if id == "" {
		return ""
	}
	return resourcename.Application{Application: id}.String()
}

func subscriptionName(id string) string {
	if id == "" {
		return ""
	}
	return resourcename.Subscription{Subscription: id}.String()
}

const selectDenyRule = `
	SELECT r.id, r.api_id, r.versions, r.application, r.subscription, r.client_address, r.reason, r.expires_at,
		r.creator, r.administrative, r.etag, r.created_at, r.updated_at, COALESCE(a.display_name, ''), COALESCE(a.owner, '')
	FROM deny_rule r LEFT JOIN api a ON a.id = r.api_id `

func scanDenyRule(row sqldb.Row) (DenyRule, error) {
	var r DenyRule
	var expires, created, updated int64
	err := row.Scan(&r.ID, &r.API, text(&r.Versions), &r.Application, &r.Subscription, &r.ClientAddress, &r.Reason, &expires,
		&r.Creator, &r.Administrative, &r.Etag, &created, &updated, &r.APIName, &r.Owner)
	if expires != 0 {
		r.ExpiresAt = sqldb.Time(expires)
	}
	r.CreatedAt, r.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return r, err
}

// expiry is the column of the time when a rule ends.
func (r DenyRule) expiry() int64 {
	if r.ExpiresAt.IsZero() {
		return 0
	}
	return r.ExpiresAt.UnixMicro()
}

// DenyRule returns a rule that v may see, or a NotFound fault.
func (s *Store) DenyRule(ctx context.Context, v identity.Viewer, id string) (DenyRule, error) {
	return readDenyRule(ctx, s.db, v, id)
}

func readDenyRule(ctx context.Context, q sqldb.Querier, v identity.Viewer, id string) (DenyRule, error) {
	r, found, err := sqldb.One(ctx, q, scanDenyRule, selectDenyRule+`WHERE r.id = $1`, id)
	switch {
	case err != nil:
		return DenyRule{}, fmt.Errorf("read deny rule %q: %w", id, err)
	case !found, !v.Sees(r.Owner):
		return DenyRule{}, fault.NotFound("%s", resourcename.DenyRule{DenyRule: id})
	}
	return r, nil
}

// DenyRuleFilter restricts DenyRules; nil does not.
type DenyRuleFilter struct {
	// API, Application, Subscription and Creator are ids.
	API, Application, Subscription, Creator *string
	// ClientAddress is a network: rules with an address that cover all of it.
	ClientAddress *netip.Prefix
}

// DenyRules returns the rules after a place that v sees, in an order.
func (s *Store) DenyRules(ctx context.Context, v identity.Viewer, f DenyRuleFilter, o Order, after ListPlace) iter.Seq2[DenyRule, error] {
	return listDenyRules(ctx, s.db, v, f, o, after)
}

func listDenyRules(ctx context.Context, q sqldb.Querier, v identity.Viewer, f DenyRuleFilter, o Order, after ListPlace) iter.Seq2[DenyRule, error] {
	l := listing{text: selectDenyRule + `WHERE TRUE`}
	l.whereEqual("r.api_id", f.API)
	l.whereEqual("r.application", f.Application)
	l.whereEqual("r.subscription", f.Subscription)
	l.whereEqual("r.creator", f.Creator)
	if f.ClientAddress != nil {
		l.whereOneOf("r.client_address", covering(*f.ClientAddress))
	}
	if !v.All {
		l.where("a.owner = ?", v.User)
	}
	return rows(ctx, q, scanDenyRule, l, o, "r.created_at", "r.id", after)
}

// covering returns the texts of all networks that have a network within them.
func covering(network netip.Prefix) []string {
	var all []string
	for bits := network.Bits(); bits >= 0; bits-- {
		wider, _ := network.Addr().Prefix(bits) // the length is one that the address has
		all = append(all, netaddr.NetworkText(wider))
	}
	return all
}

// CreateDenyRule adds a rule, once for a request. check is told the rule with the owner of
// its API, which must be one that v sees.
func (s *Store) CreateDenyRule(ctx context.Context, req requestid.Request, v identity.Viewer, r DenyRule, check func(DenyRule) error) (DenyRule, error) {
	r.ID, r.Etag, r.Creator = id.New(), 1, v.User
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParseDenyRule("", text)
		if err == nil {
			r, err = readDenyRule(ctx, tx, v, made.DenyRule)
		}
		return err
	}
	err := s.log.Write(ctx, "create deny rule", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		r.CreatedAt, r.UpdatedAt = tx.Time, tx.Time
		var err error
		if r, err = completeDenyRule(ctx, tx, v, r, check, nil); err != nil {
			return change.Record{}, err
		}
		r.Administrative = r.Owner != v.User
		if err := checkDenyRules(ctx, tx, r); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO deny_rule (id, api_id, versions, application, subscription, client_address, reason, expires_at,
				creator, administrative, etag, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			r.ID, r.API, text(&r.Versions), r.Application, r.Subscription, r.ClientAddress, r.Reason, r.expiry(),
			r.Creator, r.Administrative, r.Etag, r.CreatedAt.UnixMicro(), r.UpdatedAt.UnixMicro())
		return deniedBy(nil, r), err
	}))
	return r, err
}

// deniedBy returns the change that makes a rule, which was before or did not exist, what it
// is now.
func deniedBy(before *DenyRule, r DenyRule) change.Record {
	record := change.Record{Resource: r.Name().String(), After: r, Event: &backplanev1.RouteEvent{DenyRules: []*catalogv1.DenyRule{r.routed()}}}
	if before != nil {
		record.Before = *before
		if proto.Equal(before.routed(), r.routed()) {
			record.Event = nil
		}
	}
	return record
}

// completeDenyRule reads what a rule says of its API, which v must see, asks check, and
// refuses versions that the API does not have, but for those that the rule had already.
func completeDenyRule(ctx context.Context, tx *change.Tx, v identity.Viewer, r DenyRule, check func(DenyRule) error, had []string) (DenyRule, error) {
	r.APIName, r.Owner = "", ""
	if r.API != "" {
		a, err := readAPI(ctx, tx, v, r.API)
		if err != nil {
			return r, err
		}
		r.APIName, r.Owner = a.DisplayName, a.Owner
	}
	if err := check(r); err != nil {
		return r, err
	}
	for i, version := range r.Versions {
		if slices.Contains(had, version) {
			continue // it may have been deleted since, and then denies nothing
		}
		exists, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM version WHERE id = $1 AND api_id = $2)`, version, r.API)
		if err != nil {
			return r, fmt.Errorf("look for a version: %w", err)
		}
		if !exists {
			return r, fault.Invalid(fmt.Sprintf("deny_rule.versions[%d]", i), "must be a version of the API")
		}
	}
	return r, nil
}

// How many deny rules there may be. Publishers cannot take the place of administrators, nor
// one of them that of all others.
const (
	maxDenyRules         = 10_000 // of administrators, and as many of publishers
	maxDenyRulesOfAnyone = 1000   // that publishers made, for the APIs of one owner
)

// checkDenyRules refuses a rule that is new, or new to its owner or to the administrators,
// where there are as many as there may be.
func checkDenyRules(ctx context.Context, tx *change.Tx, r DenyRule) error {
	var all, own int
	err := tx.QueryRowContext(ctx, `
		SELECT count(*), COALESCE(sum(CASE WHEN a.owner = $1 THEN 1 ELSE 0 END), 0)
		FROM deny_rule r LEFT JOIN api a ON a.id = r.api_id WHERE r.administrative = $2 AND r.id <> $3`,
		r.Owner, r.Administrative, r.ID).Scan(&all, &own)
	switch {
	case err != nil:
		return fmt.Errorf("count deny rules: %w", err)
	case !r.Administrative && own >= maxDenyRulesOfAnyone:
		err = fault.Exhausted("you have %d deny rules, as many as a publisher may have: delete one first, or deny a network instead of its addresses", own)
	case all >= maxDenyRules:
		err = fault.Exhausted("there are %d deny rules, as many as there may be: delete one first, or deny a network instead of its addresses", all)
	default:
		return nil
	}
	return fault.WithReason(err, fault.ReasonTooManyDenyRules)
}

// checkGivenDenyRules refuses to give an API to an owner who would then have more than half
// of the rules that a publisher may have: whoever is given rules has not asked for them, and
// can still make as many. Viewers who see everything give as many as they like, as of APIs.
func checkGivenDenyRules(ctx context.Context, tx *change.Tx, v identity.Viewer, api, owner string) error {
	if v.All {
		return nil
	}
	var given, has int
	err := tx.QueryRowContext(ctx, `
		SELECT COALESCE(sum(CASE WHEN a.id = $1 THEN 1 ELSE 0 END), 0), COALESCE(sum(CASE WHEN a.owner = $2 THEN 1 ELSE 0 END), 0)
		FROM deny_rule r JOIN api a ON a.id = r.api_id WHERE NOT r.administrative`, api, owner).Scan(&given, &has)
	switch {
	case err != nil:
		return fmt.Errorf("count deny rules: %w", err)
	case given == 0 || given+has <= maxDenyRulesOfAnyone/2:
		return nil
	}
	return fault.WithReason(fault.Exhausted(
		"with those of the API the new owner would have %d deny rules, and may be given no more than %d, half of what a publisher may have: delete some first; an administrator can give more",
		given+has, maxDenyRulesOfAnyone/2), fault.ReasonTooManyDenyRules)
}

// UpdateDenyRule makes a rule that v sees what edit makes of it: its conditions, reason and
// expiry. What an administrator changes of what another's rule denies makes it
// administrative. check is told the rule that comes of it, with the owner of its API.
func (s *Store) UpdateDenyRule(ctx context.Context, v identity.Viewer, id string, edit func(DenyRule) (DenyRule, error), check func(DenyRule) error) (r DenyRule, err error) {
	err = s.log.Write(ctx, "update deny rule", func(tx *change.Tx) (change.Record, error) {
		old, err := readDenyRule(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if r, err = edit(old); err != nil {
			return change.Record{}, err
		}
		r.ID, r.Etag, r.UpdatedAt = old.ID, old.Etag+1, tx.Time
		had := old.Versions
		if r.API != old.API {
			had = nil
		}
		if r, err = completeDenyRule(ctx, tx, v, r, check, had); err != nil {
			return change.Record{}, err
		}
		if v.User != r.Owner && !proto.Equal(old.routed(), r.routed()) {
			r.Administrative = true // else the owner could take away what the administrator denies
		}
		if r.Administrative != old.Administrative || r.Owner != old.Owner {
			if err := checkDenyRules(ctx, tx, r); err != nil {
				return change.Record{}, err
			}
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE deny_rule SET api_id = $1, versions = $2, application = $3, subscription = $4, client_address = $5,
				reason = $6, expires_at = $7, administrative = $8, etag = $9, updated_at = $10
			WHERE id = $11`,
			r.API, text(&r.Versions), r.Application, r.Subscription, r.ClientAddress,
			r.Reason, r.expiry(), r.Administrative, r.Etag, r.UpdatedAt.UnixMicro(), id)
		return deniedBy(&old, r), err
	})
	return r, err
}

// DeleteDenyRule removes a rule that v sees and check allows to be removed.
func (s *Store) DeleteDenyRule(ctx context.Context, v identity.Viewer, id string, check func(DenyRule) error) error {
	return s.log.Write(ctx, "delete deny rule", func(tx *change.Tx) (change.Record, error) {
		r, err := readDenyRule(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(r); err != nil {
			return change.Record{}, err
		}
		return removeDenyRule(ctx, tx, r)
	})
}

func removeDenyRule(ctx context.Context, tx *change.Tx, r DenyRule) (change.Record, error) {
	_, err := tx.ExecContext(ctx, `DELETE FROM deny_rule WHERE id = $1`, r.ID)
	name := r.Name().String()
	return change.Record{Resource: name, Before: r, Event: &backplanev1.RouteEvent{RemovedDenyRules: []string{name}}}, err
}

// expireDenyRule is the action of the deletion of an expired rule in the audit log.
const expireDenyRule = "ExpireDenyRule"

// expireBatch is how many expired rules are read at once.
const expireBatch = 100

// DeleteExpiredDenyRules deletes the rules that have expired by now, each as a change of
// the catalog's own, and returns how many. Gateways hold them no longer anyway.
func (s *Store) DeleteExpiredDenyRules(ctx context.Context, now time.Time) (deleted int, err error) {
	for {
		ids, err := sqldb.All(ctx, s.db, func(row sqldb.Row) (id string, err error) {
			err = row.Scan(&id)
			return id, err
		}, `SELECT id FROM deny_rule WHERE expires_at > 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2`, now.UnixMicro(), int64(expireBatch))
		if err != nil {
			return deleted, fmt.Errorf("look for expired deny rules: %w", err)
		}
		for _, id := range ids {
			if err := s.expireDenyRule(ctx, id, now); err != nil {
				return deleted, err
			}
			deleted++
		}
		if len(ids) < expireBatch {
			return deleted, nil
		}
	}
}

// expireDenyRule deletes a rule, unless another replica has, or it does not expire any more.
func (s *Store) expireDenyRule(ctx context.Context, id string, now time.Time) error {
	return s.log.Write(ctx, "delete expired deny rule", func(tx *change.Tx) (change.Record, error) {
		r, err := readDenyRule(ctx, tx, everything, id)
		if fault.Is(err, codes.NotFound) || err == nil && (r.ExpiresAt.IsZero() || r.ExpiresAt.After(now)) {
			return change.Record{Skip: true}, nil
		}
		if err != nil {
			return change.Record{}, err
		}
		record, err := removeDenyRule(ctx, tx, r)
		record.Actor, record.Action = resourcename.Service{Service: identity.Catalog}.String(), expireDenyRule
		return record, err
	})
}

// checkDeletable refuses to let a viewer who is no administrator delete an API, or the version
// of it that is not "", while rules of administrators name that: what is made anew in its place
// has none of them, and whom they deny would come in. A rule that has expired denies nobody.
func checkDeletable(ctx context.Context, tx *change.Tx, v identity.Viewer, api, version string) error {
	if v.All {
		return nil
	}
	n := 0
	for r, err := range listDenyRules(ctx, tx, everything, DenyRuleFilter{API: &api}, Order{}, ListPlace{}) {
		if err != nil {
			return fmt.Errorf("read the deny rules of the API: %w", err)
		}
		expired := !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(tx.Time)
		if r.Administrative && !expired && (version == "" || slices.Contains(r.Versions, version)) {
			n++
		}
	}
	what := "API"
	if version != "" {
		what = "version"
	}
	switch n {
	case 0:
		return nil
	case 1:
		return fault.Precondition("an administrator's deny rule names the %s: ask an administrator to delete the %s, or the rule first", what, what)
	}
	return fault.Precondition("%d deny rules of administrators name the %s: ask an administrator to delete the %s, or the rules first", n, what, what)
}

// removeDenyRulesOf deletes the rules of an API that is deleted, and adds that to the event.
func removeDenyRulesOf(ctx context.Context, tx *change.Tx, api string, event *backplanev1.RouteEvent) error {
	for r, err := range listDenyRules(ctx, tx, everything, DenyRuleFilter{API: &api}, Order{}, ListPlace{}) {
		if err != nil {
			return fmt.Errorf("read the deny rules of the API: %w", err)
		}
		event.RemovedDenyRules = append(event.RemovedDenyRules, r.Name().String())
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM deny_rule WHERE api_id = $1`, api); err != nil {
		return fmt.Errorf("delete the deny rules of the API: %w", err)
	}
	return nil
}
