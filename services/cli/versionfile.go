package cli

import (
	"context"

	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// onlyFile is what is said where a file is given together with flags for what it says.
const onlyFile = "--file: says all of the version; give it, or other flags"

// versionFile reads a version from a file, and the fields that it has and users may change.
// Its plans may be given by their display names.
func (s *shell) versionFile(ctx context.Context, cl *client, name string) (v *catalogv1.Version, paths []string, err error) {
	v = &catalogv1.Version{}
	file := &resourceFile{name: name, kind: "version", such: "endpoints and plans"}
	if paths, err = file.read(s, v); err != nil {
		return nil, nil, err
	}
	if v.Plans, err = cl.plansOf(ctx, file.field("version.plans"), v.GetPlans()); err != nil {
		return nil, nil, err
	}
	if v.GetTrafficPlan() != "" {
		if v.TrafficPlan, err = cl.plan(ctx, file.field("version.traffic_plan"), v.GetTrafficPlan()); err != nil {
			return nil, nil, err
		}
	}
	return v, paths, nil
}

// newVersionFile reads a version that is to be created from a file, where v is what the
// flags say of it: nothing but its version string, which the file's gives way to.
func (s *shell) newVersionFile(ctx context.Context, cl *client, name string, v *catalogv1.Version) (*catalogv1.Version, error) {
	if !proto.Equal(v, &catalogv1.Version{Version: v.GetVersion()}) {
		return nil, usagef(onlyFile)
	}
	of, _, err := s.versionFile(ctx, cl, name)
	if err != nil {
		return nil, err
	}
	of.Name, of.Etag, of.Version = "", "", v.GetVersion()
	return of, nil
}

// changeByFile is what a file says of a version that is to be changed. It must be a file of
// this version, or not say of which.
func (s *shell) changeByFile(ctx context.Context, cl *client, name string, v *catalogv1.Version) (*catalogv1.Version, []string, error) {
	change, paths, err := s.versionFile(ctx, cl, name)
	if err != nil {
		return nil, nil, err
	}
	for _, is := range [][3]string{{"name", change.GetName(), v.GetName()}, {"version", change.GetVersion(), v.GetVersion()}} {
		if is[1] != "" && is[1] != is[2] {
			return nil, nil, usagef("--file: %s has the %s %s, and that of VERSION is %s", name, is[0], is[1], is[2])
		}
	}
	change.Name = v.GetName()
	if change.GetEtag() == "" {
		change.Etag = v.GetEtag()
	}
	return change, paths, nil
}
