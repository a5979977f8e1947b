package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// namesTime is how long a shell may wait for the names that complete a word.
const namesTime = 2 * time.Second

// The kinds of names that words are completed with.
const (
	kindServer      = "server"
	kindAPI         = "API"
	kindVersion     = "version"
	kindApplication = "application"
	kindPlan        = "plan"
	kindLimit       = "limit"
	kindQuota       = "quota"
	kindDenyRule    = "deny rule"
	kindRole        = "role"
	kindReason      = "end reason"
)

// kindOfFlag returns what a flag names, "" for what is not known.
func kindOfFlag(name string) string {
	return map[string]string{
		"server": kindServer, "api": kindVersion, "app": kindApplication, "plan": kindPlan, "traffic-plan": kindPlan, "remove-limit": kindLimit, "role": kindRole, "end-reason": kindReason,
	}[name]
}

// kindOfArgument returns what an argument of a command names, "" for what is not known or
// is to be made.
func kindOfArgument(command *kong.Node, name string) string {
	switch {
	case name == "address" && command.Parent != nil && command.Parent.Name == "server":
		return kindServer
	case name == "version" && command.Name == "create":
		return ""
	}
	return map[string]string{
		"api": kindAPI, "version": kindVersion, "address": kindVersion, "app": kindApplication, "subscription": kindApplication,
		"plan": kindPlan, "quota": kindQuota, "rule": kindDenyRule,
	}[name]
}

// names returns the names of a kind, as far as they are known here or the server tells
// them soon.
func (s *shell) names(ctx context.Context, kind string) []string {
	switch kind {
	case "":
		return nil
	case kindServer:
		return s.servers()
	case kindRole:
		return roleNames()
	case kindReason:
		return reasonWords()
	}
	cl, err := s.dial()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	var all []string
	switch kind {
	case kindAPI, kindVersion:
		all = cl.namesOfAPIs(ctx, kind)
	case kindApplication:
		found, _ := cl.applications(ctx, "") // without them there is nothing to complete
		for _, app := range found {
			all = append(all, app.GetDisplayName())
		}
	case kindPlan:
		list, _ := cl.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: pageSize})
		for _, plan := range list.GetPlans() {
			all = append(all, plan.GetDisplayName())
		}
	case kindLimit:
		list, _ := cl.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: pageSize})
		for _, plan := range list.GetPlans() {
			for _, limit := range plan.GetLimits() {
				all = append(all, limit.GetName())
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
	case kindDenyRule:
		list, _ := cl.deny.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{PageSize: pageSize, OrderBy: "create_time desc"})
		for _, rule := range list.GetDenyRules() {
			all = append(all, rule.GetName())
		}
	case kindQuota:
		list, _ := cl.quotas.ListQuotaUses(ctx, &usagev1.ListQuotaUsesRequest{PageSize: pageSize})
		for _, use := range list.GetQuotaUses() {
			all = append(all, use.GetName())
		}
	}
	// Names that could drive the terminal are left to be typed.
	return slices.DeleteFunc(all, func(name string) bool { return cell(name) != name })
}

// namesOfAPIs returns the names of the first APIs, or of their versions.
func (c *client) namesOfAPIs(ctx context.Context, kind string) []string {
	list, err := c.catalog.ListApis(ctx, &catalogv1.ListApisRequest{PageSize: pageSize})
	if err != nil {
		return nil
	}
	var all []string
	called := map[string]string{}
	for _, api := range list.GetApis() {
		called[api.GetName()] = api.GetDisplayName()
		all = append(all, api.GetDisplayName())
	}
	if kind == kindAPI {
		return all
	}
	page, err := c.catalog.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: "apis/-", PageSize: pageSize})
	if err != nil {
		return nil
	}
	all = nil
	for _, v := range page.GetVersions() {
		api, _, _ := strings.Cut(v.GetName(), "/versions/")
		if called[api] != "" {
			all = append(all, called[api]+"/"+v.GetVersion())
		}
	}
	return all
}

// servers returns the servers that the user has signed in to.
func (s *shell) servers() []string {
	st, err := s.store()
	if err != nil {
		return nil
	}
	known, err := st.read()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(known.Servers))
}

// roleNames returns the roles that a user may have.
func roleNames() []string {
	var all []string
	values := identityv1.User_Role(0).Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			all = append(all, strings.ToLower(strings.TrimPrefix(string(v.Name()), "ROLE_")))
		}
	}
	return all
}
