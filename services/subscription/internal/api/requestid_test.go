package api_test

import (
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// TestCreateAgain sends each call that creates something again, also at once: it makes
// nothing, and returns what is there now, of a secret without the value.
func TestCreateAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const uuid = "0f5f3a52-51fe-4d0a-9f0b-6f3c1b1d2e3f"
		w.publish(v1)
		old := w.application(w.ann, "Old")
		client := w.oauthClient(w.ann, old.GetName(), catalogv1.Stage_STAGE_SANDBOX)
		app := &subscriptionv1.CreateApplicationRequest{RequestId: uuid, Application: &subscriptionv1.Application{DisplayName: "Chat"}}
		oauthClient := &subscriptionv1.CreateOAuthClientRequest{
			RequestId: "1" + uuid[1:], Parent: old.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
		}
		secret := createSecret(client.GetName(), nil)
		secret.RequestId = "2" + uuid[1:]
		sub := subscription(old.GetName(), v1, gold)
		sub.RequestId = "3" + uuid[1:]
		apiKey := &subscriptionv1.CreateAPIKeyRequest{
			RequestId: "5" + uuid[1:], Parent: old.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: "web", Stage: catalogv1.Stage_STAGE_PRODUCTION},
		}
		value := ""
		create := map[string]func(opts ...grpc.CallOption) (proto.Message, error){
			"CreateApplication": func(opts ...grpc.CallOption) (proto.Message, error) {
				return w.apps.CreateApplication(w.ann, app, opts...)
			},
			"CreateOAuthClient": func(opts ...grpc.CallOption) (proto.Message, error) {
				return w.apps.CreateOAuthClient(w.ann, oauthClient, opts...)
			},
			"CreateOAuthClientSecret": func(opts ...grpc.CallOption) (proto.Message, error) {
				s, err := w.apps.CreateOAuthClientSecret(w.ann, secret, opts...)
				if err == nil {
					value, s.Secret = s.GetSecret(), ""
				}
				return s, err
			},
			"CreateAPIKey": func(opts ...grpc.CallOption) (proto.Message, error) {
				k, err := w.keys.CreateAPIKey(w.ann, apiKey, opts...)
				if err == nil {
					value, k.Key = k.GetKey(), ""
				}
				return k, err
			},
			"CreateSubscription": func(opts ...grpc.CallOption) (proto.Message, error) {
				return w.subs.CreateSubscription(w.ann, sub, opts...)
			},
		}
		for call, send := range create {
			var first, second metadata.MD
			value = "none"
			made, err := send(grpc.Header(&first))
			w.must(err)
			if value == "" {
				t.Errorf("%s has no value", call)
			}
			head := w.head()
			again, err := send(grpc.Header(&second))
			if err != nil || !proto.Equal(again, made) {
				t.Errorf("%s again = %v, %v, want %v", call, again, err, made)
			}
			if number(t, first) != number(t, second) || w.head() != head {
				t.Errorf("%s again names the change %d of %d, want %d of %d", call, number(t, second), w.head(), number(t, first), head)
			}
			if (call == "CreateOAuthClientSecret" || call == "CreateAPIKey") && value != "" {
				t.Errorf("%s again has the value %q, want none", call, value)
			}
		}
		list, err := w.apps.ListOAuthClientSecrets(w.ann, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: client.GetName()})
		if err != nil || len(list.GetOauthClientSecrets()) != 2 {
			t.Errorf("secrets = %v, %v, want two", list, err)
		}
		app.Application.DisplayName, sub.Subscription.Plan, secret.Parent = "Other", silver, secret.GetParent()+"x"
		oauthClient.OauthClient.Stage, apiKey.ApiKey.DisplayName = catalogv1.Stage_STAGE_SANDBOX, "other"
		for call, send := range create {
			_, err := send()
			refused(t, call+" of something else", err, codes.InvalidArgument,
				"request_id: was sent with another request within the last hour: must be a new UUID")
		}
		_, err = w.apps.CreateApplication(w.bob, app)
		w.must(err) // another user's UUID is another one

		once := &subscriptionv1.CreateApplicationRequest{RequestId: "4" + uuid[1:], Application: &subscriptionv1.Application{DisplayName: "Once"}}
		made, errs := make([]*subscriptionv1.Application, 8), make([]error, 8)
		var all sync.WaitGroup
		for i := range made {
			all.Go(func() { made[i], errs[i] = w.apps.CreateApplication(w.ann, once) })
		}
		all.Wait()
		for i, a := range made {
			if errs[i] != nil || !proto.Equal(a, made[0]) {
				t.Errorf("CreateApplication at once: %v, %v, want the same for all, such as %v", a, errs[i], made[0])
			}
		}
		_, err = w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: made[0].GetName()})
		w.must(err)
		_, err = w.apps.CreateApplication(w.ann, once)
		refused(t, "CreateApplication after the deletion", err, codes.NotFound, made[0].GetName()+" not found")
		once.RequestId = "none"
		_, err = w.apps.CreateApplication(w.ann, once)
		refused(t, "CreateApplication without a UUID", err, codes.InvalidArgument, "request_id: must be a valid UUID")
	})
}
