package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// pastFilter returns a filter by --app and --api of usage or records. Unlike
// trafficFilter it finds what was deleted: by its resource name, of which the server knows
// whether there is anything, or by what usage says that it was called.
func (c *client) pastFilter(ctx context.Context, app, version string) (string, error) {
	var byApp, byVersion string
	var err error
	if app != "" {
		if byApp, err = c.pastApplication(ctx, app); err != nil {
			return "", err
		}
		byApp = filter("application", byApp)
	}
	if version != "" {
		if byVersion, err = c.pastVersion(ctx, version); err != nil {
			return "", err
		}
		byVersion = filter("version", byVersion)
	}
	return join(byApp, byVersion), nil
}

// pastApplication returns the resource name of an application that is or was.
func (c *client) pastApplication(ctx context.Context, text string) (string, error) {
	if named(text, "applications") {
		return text, nil
	}
	app, err := c.application(ctx, "--app", text)
	if err == nil {
		return app.GetName(), nil
	}
	return c.fromUsage(ctx, err, func(u *usagev1.Usage) (string, bool) {
		return u.GetApplication(), strings.EqualFold(u.GetApplicationDisplayName(), text)
	})
}

// pastVersion returns the resource name of a version that is or was.
func (c *client) pastVersion(ctx context.Context, text string) (string, error) {
	if strings.HasPrefix(text, "apis/") && strings.Count(text, "/") == 3 {
		return text, nil
	}
	v, err := c.version(ctx, "--api", text)
	if err == nil {
		return v.GetName(), nil
	}
	return c.fromUsage(ctx, err, func(u *usagev1.Usage) (string, bool) {
		return u.GetVersion(), strings.EqualFold(u.GetApiDisplayName()+"/"+u.GetVersionString(), text)
	})
}

// fromUsage returns the resource name of something that is not there any more, which find
// finds in a row of usage; lost, the error of the look-up, if there is none.
func (c *client) fromUsage(ctx context.Context, lost error, find func(*usagev1.Usage) (name string, found bool)) (string, error) {
	if f, ok := errors.AsType[*failure](lost); !ok || f.code != codes.NotFound {
		return "", lost
	}
	found := ""
	err := everyPage(func(token string) (string, error) {
		page, err := c.usage.ListUsage(ctx, &usagev1.ListUsageRequest{
			Step: durationpb.New(24 * time.Hour), GroupBy: []string{"version", "application"}, PageSize: pageSize, PageToken: token,
		})
		for _, u := range page.GetUsage() { // the last is the newest
			if name, ok := find(u); ok && name != "" {
				found = name
			}
		}
		return page.GetNextPageToken(), err
	})
	if err == nil && found == "" {
		err = lost
	}
	return found, err
}
