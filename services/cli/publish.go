package cli

import (
	"context"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// publish publishes a version as it was seen: with its etag, nobody can put other
// endpoints into it in between. Who publishes what others own does not see the endpoints
// of the answer, which are those seen before.
func (c *client) publish(ctx context.Context, v *catalogv1.Version) (*catalogv1.Version, error) {
	published, err := c.catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: v.GetEtag()})
	if err == nil && published.GetEndpoints() == nil {
		published.Endpoints = v.GetEndpoints()
		if published.GetHttp() != nil {
			published.Http.Endpoints = v.GetHttp().GetEndpoints()
		}
	}
	return published, err
}

func (c *client) demote(ctx context.Context, v *catalogv1.Version) (*catalogv1.Version, error) {
	return c.catalog.DemoteVersion(ctx, &catalogv1.DemoteVersionRequest{Name: v.GetName(), Etag: v.GetEtag()})
}

// apiPublishCmd publishes a version.
type apiPublishCmd struct {
	Version string `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
}

// Run publishes the version.
func (c *apiPublishCmd) Run(ctx context.Context, s *shell) error {
	return s.transition(ctx, c.Version, (*client).publish, "Published")
}

// apiDemoteCmd demotes a version.
type apiDemoteCmd struct {
	Version string `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`

	yesFlag `embed:""`
}

// Run demotes the version.
func (c *apiDemoteCmd) Run(ctx context.Context, s *shell) error {
	return s.transition(ctx, c.Version, func(cl *client, ctx context.Context, v *catalogv1.Version) (*catalogv1.Version, error) {
		if v.GetState() == catalogv1.Version_STATE_PUBLISHED {
			err := s.confirm(ctx, c.Yes, "Withdraws "+cl.labels().version(ctx, v.GetName())+" from the gateways", func() []string {
				return []string{cl.liveSessions(ctx, filter("version", v.GetName()))}
			})
			if err != nil {
				return nil, err
			}
		}
		return cl.demote(ctx, v)
	}, "Demoted")
}

// transition moves a version to another state.
func (s *shell) transition(ctx context.Context, text string,
	move func(*client, context.Context, *catalogv1.Version) (*catalogv1.Version, error), done string,
) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", text)
	if err != nil {
		return err
	}
	v, err = move(cl, ctx, v)
	if err != nil {
		return err
	}
	return s.showVersion(v, cl.labels().version(ctx, v.GetName()), done, append(stages(v), s.along()...)...)
}

// stages are the endpoints of a version that is published.
func stages(v *catalogv1.Version) (fields [][2]string) {
	if v.GetState() != catalogv1.Version_STATE_PUBLISHED {
		return nil
	}
	for _, stage := range [][2]string{
		{"Endpoint", urls(v.GetEndpoints().GetProduction())}, {"Sandbox endpoint", urls(v.GetEndpoints().GetSandbox())},
		{"HTTP endpoint", urls(v.GetHttp().GetEndpoints().GetProduction())}, {"HTTP sandbox endpoint", urls(v.GetHttp().GetEndpoints().GetSandbox())},
	} {
		if stage[1] != "" {
			fields = append(fields, stage)
		}
	}
	return fields
}

// showVersion says what was done to a version and where it is, and more.
func (s *shell) showVersion(v *catalogv1.Version, label, done string, more ...[2]string) error {
	if s.whole() {
		return s.printWhole(v)
	}
	fields := [][2]string{{done, label}, {"State", word(v.GetState(), "STATE_")}, {"Name", v.GetName()}}
	for _, a := range v.GetAddresses() {
		fields = append(fields, [2]string{"Address", a})
	}
	fields = append(append(fields, httpAddresses(v.GetHttp())...), more...)
	return s.printFields(append(fields, warnings(v)...)...)
}

// warnings are what is risky in a version.
func warnings(v *catalogv1.Version) (fields [][2]string) {
	for _, w := range v.GetWarnings() {
		fields = append(fields, [2]string{"Warning", w})
	}
	return fields
}

// finishVersion publishes a new version and makes it its API's default.
func (c *client) finishVersion(ctx context.Context, v *catalogv1.Version, byDefault, publish bool) (*catalogv1.Version, error) {
	if publish {
		published, err := c.publish(ctx, v)
		if err != nil {
			return nil, err
		}
		v = published
	}
	if byDefault {
		if err := c.makeDefault(ctx, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// makeDefault makes a version what its API's address without a version leads
// to.
func (c *client) makeDefault(ctx context.Context, v *catalogv1.Version) error {
	_, err := c.catalog.UpdateApi(ctx, &catalogv1.UpdateApiRequest{
		Api:        &catalogv1.Api{Name: parent(v.GetName()), DefaultVersion: v.GetName()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"default_version"}},
	})
	return err
}

// takeBack demotes a version if it was published. Whether it was is unknown when
// the answer to publishing it was lost.
func (c *client) takeBack(ctx context.Context, v *catalogv1.Version) {
	if v != nil {
		// If this fails, the deletion fails too and says why. The etag from before the
		// publishing is not that of what was published.
		_, _ = c.demote(ctx, &catalogv1.Version{Name: v.GetName()})
	}
}
