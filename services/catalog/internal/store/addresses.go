package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// FurtherAddress is where clients reach a version, beside the address that its API's context
// gives it.
type FurtherAddress struct {
	// Host is a virtual host; empty is the shared one.
	Host string `json:"host,omitempty"`
	// Prefix is empty for a whole virtual host.
	Prefix string `json:"prefix,omitempty"`
	// Serves is a value of the enum FurtherAddress.Serves without its prefix; empty is "not
	// set".
	Serves     string `json:"serves,omitempty"`
	KeepPrefix bool   `json:"keepPrefix,omitempty"`
	// Addresses are what it is advertised as. The store sets them.
	Addresses []string `json:"addresses,omitempty"`
}

// Serves of addresses where clients open no sockets, and where they do nothing else.
const (
	ServesHTTP   = "HTTP"
	ServesSocket = "SOCKET"
)

// Served reports whether gateways serve the address: on a virtual host that the
// installation has no more they do not.
func (a FurtherAddress) Served() bool { return a.Host == "" || len(a.Addresses) > 0 }

// Same reports whether two addresses are one.
func (a FurtherAddress) Same(b FurtherAddress) bool { return a.Host == b.Host && a.Prefix == b.Prefix }

// Message returns the address as the API and routes have it.
func (a FurtherAddress) Message() *catalogv1.FurtherAddress {
	return &catalogv1.FurtherAddress{
		Host: a.Host, Prefix: a.Prefix, KeepPrefix: a.KeepPrefix, Addresses: a.Addresses,
		Serves: catalogv1.FurtherAddress_Serves(catalogv1.FurtherAddress_Serves_value[ServesPrefix+a.Serves]),
	}
}

// served returns the addresses that gateways serve.
func served(rows []FurtherAddress) (all []*catalogv1.FurtherAddress) {
	for _, a := range rows {
		if a.Served() {
			all = append(all, a.Message())
		}
	}
	return all
}

// VirtualHost is a host that versions may be given addresses on.
type VirtualHost struct {
	Name   string // which may be a wildcard
	Scheme string // ws or wss
	Port   string // ":8443", or empty for that of the scheme
}

// virtualHosts returns how a host is advertised: as it is listed itself, or else as a
// wildcard that stands for it.
func (s *Store) virtualHosts(host string) []VirtualHost {
	var own, covering []VirtualHost
	for _, v := range s.virtual {
		switch {
		case v.Name == host:
			own = append(own, v)
		case hostname.Covers(v.Name, host):
			covering = append(covering, v)
		}
	}
	if len(own) > 0 {
		return own
	}
	return covering
}

// advertised returns the addresses of a version as the installation advertises them now.
func (s *Store) advertised(rows []FurtherAddress) []FurtherAddress {
	rows = slices.Clone(rows)
	for i := range rows {
		a := &rows[i]
		path := a.Prefix
		if path == "" {
			path = "/"
		}
		a.Addresses = nil
		if a.Host == "" {
			for _, gateway := range s.gateways {
				a.Addresses = append(a.Addresses, a.url(gateway+path))
			}
		} else {
			for _, v := range s.virtualHosts(a.Host) {
				a.Addresses = append(a.Addresses, a.url(v.Scheme+"://"+a.Host+v.Port+path))
			}
		}
	}
	return rows
}

// url is the address that is given for sockets, as clients of what is served there use it.
func (a FurtherAddress) url(address string) string {
	if a.Serves != ServesHTTP {
		return address
	}
	return "http" + strings.TrimPrefix(address, "ws")
}

// AdvertiseFurther sets what further addresses are advertised with, the addresses of the
// gateways and the virtual hosts, and gives them to the versions that have some: in several
// changes where these are many. It is called as Advertise is.
func (s *Store) AdvertiseFurther(ctx context.Context, gateways []string, virtual []VirtualHost) error {
	s.gateways, s.virtual = gateways, virtual
	all, err := sqldb.All(ctx, s.db, s.scanVersion, selectVersion+`
		WHERE EXISTS (SELECT 1 FROM further_address f WHERE f.version_id = v.id) ORDER BY v.id`)
	if err != nil {
		return fmt.Errorf("read versions with further addresses: %w", err)
	}
	all = slices.DeleteFunc(all, func(v Version) bool { return !s.stale(v) })
	for some := range slices.Chunk(all, advertiseBatch) {
		err := s.log.Write(ctx, "advertise further addresses", func(tx *change.Tx) (change.Record, error) {
			event, err := s.advertiseFurther(ctx, tx, some)
			return change.Record{
				Actor: "services/catalog", Action: "AdvertiseFurtherAddresses", Resource: "services/catalog", Event: event, Skip: len(event.GetRoutes()) == 0,
			}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stale reports whether a version has addresses that are advertised otherwise now.
func (s *Store) stale(v Version) bool {
	return !slices.EqualFunc(v.Further, s.advertised(v.Further), func(a, b FurtherAddress) bool { return slices.Equal(a.Addresses, b.Addresses) })
}

// advertiseFurther gives versions, if they are still stale, what is advertised now.
func (s *Store) advertiseFurther(ctx context.Context, tx *change.Tx, some []Version) (*backplanev1.RouteEvent, error) {
	event := &backplanev1.RouteEvent{}
	for _, old := range some {
		v, found, err := sqldb.One(ctx, tx, s.scanVersion, selectVersion+`WHERE v.id = $1`, old.ID)
		if err != nil {
			return nil, fmt.Errorf("read version %q: %w", old.ID, err)
		}
		if !found || !s.stale(v) {
			continue
		}
		before := v.Route()
		v.Further = s.advertised(v.Further)
		sealed, err := s.sealEndpoints(v)
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE version SET endpoints = $1 WHERE id = $2`, sealed, v.ID); err != nil {
			return nil, fmt.Errorf("keep what is advertised: %w", err)
		}
		if err := addRoute(ctx, tx, event, &v, before); err != nil {
			return nil, err
		}
	}
	return event, nil
}

// keepAddresses makes the further addresses of a version those by which it is found.
func keepAddresses(ctx context.Context, tx *change.Tx, v Version) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM further_address WHERE version_id = $1`, v.ID); err != nil {
		return fmt.Errorf("clear further addresses: %w", err)
	}
	for _, a := range v.Further {
		_, err := tx.ExecContext(ctx, `INSERT INTO further_address (host, prefix_fold, wildcard, version_id) VALUES ($1, $2, $3, $4)`,
			a.Host, foldContext(a.Prefix), hostname.Above(a.Host), v.ID)
		if err != nil {
			return fmt.Errorf("add further address: %w", err)
		}
	}
	return nil
}

// checkFurther refuses those addresses of a version that it did not have before if the
// installation has no such host, or if they are taken. api is the version's.
func (s *Store) checkFurther(ctx context.Context, tx *change.Tx, viewer identity.Viewer, api API, v Version, before []FurtherAddress) error {
	for i, a := range v.Further {
		if slices.ContainsFunc(before, a.Same) {
			continue
		}
		at := fmt.Sprintf("version.further_addresses[%d]", i)
		if a.Host != "" && len(s.virtualHosts(a.Host)) == 0 {
			return fault.Invalid(at+".host", "%s", s.noHost(a.Host))
		}
		for _, check := range []func(context.Context, *change.Tx, identity.Viewer, API, Version, FurtherAddress) (string, error){
			besideFurther, besideContexts, besideWildcards,
		} {
			switch why, err := check(ctx, tx, viewer, api, v, a); {
			case err != nil:
				return fmt.Errorf("look for what has a further address: %w", err)
			case why != "":
				return fault.AlreadyExists("%s: %s", at, why)
			}
		}
	}
	return nil
}

// noHost says what hosts there are, where there is no such one.
func (s *Store) noHost(host string) string {
	const most = 10
	var names []string
	for _, v := range s.virtual {
		if !slices.Contains(names, v.Name) {
			names = append(names, v.Name)
		}
	}
	switch {
	case len(names) == 0:
		return fmt.Sprintf("there is no virtual host %q: the installation has none, only the shared host, which is an empty text", host)
	case len(names) > most:
		names = append(names[:most], "others")
	}
	return fmt.Sprintf("there is no virtual host %q: there are %s", host, strings.Join(names, ", "))
}

// meets is a condition of SQL: that of two prefixes one is the other, or begins with it.
func meets(a, b string) string {
	return `(` + a + ` = ` + b + ` OR substr(` + a + `, 1, length(` + b + `) + 1) = ` + b + ` || '/' OR substr(` + b + `, 1, length(` + a + `) + 1) = ` + a + ` || '/')`
}

// besideFurther says why an address cannot be beside the further ones of other versions: it
// is one of them, or meets that of another API.
func besideFurther(ctx context.Context, tx *change.Tx, _ identity.Viewer, api API, v Version, a FurtherAddress) (string, error) {
	fold := foldContext(a.Prefix)
	taken, err := sqldb.All(ctx, tx, scanText, `
		SELECT f.prefix_fold FROM further_address f JOIN version o ON o.id = f.version_id
		WHERE f.host = $1 AND f.version_id <> $2 AND (f.prefix_fold = CAST($3 AS TEXT) OR o.api_id <> $4 AND `+meets(`f.prefix_fold`, `CAST($3 AS TEXT)`)+`)`,
		a.Host, v.ID, fold, api.ID)
	switch {
	case err != nil || len(taken) == 0:
		return "", err
	case slices.Contains(taken, fold):
		return fmt.Sprintf("%q is taken", a.Host+a.Prefix), nil
	}
	return fmt.Sprintf("%q lies around or under an address of another API", a.Host+a.Prefix), nil
}

// besideContexts says why an address on the shared host cannot be beside contexts: it meets
// that of another API, or is that of a version of its own.
func besideContexts(ctx context.Context, tx *change.Tx, _ identity.Viewer, api API, v Version, a FurtherAddress) (string, error) {
	if a.Host != "" {
		return "", nil
	}
	fold, own := foldContext(a.Prefix), foldContext(api.Context)
	if fold == own {
		return fmt.Sprintf("%q is the context of the API", a.Prefix), nil
	}
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM api WHERE id <> $1 AND `+meets(`context_fold`, `CAST($2 AS TEXT)`)+`)`, api.ID, fold)
	switch {
	case err != nil:
		return "", err
	case taken:
		return fmt.Sprintf("%q lies around or under the context of another API", a.Prefix), nil
	}
	rest, below := strings.CutPrefix(fold, own+"/")
	if !below {
		return "", nil
	}
	next, _, _ := strings.Cut(rest, "/")
	versions, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM version_string WHERE api_id = $1 AND lower(version) = $2)`, api.ID, next)
	if err != nil || !versions && next != strings.ToLower(v.Version) {
		return "", err
	}
	return fmt.Sprintf("%q lies at or under the address that a version of the API has or had", a.Prefix), nil
}

// besideWildcards says why a host cannot be beside another owner's: one of them is a
// wildcard that stands for the other, and would lose it. Viewers who see everything may
// arrange hosts as they like.
func besideWildcards(ctx context.Context, tx *change.Tx, viewer identity.Viewer, api API, _ Version, a FurtherAddress) (string, error) {
	if a.Host == "" || viewer.All {
		return "", nil
	}
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM further_address f JOIN version v ON v.id = f.version_id JOIN api o ON o.id = v.api_id
			WHERE o.owner <> $1 AND (f.host = $2 AND $2 <> '' OR f.wildcard = $3))`, api.Owner, hostname.Above(a.Host), a.Host)
	if err != nil || !taken {
		return "", err
	}
	if hostname.IsWildcard(a.Host) {
		return fmt.Sprintf("%q stands for a host of another owner's", a.Host), nil
	}
	return fmt.Sprintf("%q is one of those that another owner's wildcard stands for", a.Host), nil
}

// checkContextBesideFurther returns an AlreadyExists fault when an API's context meets a further address of
// another API, or would make one of its own the address of a version.
func checkContextBesideFurther(ctx context.Context, tx *change.Tx, a API) error {
	fold := foldContext(a.Context)
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM further_address f JOIN version v ON v.id = f.version_id
			WHERE f.host = '' AND v.api_id <> $1 AND `+meets(`f.prefix_fold`, `CAST($2 AS TEXT)`)+`)`, a.ID, fold)
	switch {
	case err != nil:
		return fmt.Errorf("look for further addresses around the API's context: %w", err)
	case taken:
		return fault.AlreadyExists("api.context: %q lies around or under a further address of another API", a.Context)
	}
	taken, err = sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM further_address f JOIN version v ON v.id = f.version_id
			WHERE f.host = '' AND v.api_id = $1 AND (f.prefix_fold = CAST($2 AS TEXT) OR EXISTS (
				SELECT 1 FROM version_string s WHERE s.api_id = $1 AND (f.prefix_fold = CAST($2 AS TEXT) || '/' || lower(s.version)
					OR substr(f.prefix_fold, 1, length(CAST($2 AS TEXT)) + length(s.version) + 2) = CAST($2 AS TEXT) || '/' || lower(s.version) || '/'))))`,
		a.ID, fold)
	if err == nil && taken {
		err = fault.AlreadyExists("api.context: with %q a further address of the API would be that of one of its versions", a.Context)
	}
	return err
}

// checkVersionBesideFurther returns an AlreadyExists fault when a further address is at or under the address of a
// new version of an API.
func checkVersionBesideFurther(ctx context.Context, tx *change.Tx, api API, version string) error {
	address := api.Context + "/" + version
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM further_address WHERE host = '' AND (prefix_fold = CAST($1 AS TEXT)
			OR substr(prefix_fold, 1, length(CAST($1 AS TEXT)) + 1) = CAST($1 AS TEXT) || '/'))`, foldContext(address))
	switch {
	case err != nil:
		return fmt.Errorf("look for further addresses under the version's: %w", err)
	case taken:
		return fault.AlreadyExists("version.version: a further address is at or under %q", address)
	}
	return nil
}
