package api

import (
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/resource"
)

func apiName(id string) string          { return resource.API{API: id}.String() }
func versionName(api, id string) string { return resource.Version{API: api, Version: id}.String() }
func planName(id string) string         { return resource.Plan{Plan: id}.String() }

// The protos check names before a handler runs, so that these cannot fail.

func apiID(name string) string {
	n, _ := resource.ParseAPI("name", name)
	return n.API
}

func planID(name string) string {
	n, _ := resource.ParsePlan("name", name)
	return n.Plan
}

// versionIDs returns the ids in the name of a version.
func versionIDs(name string) (api, version string) {
	n, _ := resource.ParseVersion("name", name)
	return n.API, n.Version
}

func planNames(ids []string) []string {
	var names []string
	for _, id := range ids {
		names = append(names, planName(id))
	}
	return names
}

// nameOfAPI returns the id of the API that an update is for.
func nameOfAPI(field string, a *catalogv1.Api) (string, error) {
	n, err := resource.ParseAPI(field, a.GetName())
	return n.API, err
}

// nameOfVersion returns the name of the version that an update is for.
func nameOfVersion(field string, v *catalogv1.Version) (string, error) {
	n, err := resource.ParseVersion(field, v.GetName())
	return n.String(), err
}

// nameOfPlan returns the id of the plan that an update is for.
func nameOfPlan(field string, p *catalogv1.Plan) (string, error) {
	n, err := resource.ParsePlan(field, p.GetName())
	return n.Plan, err
}
