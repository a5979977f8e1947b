package cli

import (
	"context"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// labels finds display names for resource names, for tables. A resource that cannot
// be read keeps its resource name.
type labels struct {
	client *client
	known  map[string]string
}

func (c *client) labels() *labels { return &labels{client: c, known: map[string]string{}} }

// of returns the label of name, which get reads once.
func (l *labels) of(name string, get func() (string, error)) string {
	if name == "" {
		return ""
	}
	if _, ok := l.known[name]; !ok {
		label, err := get()
		if err != nil || label == "" {
			label = name
		}
		l.known[name] = label
	}
	return l.known[name]
}

// traffic is usage or a record, which say what users call what they are about.
type traffic interface {
	GetVersion() string
	GetApiDisplayName() string
	GetVersionString() string
	GetApplication() string
	GetApplicationDisplayName() string
}

// learn takes the labels that a row has, so that what was deleted has one too.
func (l *labels) learn(r traffic) {
	if r.GetVersion() != "" && r.GetVersionString() != "" {
		l.known[r.GetVersion()] = r.GetApiDisplayName() + "/" + r.GetVersionString()
	}
	if r.GetApplication() != "" && r.GetApplicationDisplayName() != "" {
		l.known[r.GetApplication()] = r.GetApplicationDisplayName()
	}
}

func (l *labels) api(ctx context.Context, name string) string {
	return l.of(name, func() (string, error) {
		api, err := l.client.catalog.GetApi(ctx, &catalogv1.GetApiRequest{Name: name})
		return api.GetDisplayName(), err
	})
}

func (l *labels) version(ctx context.Context, name string) string {
	return l.of(name, func() (string, error) {
		v, err := l.client.catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: name})
		if err != nil {
			return "", err
		}
		return l.api(ctx, parent(name)) + "/" + v.GetVersion(), nil
	})
}

func (l *labels) plan(ctx context.Context, name string) string {
	return l.of(name, func() (string, error) {
		p, err := l.client.catalog.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: name})
		return p.GetDisplayName(), err
	})
}

// limit says which limit of which plan it is.
func (l *labels) limit(ctx context.Context, of interface {
	GetPlan() string
	GetLimit() string
}) string {
	return strings.TrimSpace(l.plan(ctx, of.GetPlan()) + " " + of.GetLimit())
}

func (l *labels) application(ctx context.Context, name string) string {
	return l.of(name, func() (string, error) {
		app, err := l.client.apps.GetApplication(ctx, &subscriptionv1.GetApplicationRequest{Name: name})
		return app.GetDisplayName(), err
	})
}

// subscription says which application uses which version.
func (l *labels) subscription(ctx context.Context, sub *subscriptionv1.Subscription) string {
	return sub.GetApplicationDisplayName() + " to " + l.version(ctx, sub.GetVersion())
}

func (l *labels) user(ctx context.Context, name string) string {
	return l.of(name, func() (string, error) {
		p, err := l.client.users.GetUser(ctx, &identityv1.GetUserRequest{Name: name})
		return p.GetUsername(), err
	})
}

// all returns the labels of names.
func all(ctx context.Context, names []string, label func(context.Context, string) string) []string {
	var out []string
	for _, name := range names {
		out = append(out, label(ctx, name))
	}
	return out
}
