package store

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SaveGateways keeps the addresses of the gateways, such as "wss://gateway.example",
// from which the addresses of versions are made.
func (s *Store) SaveGateways(ctx context.Context, gateways []string) error {
	text := strings.Join(gateways, " ")
	_, err := s.db.ExecContext(ctx, `UPDATE catalog_cursor SET gateways = $1 WHERE id = 1 AND gateways <> $1`, text)
	if err != nil {
		return fmt.Errorf("save the gateways' addresses: %w", err)
	}
	return nil
}

func readGateways(ctx context.Context, q sqldb.Querier) ([]string, error) {
	var text string
	err := q.QueryRowContext(ctx, `SELECT gateways FROM catalog_cursor WHERE id = 1`).Scan(&text)
	return strings.Fields(text), err
}

// saveAddresses keeps the further addresses of a version.
func saveAddresses(ctx context.Context, tx *sqldb.Tx, v Version) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM version_address WHERE version = $1`, v.Name); err != nil {
		return fmt.Errorf("clear addresses of version %q: %w", v.Name, err)
	}
	for _, address := range v.Addresses {
		base, path := splitAddress(address)
		_, err := tx.ExecContext(ctx, `
			INSERT INTO version_address (version, address, base, path) VALUES ($1, $2, $3, $4) ON CONFLICT (version, address) DO NOTHING`,
			v.Name, address, base, path)
		if err != nil {
			return fmt.Errorf("save address of version %q: %w", v.Name, err)
		}
	}
	return nil
}

// furtherAddress returns the further address of a published version that a text is, as it is
// advertised; "" where it is none.
func furtherAddress(ctx context.Context, q sqldb.Querier, text string) (string, error) {
	base, path := splitAddress(text)
	if base == "" {
		return "", nil
	}
	if path == "" {
		path = "/"
	}
	address, _, err := sqldb.One(ctx, q, func(row sqldb.Row) (address string, err error) {
		err = row.Scan(&address)
		return address, err
	}, `SELECT a.address FROM version_address a JOIN version v ON v.name = a.version
		WHERE a.base = $1 AND a.path = $2 AND v.published ORDER BY a.address LIMIT 1`, base, path)
	return address, err
}

// AdvertisedAddress returns an address of a published version, GATEWAY/CONTEXT/VERSION or a
// further one, or of the API of one, GATEWAY/CONTEXT, as it is advertised. The case of scheme and
// host, and the scheme's own port, do not matter in text. For anything else it returns
// "".
func (s *Store) AdvertisedAddress(ctx context.Context, text string) (address string, err error) {
	gateways, err := readGateways(ctx, s.db)
	if err != nil {
		return "", fmt.Errorf("read the gateways' addresses: %w", err)
	}
	for _, gateway := range gateways {
		path, ok := pathBelow(gateway, text)
		if !ok {
			continue
		}
		context, version := path[:strings.LastIndexByte(path, '/')], path[strings.LastIndexByte(path, '/')+1:]
		found, err := sqldb.Exists(ctx, s.db, `SELECT EXISTS (SELECT 1 FROM version
			WHERE published AND (context = $1 OR context = $2 AND version = $3))`, path, context, version)
		if err != nil {
			return "", fmt.Errorf("look for an address: %w", err)
		}
		if found {
			return gateway + path, nil
		}
	}
	if address, err = furtherAddress(ctx, s.db, text); err != nil {
		return "", fmt.Errorf("look for a further address: %w", err)
	}
	return address, nil
}

// pathBelow returns the path of an address after that of a gateway, "/…", and whether
// the address is one of the gateway's.
func pathBelow(gateway, address string) (string, bool) {
	base, prefix := splitAddress(gateway)
	host, path := splitAddress(address)
	if base == "" || base != host {
		return "", false
	}
	path, ok := strings.CutPrefix(path, prefix)
	return path, ok && strings.HasPrefix(path, "/")
}

// splitAddress returns the scheme and host of an address, in lower case and with the
// port, and its path. Both are empty for what is no ws or wss URL, or has more in it.
func splitAddress(address string) (base, path string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawPath != "" || strings.ContainsAny(address, "?#") {
		return "", ""
	}
	port := u.Port()
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return "", ""
	case port == "" && u.Scheme == "ws":
		port = "80"
	case port == "":
		port = "443"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), u.Path
}

// elsewhere reports whether an address is none of a version's and not its API's. Of a
// version that is not known yet it is false: such a version has no subscription.
func elsewhere(ctx context.Context, tx *sqldb.Tx, address, version string) (bool, error) {
	v, known, err := readVersion(ctx, tx, version)
	if err != nil || !known {
		return false, err
	}
	gateways, err := readGateways(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("read the gateways' addresses: %w", err)
	}
	if slices.ContainsFunc(gateways, func(gateway string) bool {
		return address == gateway+v.Context || address == gateway+v.Context+"/"+v.Version
	}) {
		return false, nil
	}
	further, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM version_address WHERE version = $1 AND address = $2)`, version, address)
	return !further, err
}
