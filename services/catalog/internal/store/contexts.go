package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Gateways tell addresses apart by case, but two that differ in nothing else are one
// to users. So contexts and the addresses of versions are compared without case here.

// foldContext returns a context, which is ASCII, as it is compared.
func foldContext(context string) string { return strings.ToLower(context) }

// prefixes returns the contexts above a context, the shortest first, each with the
// segment that follows it.
func prefixes(context string) [][2]string {
	var all [][2]string
	for i := 1; i < len(context); i++ {
		if context[i] == '/' {
			next, _, _ := strings.Cut(context[i+1:], "/")
			all = append(all, [2]string{context[:i], next})
		}
	}
	return all
}

// checkContext returns an AlreadyExists fault when another API has the context, or when
// the API's context would hide a version of another API (as /team/1.0.0 hides version
// 1.0.0 of /team), or hides one of its own versions behind another API.
func checkContext(ctx context.Context, tx *change.Tx, a API) error {
	fold := foldContext(a.Context)
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM api WHERE context_fold = $1 AND id <> $2)`, fold, a.ID)
	if err != nil {
		return fmt.Errorf("look for the API's context: %w", err)
	}
	if taken {
		return fault.AlreadyExists("api.context: %q is taken", a.Context)
	}
	for _, above := range prefixes(fold) {
		hides, err := sqldb.Exists(ctx, tx, `
			SELECT EXISTS (SELECT 1 FROM version v JOIN api a ON a.id = v.api_id
				WHERE a.context_fold = $1 AND lower(v.version) = $2 AND a.id <> $3)`, above[0], above[1], a.ID)
		if err != nil {
			return fmt.Errorf("look for versions under the API's context: %w", err)
		}
		if hides {
			return fault.AlreadyExists("api.context: %q lies under the address of another API's version", a.Context)
		}
	}
	hidden, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM version v JOIN api o ON o.id <> v.api_id
			WHERE v.api_id = $1 AND (o.context_fold = CAST($2 AS TEXT) || '/' || lower(v.version)
				OR o.context_fold >= CAST($2 AS TEXT) || '/' || lower(v.version) || '/'
				AND o.context_fold < CAST($2 AS TEXT) || '/' || lower(v.version) || '0'))`,
		a.ID, fold)
	if err != nil {
		return fmt.Errorf("look for contexts under the API's versions: %w", err)
	}
	if hidden {
		return fault.AlreadyExists("api.context: with %q a version's address would be that of another API", a.Context)
	}
	return nil
}

// checkAddress returns an AlreadyExists fault when another API's context is at or under
// the address of a new version of an API.
func checkAddress(ctx context.Context, tx *change.Tx, api API, version string) error {
	address := api.Context + "/" + version
	fold := foldContext(address)
	taken, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM api WHERE id <> $1 AND (context_fold = $2 OR context_fold >= $3 AND context_fold < $4))`,
		api.ID, fold, fold+"/", fold+"0")
	if err != nil {
		return fmt.Errorf("look for contexts under the version's address: %w", err)
	}
	if taken {
		return fault.AlreadyExists("version.version: the address %q is taken by another API's context", address)
	}
	return nil
}

// checkNeighbours returns an AlreadyExists fault when an API's context is below that of
// another owner, who may make versions there, or above one where a version of the API
// could be: addresses below a context are its owner's. Viewers who see everything may
// arrange contexts as they like.
func checkNeighbours(ctx context.Context, tx *change.Tx, v identity.Viewer, a API) error {
	if v.All {
		return nil
	}
	fold := foldContext(a.Context)
	for _, above := range prefixes(fold) {
		taken, err := sqldb.Exists(ctx, tx, `
			SELECT EXISTS (SELECT 1 FROM api WHERE context_fold = $1 AND owner <> $2)`, above[0], a.Owner)
		if err != nil {
			return fmt.Errorf("look for contexts above the API's: %w", err)
		}
		if taken {
			return fault.AlreadyExists("api.context: the addresses below %q are another owner's", a.Context[:len(above[0])])
		}
	}
	below, err := sqldb.All(ctx, tx, scanText, `
		SELECT context_fold FROM api WHERE context_fold >= $1 AND context_fold < $2 AND owner <> $3`,
		fold+"/", fold+"0", a.Owner)
	if err != nil {
		return fmt.Errorf("look for contexts below the API's: %w", err)
	}
	for _, context := range below {
		if next, _, _ := strings.Cut(context[len(fold)+1:], "/"); couldBeVersion(next) {
			return fault.AlreadyExists("api.context: another owner's context is below %q", a.Context)
		}
	}
	return nil
}

// couldBeVersion reports whether a segment of a context has the form of a version
// string, which is shorter than the longest segment and does not start with "_".
func couldBeVersion(segment string) bool {
	const longest = 30
	return len(segment) <= longest && !strings.HasPrefix(segment, "_")
}

func scanText(row sqldb.Row) (string, error) {
	var text string
	err := row.Scan(&text)
	return text, err
}
