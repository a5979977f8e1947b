package cli

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// mostNames is how many names a batch may have.
const mostNames = 1000

// batch is what a command reads in one call: what its argument names several times.
type batch struct {
	arg, kind string // as errors call them
	list      string // the command that lists what there is
	names     []string
	texts     map[string]string // of each name, what was given
	absent    []string          // what was given and cannot be the name of anything
}

// newBatch makes a batch of what texts name. find returns the resource name of a text, and
// does not look whether there is such a resource where the text is a resource name; so the
// batch itself is the only call about those.
func newBatch(arg, kind, list string, texts []string, find func(text string) (string, error)) (*batch, error) {
	if len(texts) > mostNames {
		return nil, usagef("%s: %d are too many; give at most %d", arg, len(texts), mostNames)
	}
	b := &batch{arg: arg, kind: kind, list: list, texts: map[string]string{}}
	for _, text := range texts {
		name, err := find(text)
		if err != nil {
			return nil, err
		}
		if !validName(name) {
			b.absent = append(b.absent, text)
			continue
		}
		if before, twice := b.texts[name]; twice {
			if before == text {
				return nil, usagef("%s: %s is given twice", arg, quote.Word(text))
			}
			return nil, usagef("%s: %s and %s are the same", arg, quote.Word(before), quote.Word(text))
		}
		b.names, b.texts[name] = append(b.names, name), text
	}
	return b, nil
}

// validName reports whether a resource may have this name: that its ids are ones.
func validName(name string) bool {
	for i, part := range strings.Split(name, "/") {
		if i%2 == 1 && !resourcename.ValidID(part) {
			return false
		}
	}
	return true
}

// readBatch reads the batch by one call, which leaves out what is not there, and returns
// what was found in the order of the arguments. What is missing is an error that names all
// of it.
func readBatch[R interface{ GetName() string }](b *batch, call func(names []string) ([]R, error)) (found []R, err error) {
	if len(b.names) > 0 {
		if found, err = call(b.names); err != nil {
			return nil, err
		}
	}
	absent, there := b.absent, map[string]bool{}
	for _, r := range found {
		there[r.GetName()] = true
	}
	for _, name := range b.names {
		if !there[name] {
			absent = append(absent, b.texts[name])
		}
	}
	switch len(absent) {
	case 0:
		return found, nil
	case 1:
		return nil, unknown(b.arg, b.kind, absent[0], b.list)
	}
	for i, text := range absent {
		absent[i] = `"` + text + `"`
	}
	return nil, failed(codes.NotFound, "%s: there are no %ss %s that you may see; list them with: tidegate %s", b.arg, b.kind, strings.Join(absent, ", "), b.list)
}

// several shows several APIs.
func (c *apiGetCmd) several(ctx context.Context, s *shell, cl *client) error {
	b, err := newBatch("API", "API", "api list", c.APIs, func(text string) (string, error) {
		if named(text, "apis") {
			return text, nil
		}
		api, err := cl.api(ctx, text)
		return api.GetName(), err
	})
	if err != nil {
		return err
	}
	apis, err := readBatch(b, func(names []string) ([]*catalogv1.Api, error) {
		found, err := cl.catalog.BatchGetApis(ctx, &catalogv1.BatchGetApisRequest{Names: names, AllowMissing: true})
		return found.GetApis(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&catalogv1.BatchGetApisResponse{Apis: apis})
	}
	return s.showAPIs(ctx, cl, apis)
}

// several shows several versions.
func (c *versionGetCmd) several(ctx context.Context, s *shell, cl *client) error {
	b, err := newBatch("VERSION", "version", "api version list", c.Versions, func(text string) (string, error) {
		if isVersionName(text) {
			return text, nil
		}
		v, err := cl.version(ctx, "VERSION", text)
		return v.GetName(), err
	})
	if err != nil {
		return err
	}
	versions, err := readBatch(b, func(names []string) ([]*catalogv1.Version, error) {
		found, err := cl.catalog.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: names, AllowMissing: true})
		return found.GetVersions(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&catalogv1.BatchGetVersionsResponse{Versions: versions})
	}
	return s.showVersions(ctx, cl, versions)
}

// several shows several plans.
func (c *planGetCmd) several(ctx context.Context, s *shell, cl *client) error {
	b, err := newBatch("PLAN", "plan", "plan list", c.Plans, func(text string) (string, error) {
		if named(text, "plans") {
			return text, nil
		}
		return cl.plan(ctx, "PLAN", text)
	})
	if err != nil {
		return err
	}
	plans, err := readBatch(b, func(names []string) ([]*catalogv1.Plan, error) {
		found, err := cl.catalog.BatchGetPlans(ctx, &catalogv1.BatchGetPlansRequest{Names: names, AllowMissing: true})
		return found.GetPlans(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&catalogv1.BatchGetPlansResponse{Plans: plans})
	}
	return s.showPlans(plans)
}

// several shows several applications.
func (c *appGetCmd) several(ctx context.Context, s *shell, cl *client) error {
	b, err := newBatch("APP", "application", "app list", c.Apps, func(text string) (string, error) {
		if named(text, "applications") {
			return text, nil
		}
		app, err := cl.application(ctx, "APP", text)
		return app.GetName(), err
	})
	if err != nil {
		return err
	}
	apps, err := readBatch(b, func(names []string) ([]*subscriptionv1.Application, error) {
		found, err := cl.apps.BatchGetApplications(ctx, &subscriptionv1.BatchGetApplicationsRequest{Names: names, AllowMissing: true})
		return found.GetApplications(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.BatchGetApplicationsResponse{Applications: apps})
	}
	return s.showApplications(ctx, cl, apps)
}

// several shows several subscriptions.
func (c *subscriptionGetCmd) several(ctx context.Context, s *shell, cl *client) error {
	all := append([]string{c.Subscription}, c.More...)
	for _, text := range all {
		if !named(text, "subscriptions") {
			return usagef("SUBSCRIPTION: %s is not the name of a subscription; several are given as subscriptions/…", quote.Word(text))
		}
	}
	b, err := newBatch("SUBSCRIPTION", "subscription", "subscription list", all, func(text string) (string, error) { return text, nil })
	if err != nil {
		return err
	}
	subs, err := readBatch(b, func(names []string) ([]*subscriptionv1.Subscription, error) {
		found, err := cl.subs.BatchGetSubscriptions(ctx, &subscriptionv1.BatchGetSubscriptionsRequest{Names: names, AllowMissing: true})
		return found.GetSubscriptions(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&subscriptionv1.BatchGetSubscriptionsResponse{Subscriptions: subs})
	}
	return s.showSubscriptions(ctx, cl, subs)
}
