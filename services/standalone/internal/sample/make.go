package sample

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// make creates what does not exist yet. Every step finds what an earlier, interrupted
// start has created.
func (s *sample) make(ctx context.Context) error {
	gold, err := s.plan(ctx, "Gold")
	if err != nil {
		return err
	}
	silver, err := s.plan(ctx, "Silver")
	if err != nil {
		return err
	}
	v, err := s.version(ctx, []string{gold, silver})
	if err != nil {
		return err
	}
	s.kept.Version = v.GetName()
	if s.kept.Application, err = s.application(ctx); err != nil {
		return err
	}
	if s.kept.Subscription, err = s.subscription(ctx, gold); err != nil {
		return err
	}
	if err := s.oauthClient(ctx); err != nil {
		return err
	}
	s.kept.Made = true
	return s.save()
}

// exists reports whether a creation was refused because the resource exists.
func exists(err error) bool { return status.Code(err) == codes.AlreadyExists }

// named returns a filter for a display name.
func named(name string) string { return fmt.Sprintf("display_name = %q", name) }

// errTaken says that another user's resource has the name or address.
var errTaken = errors.New("its name or its address is taken")

func (s *sample) plan(ctx context.Context, name string) (string, error) {
	list, err := s.catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{Filter: named(name)})
	if err != nil {
		return "", fmt.Errorf("find the plan %s: %w", name, err)
	}
	if len(list.GetPlans()) == 0 {
		return "", fmt.Errorf("there is no plan %s", name)
	}
	return list.GetPlans()[0].GetName(), nil
}

// version returns the API's version, published and the default one.
func (s *sample) version(ctx context.Context, plans []string) (*catalogv1.Version, error) {
	api, err := s.api(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version:     APIVersion,
		Description: "Sends every message back.",
		Tags:        []string{"sample"},
		Endpoints:   endpoints(s.Backend),
		Plans:       plans,
	}})
	if exists(err) {
		v, err = s.findVersion(ctx, api)
	}
	if err != nil {
		return nil, err
	}
	s.kept.Backend = backendOf(v)
	if api.GetDefaultVersion() == "" {
		change := &catalogv1.UpdateApiRequest{
			Api:        &catalogv1.Api{Name: api.GetName(), DefaultVersion: v.GetName()},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"default_version"}},
		}
		if _, err := s.catalog.UpdateApi(ctx, change); err != nil {
			return nil, fmt.Errorf("make %s the default version: %w", APIVersion, err)
		}
	}
	if v.GetState() != catalogv1.Version_STATE_PUBLISHED {
		var header metadata.MD
		if v, err = s.catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, grpc.Header(&header)); err != nil {
			return nil, fmt.Errorf("publish %s: %w", APIName, err)
		}
		s.await(ctx, header)
	}
	return v, s.moveBackend(ctx, v)
}

// api returns the API.
func (s *sample) api(ctx context.Context) (*catalogv1.Api, error) {
	api, err := s.catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{
		DisplayName: APIName, Context: APIContext, Description: "A sample: its backend sends every message back.",
	}})
	if !exists(err) {
		return api, err
	}
	list, err := s.catalog.ListApis(ctx, &catalogv1.ListApisRequest{Filter: named(APIName)})
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", APIName, err)
	}
	if len(list.GetApis()) == 0 || list.GetApis()[0].GetContext() != APIContext {
		return nil, errTaken
	}
	return list.GetApis()[0], nil
}

func (s *sample) findVersion(ctx context.Context, api *catalogv1.Api) (*catalogv1.Version, error) {
	list, err := s.catalog.ListVersions(ctx, &catalogv1.ListVersionsRequest{
		Parent: api.GetName(), Filter: fmt.Sprintf("version = %q", APIVersion),
	})
	if err != nil {
		return nil, fmt.Errorf("find %s/%s: %w", APIName, APIVersion, err)
	}
	if len(list.GetVersions()) == 0 {
		return nil, errTaken
	}
	return list.GetVersions()[0], nil
}

// endpoints returns endpoints with one backend, for production.
func endpoints(backend string) *catalogv1.Endpoints {
	return &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}}}
}

// backendOf returns the URL of the version's backend, or empty.
func backendOf(v *catalogv1.Version) string {
	if production := v.GetEndpoints().GetProduction(); len(production) > 0 {
		return production[0].GetUrl()
	}
	return ""
}

// moveBackend updates the version's endpoint if the backend's address has changed
// since the last start and the user has not changed the endpoint.
func (s *sample) moveBackend(ctx context.Context, v *catalogv1.Version) error {
	if now := backendOf(v); now == s.Backend || now != s.kept.Backend {
		return nil
	}
	var header metadata.MD
	_, err := s.catalog.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version:    &catalogv1.Version{Name: v.GetName(), Endpoints: endpoints(s.Backend)},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"endpoints.production"}},
	}, grpc.Header(&header))
	if err != nil {
		return fmt.Errorf("lead %s to %s: %w", APIName, s.Backend, err)
	}
	s.await(ctx, header)
	s.kept.Backend = s.Backend
	return s.save()
}

// await waits until the gateway has applied a change of the catalog, so that the
// commands in the banner work at once.
func (s *sample) await(ctx context.Context, header metadata.MD) {
	for _, change := range header.Get(gen.ChangeHeader) {
		answer, err := s.changes.WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
		if err != nil || !answer.GetApplied() {
			s.Log.Warn("the gateway has not applied the sample yet", "waiting_for", answer.GetPendingWatchers(), "error", err)
		}
	}
}

// application returns the application's name.
func (s *sample) application(ctx context.Context) (string, error) {
	app, err := s.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{
		DisplayName: AppName, Description: "Uses the sample API.",
	}})
	if !exists(err) {
		return app.GetName(), err
	}
	me, err := s.users.GetUser(ctx, &identityv1.GetUserRequest{Name: "users/me"})
	if err != nil {
		return "", err
	}
	list, err := s.apps.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{
		Filter: named(AppName) + fmt.Sprintf(" AND owner = %q", me.GetName()),
	})
	if err != nil {
		return "", fmt.Errorf("find the application %s: %w", AppName, err)
	}
	if len(list.GetApplications()) == 0 {
		return "", errTaken
	}
	return list.GetApplications()[0].GetName(), nil
}

// subscription returns the subscription's name.
func (s *sample) subscription(ctx context.Context, plan string) (string, error) {
	sub, err := s.subs.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{Subscription: &subscriptionv1.Subscription{
		Application: s.kept.Application, Version: s.kept.Version, Plan: plan,
	}})
	if !exists(err) {
		return sub.GetName(), err
	}
	list, err := s.subs.ListSubscriptions(ctx, &subscriptionv1.ListSubscriptionsRequest{
		Filter: fmt.Sprintf("application = %q AND version = %q", s.kept.Application, s.kept.Version),
	})
	if err != nil {
		return "", fmt.Errorf("find the subscription: %w", err)
	}
	if len(list.GetSubscriptions()) == 0 {
		return "", errTaken
	}
	return list.GetSubscriptions()[0].GetName(), nil
}

// oauthClient creates the production OAuth client and a secret. If the OAuth client
// exists, its secrets were lost, so a new one replaces them.
func (s *sample) oauthClient(ctx context.Context) error {
	c, err := s.apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: s.kept.Application, OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if exists(err) {
		if c, err = s.findOAuthClient(ctx); err == nil {
			err = s.dropSecrets(ctx, c.GetName())
		}
	}
	if err != nil {
		return err
	}
	secret, err := s.apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: c.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	if err != nil {
		return err
	}
	s.kept.OAuthClient, s.kept.ClientID, s.kept.ClientSecret = c.GetName(), c.GetClientId(), secret.GetSecret()
	return nil
}

func (s *sample) findOAuthClient(ctx context.Context) (*subscriptionv1.OAuthClient, error) {
	list, err := s.apps.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: s.kept.Application})
	if err != nil {
		return nil, fmt.Errorf("find the OAuth client: %w", err)
	}
	for _, c := range list.GetOauthClients() {
		if c.GetStage() == catalogv1.Stage_STAGE_PRODUCTION {
			return c, nil
		}
	}
	return nil, errTaken
}

func (s *sample) dropSecrets(ctx context.Context, client string) error {
	list, err := s.apps.ListOAuthClientSecrets(ctx, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: client})
	if err != nil {
		return fmt.Errorf("find the secrets: %w", err)
	}
	for _, secret := range list.GetOauthClientSecrets() {
		_, err := s.apps.DeleteOAuthClientSecret(ctx, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: secret.GetName()})
		if err != nil {
			return fmt.Errorf("delete a secret: %w", err)
		}
	}
	return nil
}
