package api

import (
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

func apiName(id string) string          { return "apis/" + id }
func versionName(api, id string) string { return "apis/" + api + "/versions/" + id }
func planName(id string) string         { return "plans/" + id }
func apiID(name string) string          { return strings.TrimPrefix(name, "apis/") }
func planID(name string) string         { return strings.TrimPrefix(name, "plans/") }

func planNames(ids []string) []string {
	var names []string
	for _, id := range ids {
		names = append(names, planName(id))
	}
	return names
}

// versionIDs returns the ids in the name of a version.
func versionIDs(name string) (api, version string) {
	api, version, _ = strings.Cut(apiID(name), "/versions/")
	return api, version
}

// nameOfAPI returns the id of the API that an update is for.
func nameOfAPI(field string, a *catalogv1.Api) (string, error) {
	id, ok := strings.CutPrefix(a.GetName(), "apis/")
	if !ok || !validID(id) {
		return "", fault.Invalid(field, "must be apis/{api}")
	}
	return id, nil
}

// nameOfVersion returns the name of the version that an update is for.
func nameOfVersion(field string, v *catalogv1.Version) (string, error) {
	api, id := versionIDs(v.GetName())
	if !validID(api) || !validID(id) || v.GetName() != versionName(api, id) {
		return "", fault.Invalid(field, "must be apis/{api}/versions/{version}")
	}
	return v.GetName(), nil
}

// nameOfPlan returns the id of the plan that an update is for.
func nameOfPlan(field string, p *catalogv1.Plan) (string, error) {
	id, ok := strings.CutPrefix(p.GetName(), "plans/")
	if !ok || !validID(id) {
		return "", fault.Invalid(field, "must be plans/{plan}")
	}
	return id, nil
}

// validID reports whether an id has the form that the protos ask for.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
