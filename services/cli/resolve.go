package cli

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// filter returns a filter for one field.
func filter(field, value string) string {
	return field + ` = "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

// join joins the filters that are not empty.
func join(filters ...string) string {
	var some []string
	for _, f := range filters {
		if f != "" {
			some = append(some, f)
		}
	}
	return strings.Join(some, " AND ")
}

// named reports whether text is a resource name of the collection.
func named(text, collection string) bool {
	id, ok := strings.CutPrefix(text, collection+"/")
	return ok && id != "" && !strings.Contains(id, "/")
}

// unknown returns the error for a flag or argument that names nothing.
func unknown(arg, kind, text, list string) error {
	return failed(codes.NotFound, "%s: there is no %s %q that you may see; list them with: tidegate %s", arg, kind, text, list)
}

// absent reports whether a look-up failed because there is no such thing: the server
// has none, or cannot have one because the text is not a name or is too long for a
// filter.
func absent(err error) bool {
	st, ok := statusOf(err)
	if !ok || st.Code() != codes.InvalidArgument {
		return ok && st.Code() == codes.NotFound
	}
	bad := fieldViolations(st)
	return len(bad) > 0 && !slices.ContainsFunc(bad, func(v *errdetails.BadRequest_FieldViolation) bool {
		return v.GetField() != "name" && v.GetField() != "filter"
	})
}

// everyPage calls get until there is no page left.
func everyPage(get func(token string) (next string, err error)) error {
	token := ""
	for {
		next, err := get(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// pageSize is how much a list asks for at once.
const pageSize = 500

// api returns the API that the argument API names: its resource name or display name.
func (c *client) api(ctx context.Context, text string) (*catalogv1.Api, error) {
	api, err := c.findAPI(ctx, text)
	if err != nil || api != nil {
		return api, err
	}
	if v, err := c.version(ctx, "API", text); err == nil {
		alone, _, _ := strings.Cut(strings.TrimSuffix(text, "/"+v.GetVersion()), "/versions/")
		return nil, failed(codes.NotFound, "API: %q is a version; name the API alone, as %s, or see tidegate api version", text, quote.Word(alone))
	}
	return nil, unknown("API", "API", text, "api list")
}

// findAPI is like api, but returns nil when there is no such API.
func (c *client) findAPI(ctx context.Context, text string) (*catalogv1.Api, error) {
	if named(text, "apis") {
		api, err := c.catalog.GetApi(ctx, &catalogv1.GetApiRequest{Name: text})
		if absent(err) {
			return nil, nil
		}
		return api, err
	}
	list, err := c.catalog.ListApis(ctx, &catalogv1.ListApisRequest{Filter: filter("display_name", text)})
	if absent(err) || err == nil && len(list.GetApis()) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return list.GetApis()[0], nil
}

// versions returns the versions of an API, or of all for apis/-.
func (c *client) versions(ctx context.Context, parent, filter string) ([]*catalogv1.Version, error) {
	return c.listVersions(ctx, &catalogv1.ListVersionsRequest{Parent: parent, Filter: filter})
}

// listVersions returns all pages of a list.
func (c *client) listVersions(ctx context.Context, req *catalogv1.ListVersionsRequest) (all []*catalogv1.Version, err error) {
	req.PageSize = pageSize
	err = everyPage(func(token string) (string, error) {
		req.PageToken = token
		page, err := c.catalog.ListVersions(ctx, req)
		all = append(all, page.GetVersions()...)
		return page.GetNextPageToken(), err
	})
	return all, err
}

// isVersionName reports whether text is the resource name of a version.
func isVersionName(text string) bool {
	parts := strings.Split(text, "/")
	return len(parts) == 4 && parts[0] == "apis" && parts[2] == "versions"
}

// version returns the version that text names: its resource name, the API's
// name and the version's string as EchoWebSocket/1.0.0, or the API's name alone
// where it has one version.
func (c *client) version(ctx context.Context, arg, text string) (*catalogv1.Version, error) {
	if isVersionName(text) {
		v, err := c.catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: text})
		if absent(err) {
			err = unknown(arg, "version", text, "api version list")
		}
		return v, err
	}
	// A name of an API may have a slash in it.
	if cut := strings.LastIndexByte(text, '/'); cut > 0 && !named(text, "apis") {
		api, err := c.findAPI(ctx, text[:cut])
		if err != nil {
			return nil, err
		}
		if api != nil {
			return c.versionOf(ctx, arg, api, text[cut+1:])
		}
	}
	api, err := c.findAPI(ctx, text)
	if err != nil {
		return nil, err
	}
	if api == nil {
		return nil, unknown(arg, "version", text, "api version list")
	}
	return c.onlyVersion(ctx, arg, api)
}

// versionOf returns the version of an API that has this string.
func (c *client) versionOf(ctx context.Context, arg string, api *catalogv1.Api, version string) (*catalogv1.Version, error) {
	found, err := c.versions(ctx, api.GetName(), filter("version", version))
	if err != nil && !absent(err) {
		return nil, err
	}
	if len(found) == 0 {
		return nil, unknown(arg, "version", api.GetDisplayName()+"/"+version, "api version list "+quote.Word(api.GetDisplayName()))
	}
	return found[0], nil
}

// onlyVersion returns the version of an API that has no other.
func (c *client) onlyVersion(ctx context.Context, arg string, api *catalogv1.Api) (*catalogv1.Version, error) {
	found, err := c.versions(ctx, api.GetName(), "")
	if err != nil {
		return nil, err
	}
	label := api.GetDisplayName()
	switch len(found) {
	case 0:
		return nil, unknown(arg, "version", label, "api version list")
	case 1:
		return found[0], nil
	}
	var strs []string
	for _, v := range found {
		strs = append(strs, v.GetVersion())
	}
	return nil, failed(codes.InvalidArgument, "%s: %q has the versions %s; name one, as %s", arg, label, strings.Join(strs, ", "), quote.Word(label+"/"+strs[0]))
}

// addressOf returns the address of a version that clients should use: one with TLS,
// where there is one; "" where there is none. Further addresses are the last choice.
func addressOf(v *catalogv1.Version) string {
	all := ownAddresses(v)
	if len(all) == 0 {
		all = v.GetAddresses()
	}
	if at := slices.IndexFunc(all, func(a string) bool { return strings.HasPrefix(a, "wss://") }); at >= 0 {
		return all[at]
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// ownAddresses are the addresses of a version at the context of its API.
func ownAddresses(v *catalogv1.Version) []string {
	return slices.DeleteFunc(slices.Clone(v.GetAddresses()), func(address string) bool {
		return slices.ContainsFunc(v.GetFurtherAddresses(), func(a *catalogv1.FurtherAddress) bool { return slices.Contains(a.GetAddresses(), address) })
	})
}

// addressOfAll returns the address of what text names: that of an API, which is that of
// all its versions, or that of one version.
func (c *client) addressOfAll(ctx context.Context, arg, text string) (string, error) {
	api, err := c.findAPI(ctx, text)
	if err != nil {
		return "", err
	}
	address := ""
	if api == nil {
		v, err := c.version(ctx, arg, text)
		if err != nil {
			return "", err
		}
		address = addressOf(v)
	} else {
		all, err := c.versions(ctx, api.GetName(), "")
		if err != nil {
			return "", err
		}
		if len(all) == 0 {
			return "", unknown(arg, "version", text, "api version list")
		}
		own := &catalogv1.Version{Addresses: ownAddresses(all[0])}
		address = strings.TrimSuffix(addressOf(own), "/"+all[0].GetVersion())
	}
	if address == "" {
		return "", failed(codes.FailedPrecondition, "%s: the server has no address for %s; give a ws:// or wss:// URL", arg, text)
	}
	return address, nil
}

// plan returns the name of the plan that text names: its resource name or
// display name.
func (c *client) plan(ctx context.Context, arg, text string) (string, error) {
	p, err := c.planOf(ctx, arg, text)
	return p.GetName(), err
}

// planOf is like plan, and returns all of it.
func (c *client) planOf(ctx context.Context, arg, text string) (*catalogv1.Plan, error) {
	if named(text, "plans") {
		p, err := c.catalog.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: text})
		if absent(err) {
			err = unknown(arg, "plan", text, "plan list")
		}
		return p, err
	}
	list, err := c.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{Filter: filter("display_name", text)})
	if err != nil && !absent(err) {
		return nil, err
	}
	if len(list.GetPlans()) == 0 {
		return nil, unknown(arg, "plan", text, "plan list")
	}
	return list.GetPlans()[0], nil
}

// plansOf returns the names of plans.
func (c *client) plansOf(ctx context.Context, arg string, texts []string) ([]string, error) {
	var names []string
	for _, text := range texts {
		name, err := c.plan(ctx, arg, text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// application returns the application that text names: its resource name or
// display name.
func (c *client) application(ctx context.Context, arg, text string) (*subscriptionv1.Application, error) {
	if named(text, "applications") {
		app, err := c.apps.GetApplication(ctx, &subscriptionv1.GetApplicationRequest{Name: text})
		if absent(err) {
			err = unknown(arg, "application", text, "app list")
		}
		return app, err
	}
	list, err := c.apps.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{Filter: filter("display_name", text)})
	if err != nil && !absent(err) {
		return nil, err
	}
	found := list.GetApplications()
	switch len(found) {
	case 0:
		return nil, unknown(arg, "application", text, "app list")
	case 1:
		return found[0], nil
	}
	var names []string
	for _, app := range found {
		names = append(names, app.GetName())
	}
	return nil, failed(codes.InvalidArgument, "%s: %d applications are called %q: give one of %s", arg, len(found), text, strings.Join(names, ", "))
}

// user returns the user that the argument USERNAME names: their resource name, "me", or
// their username.
func (c *client) user(ctx context.Context, text string) (*identityv1.User, error) {
	if text == "me" {
		text = "users/me"
	}
	if named(text, "users") {
		p, err := c.users.GetUser(ctx, &identityv1.GetUserRequest{Name: text})
		if absent(err) {
			err = unknown("USERNAME", "user", text, "user list")
		}
		return p, err
	}
	list, err := c.users.ListUsers(ctx, &identityv1.ListUsersRequest{Filter: filter("username", text)})
	if err != nil && !absent(err) {
		return nil, err
	}
	if len(list.GetUsers()) == 0 {
		return nil, unknown("USERNAME", "user", text, "user list")
	}
	return list.GetUsers()[0], nil
}
