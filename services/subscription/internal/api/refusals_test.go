package api_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// refusal is a request that is refused.
type refusal struct {
	name string
	as   context.Context
	do   func(context.Context) error
	code codes.Code
	text string
}

// call is a call of a method with a request.
func call[Req, Resp any](method func(context.Context, *Req, ...grpc.CallOption) (*Resp, error), req *Req) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := method(ctx, req)
		return err
	}
}

// check makes the refused requests and checks that nothing was written.
func (w *world) check(t *testing.T, all []refusal) {
	t.Helper()
	for _, r := range all {
		t.Run(r.name, func(t *testing.T) {
			before := w.dump()
			refused(t, r.name, r.do(r.as), r.code, r.text)
			if after := w.dump(); after != before {
				t.Errorf("something was written:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

func long(n int) string { return strings.Repeat("x", n) }

const (
	badUser        = "name: must be users/{user}"
	badApplication = "name: must be applications/{application}"
	badParent      = "parent: must be applications/{application}"
	badClient      = "name: must be applications/{application}/oauthClients/{oauth_client}"
	badSub         = "name: must be subscriptions/{subscription}"
	badUsername    = "must be 1 to 64 characters of A-Z a-z 0-9 _ . @ + - and start with a letter or a digit"
	badDisplayName = "must have 1 to 100 characters, no control characters and no space at either end"
	badUserName    = "must have at most 100 characters, no control characters and no space at either end"
	badPageToken   = "page_token: is not a token that a list has returned"
	badPageSize    = "page_size: must not be negative"
	badEtag        = "etag: must be at most 64 characters"
	noNUL          = "must not have the character NUL"
	stale          = "etag: somebody else changed it first, read it again"
	hugePage       = 5000 // is lowered to the maximum
)

func TestUsersRefusals(t *testing.T) {
	w := onSQLite(t)
	nobody := t.Context()
	user := func(change func(*identityv1.User)) *identityv1.CreateUserRequest {
		p := &identityv1.User{Username: "carol", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}
		change(p)
		return &identityv1.CreateUserRequest{User: p}
	}
	update := func(p *identityv1.User, paths ...string) *identityv1.UpdateUserRequest {
		return &identityv1.UpdateUserRequest{User: p, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}
	}
	withPassword := user(func(*identityv1.User) {})
	withPassword.Password = "too short"
	create, change, list := w.users.CreateUser, w.users.UpdateUser, w.users.ListUsers
	invalid := codes.InvalidArgument
	w.check(t, []refusal{
		{"sign in without a name", nobody, call(w.signIns.SignIn, &identityv1.SignInRequest{Password: "x"}), invalid,
			"username: must be at least 1 characters"},
		{"sign in without a password", nobody, call(w.signIns.SignIn, &identityv1.SignInRequest{Username: "x"}), invalid,
			"password: must be at least 1 characters"},
		{"sign in with too much", nobody, call(w.signIns.SignIn, &identityv1.SignInRequest{Username: long(65), Password: long(257)}), invalid,
			"username: must be at most 64 characters; password: must be at most 256 characters"},
		{"sign in with NUL", nobody, call(w.signIns.SignIn, &identityv1.SignInRequest{Username: "a\x00", Password: "x"}), invalid,
			"username: " + noNUL},
		{"refresh with nothing", nobody, call(w.signIns.RefreshSignIn, &identityv1.RefreshSignInRequest{}), invalid,
			"refresh_token: must be at least 1 characters"},
		{"refresh with nonsense", nobody, call(w.signIns.RefreshSignIn, &identityv1.RefreshSignInRequest{RefreshToken: "x"}),
			codes.Unauthenticated, signInEnded},
		{"refresh with too much", nobody, call(w.signIns.RefreshSignIn, &identityv1.RefreshSignInRequest{RefreshToken: long(257)}), invalid,
			"refresh_token: must be at most 256 characters"},
		{"sign out with nothing", nobody, call(w.signIns.SignOut, &identityv1.SignOutRequest{}), invalid,
			"refresh_token: must be at least 1 characters"},
		{"change a password to a short one", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: "short"}), invalid, "new_password: must be at least 12 characters"},
		{"change a password to a long one", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: long(129)}), invalid, "new_password: must be at most 128 characters"},
		{"change a password to one that is short in its normal form", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: strings.Repeat("e\u0301", 11)}), invalid, "new_password: must have 12 to 128 characters"},
		{"change a password to one that is guessed first", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: "Qwerty123456"}), invalid,
			"new_password: is one of those that are guessed first: choose another"},
		{"change a password to one with the user's name", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: "a password of Ann"}), invalid,
			"new_password: must not contain the user name"},
		{"change a password of a bad name", w.root, call(w.users.ChangePassword,
			&identityv1.ChangePasswordRequest{Name: "ann", NewPassword: long(12)}), invalid, badUser},

		{"create nobody", w.root, call(create, &identityv1.CreateUserRequest{}), invalid, "user: is required"},
		{"create without a name", w.root, call(create, user(func(p *identityv1.User) { p.Username = "" })), invalid,
			"user.username: " + badUsername},
		{"create with a bad name", w.root, call(create, user(func(p *identityv1.User) { p.Username = "a b" })), invalid,
			"user.username: " + badUsername},
		{"create with a long name", w.root, call(create, user(func(p *identityv1.User) { p.Username = long(65) })), invalid,
			"user.username: " + badUsername},
		{"create without a role", w.root, call(create, user(func(p *identityv1.User) { p.Roles = nil })), invalid,
			"user.roles: must contain at least 1 item(s)"},
		{"create with an unknown role", w.root, call(create, user(func(p *identityv1.User) { p.Roles[0] = 77 })), invalid,
			"user.roles[0]: is not one of the defined values"},
		{"create with no role's number", w.root, call(create, user(func(p *identityv1.User) { p.Roles[0] = 0 })), invalid,
			"user.roles[0]: is required"},
		{"create with a role twice", w.root, call(create, user(func(p *identityv1.User) { p.Roles = append(p.Roles, p.Roles[0]) })), invalid,
			"user.roles: must not have the same value twice"},
		{"create with a short password", w.root, call(create, withPassword), invalid, "password: must have 12 to 128 characters"},
		{"create with the product's name as password", w.root, call(create, &identityv1.CreateUserRequest{
			User: user(func(*identityv1.User) {}).GetUser(), Password: "TideGate is great"}), invalid, "password: must not contain tidegate"},
		{"create a second one", w.root, call(create, user(func(p *identityv1.User) { p.Username = "ANN" })), codes.AlreadyExists,
			`the username "ANN" is taken`},
		{"create without the role", w.ann, call(create, user(func(*identityv1.User) {})), codes.PermissionDenied,
			"this needs the role admin"},

		{"get a bad name", w.root, call(w.users.GetUser, &identityv1.GetUserRequest{Name: "users/A"}), invalid, badUser},
		{"get an unknown one", w.root, call(w.users.GetUser, &identityv1.GetUserRequest{Name: "users/none"}), codes.NotFound,
			"users/none not found"},
		{"get another", w.ann, call(w.users.GetUser, &identityv1.GetUserRequest{Name: w.bobName}), codes.NotFound,
			w.bobName + " not found"},
		{"list a negative page", w.root, call(list, &identityv1.ListUsersRequest{PageSize: -1}), invalid, badPageSize},
		{"list with a bad token", w.root, call(list, &identityv1.ListUsersRequest{PageToken: "x"}), invalid, badPageToken},
		{"list by what is not there", w.root, call(list, &identityv1.ListUsersRequest{Filter: `color = "x"`}), invalid,
			`filter: no field "color": there are username, state, role`},
		{"list by nonsense", w.root, call(list, &identityv1.ListUsersRequest{Filter: `username`}), invalid,
			`filter: must be field = "value", joined by AND`},

		{"update nobody", w.root, call(change, &identityv1.UpdateUserRequest{}), invalid, "user.name: must be users/{user}"},
		{"update a bad name", w.root, call(change, update(&identityv1.User{Name: "users/A"})), invalid, "user.name: must be users/{user}"},
		{"update an unknown one", w.root, call(change, update(&identityv1.User{Name: "users/none"})), codes.NotFound, "users/none not found"},
		{"update an unknown field", w.root, call(change, update(&identityv1.User{Name: w.annName}, "color")), invalid,
			`update_mask: no field "color": there are username, display_name, roles`},
		{"update what is fixed", w.root, call(change, update(&identityv1.User{Name: w.annName}, "create_time")), invalid,
			"user.create_time: cannot be changed by an update"},
		{"update to no role", w.root, call(change, update(&identityv1.User{Name: w.annName}, "roles")), invalid,
			"user.roles: must contain at least 1 item(s)"},
		{"update to a long display name", w.root, call(change, update(&identityv1.User{Name: w.annName, DisplayName: long(101)})), invalid,
			"user.display_name: " + badUserName},
		{"update to a display name with a newline", w.root, call(change, update(&identityv1.User{Name: w.annName, DisplayName: "An\nn"})), invalid,
			"user.display_name: " + badUserName},
		{"update to a display name with a space at its end", w.root, call(change, update(&identityv1.User{Name: w.annName, DisplayName: "Ann "})), invalid,
			"user.display_name: " + badUserName},
		{"create with a display name of a space", w.root, call(create, user(func(p *identityv1.User) { p.DisplayName = " " })), invalid,
			"user.display_name: " + badUserName},
		{"update to another's name", w.root, call(change, update(&identityv1.User{Name: w.annName, Username: "Bob"})), codes.AlreadyExists,
			`the username "Bob" is taken`},
		{"update with a stale etag", w.root, call(change, update(&identityv1.User{Name: w.annName, DisplayName: "x", Etag: "9"})),
			codes.Aborted, stale},
		{"update the last administrator", w.root, call(change, update(&identityv1.User{
			Name: "users/me", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR},
		})), codes.FailedPrecondition, "this is the last administrator who can sign in"},
		{"delete the last administrator", w.root, call(w.users.DeleteUser, &identityv1.DeleteUserRequest{Name: "users/me"}),
			codes.FailedPrecondition, "this is the last administrator who can sign in"},
		{"suspend the last administrator", w.root, call(w.users.SuspendUser, &identityv1.SuspendUserRequest{Name: "users/me"}),
			codes.FailedPrecondition, "this is the last administrator who can sign in"},
		{"suspend with a stale etag", w.root, call(w.users.SuspendUser, &identityv1.SuspendUserRequest{Name: w.annName, Etag: "9"}),
			codes.Aborted, stale},
		{"suspend an unknown one", w.root, call(w.users.SuspendUser, &identityv1.SuspendUserRequest{Name: "users/none"}),
			codes.NotFound, "users/none not found"},
		{"suspend another", w.ann, call(w.users.SuspendUser, &identityv1.SuspendUserRequest{Name: w.bobName}),
			codes.NotFound, w.bobName + " not found"},
		{"suspend oneself without the role", w.ann, call(w.users.SuspendUser, &identityv1.SuspendUserRequest{Name: "users/me"}),
			codes.PermissionDenied, "this needs the role admin"},
		{"restore oneself without the role", w.ann, call(w.users.RestoreUser, &identityv1.RestoreUserRequest{Name: "users/me"}),
			codes.PermissionDenied, "this needs the role admin"},
		{"delete with a stale etag", w.root, call(w.users.DeleteUser, &identityv1.DeleteUserRequest{Name: w.annName, Etag: "9"}),
			codes.Aborted, stale},
		{"delete with a long etag", w.root, call(w.users.DeleteUser, &identityv1.DeleteUserRequest{Name: w.annName, Etag: long(65)}),
			invalid, badEtag},
		{"delete an unknown one", w.root, call(w.users.DeleteUser, &identityv1.DeleteUserRequest{Name: "users/none"}), codes.NotFound,
			"users/none not found"},
	})
}

func TestSubscriptionRefusals(t *testing.T) {
	w := onSQLite(t)
	w.publish(v1)
	app, other := w.application(w.ann, "Chat").GetName(), w.application(w.ann, "Other").GetName()
	c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
	sub := w.subscribe(w.ann, app, v1).GetName()
	blocked := w.subscribe(w.ann, other, v1).GetName()
	bobPublishes := w.as(w.bobName, "publisher")
	_, err := w.subs.BlockSubscription(bobPublishes, &subscriptionv1.BlockSubscriptionRequest{Name: blocked})
	w.must(err)
	block := func(name, etag string) func(context.Context) error {
		return call(w.subs.BlockSubscription, &subscriptionv1.BlockSubscriptionRequest{Name: name, Etag: etag})
	}
	restore := func(name, etag string) func(context.Context) error {
		return call(w.subs.RestoreSubscription, &subscriptionv1.RestoreSubscriptionRequest{Name: name, Etag: etag})
	}
	invalid := codes.InvalidArgument
	createApp := func(a *subscriptionv1.Application) func(context.Context) error {
		return call(w.apps.CreateApplication, &subscriptionv1.CreateApplicationRequest{Application: a})
	}
	updateApp := func(a *subscriptionv1.Application, paths ...string) func(context.Context) error {
		return call(w.apps.UpdateApplication, &subscriptionv1.UpdateApplicationRequest{Application: a, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	createClient := func(parent string, stage catalogv1.Stage) func(context.Context) error {
		return call(w.apps.CreateOAuthClient, &subscriptionv1.CreateOAuthClientRequest{
			Parent: parent, OauthClient: &subscriptionv1.OAuthClient{Stage: stage},
		})
	}
	noClient := c.GetName() + " not found"
	updateSub := func(s *subscriptionv1.Subscription, paths ...string) func(context.Context) error {
		return call(w.subs.UpdateSubscription, &subscriptionv1.UpdateSubscriptionRequest{Subscription: s, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	apps, subs := w.apps.ListApplications, w.subs.ListSubscriptions
	w.check(t, []refusal{
		{"create no application", w.ann, createApp(nil), invalid, "application: is required"},
		{"create an application without a name", w.ann, createApp(&subscriptionv1.Application{}), invalid, "application.display_name: " + badDisplayName},
		{"create an application with a space at its end", w.ann, createApp(&subscriptionv1.Application{DisplayName: "Chat "}), invalid,
			"application.display_name: " + badDisplayName},
		{"create an application with a no-break space at its end", w.ann, createApp(&subscriptionv1.Application{DisplayName: "Chat\u00a0"}), invalid,
			"application.display_name: " + badDisplayName},
		{"create an application with a newline", w.ann, createApp(&subscriptionv1.Application{DisplayName: "Ch\nat"}), invalid,
			"application.display_name: " + badDisplayName},
		{"create an application with a long text", w.ann, createApp(&subscriptionv1.Application{DisplayName: "x", Description: long(4097)}), invalid,
			"application.description: must be at most 4096 characters"},
		{"create an application with NUL", w.ann, createApp(&subscriptionv1.Application{DisplayName: "x", Description: "\x00"}), invalid,
			"application.description: " + noNUL},
		{"create an application again", w.ann, createApp(&subscriptionv1.Application{DisplayName: "CHAT"}), codes.AlreadyExists,
			`application.display_name: "CHAT" is taken`},
		{"create an application without the role", w.guest, createApp(&subscriptionv1.Application{DisplayName: "x"}), codes.PermissionDenied,
			"this needs the role subscriber"},
		{"create an application with a plan", w.ann, createApp(&subscriptionv1.Application{DisplayName: "x", Plan: gold}), codes.PermissionDenied,
			"application.plan: only an administrator may change it"},
		{"create an application with a plan that there is none of", w.root, createApp(&subscriptionv1.Application{DisplayName: "x", Plan: "plans/none"}),
			codes.NotFound, "plans/none not found"},
		{"create an application with what is no plan", w.root, createApp(&subscriptionv1.Application{DisplayName: "x", Plan: "none"}), invalid,
			"application.plan: must be plans/{plan}"},
		{"update an application to a plan", w.ann, updateApp(&subscriptionv1.Application{Name: app, Plan: gold}), codes.PermissionDenied,
			"application.plan: only an administrator may change it"},
		{"update an application to a plan that there is none of", w.root, updateApp(&subscriptionv1.Application{Name: app, Plan: "plans/none"}),
			codes.NotFound, "plans/none not found"},
		{"get an application of a bad name", w.ann, call(w.apps.GetApplication, &subscriptionv1.GetApplicationRequest{Name: "Chat"}), invalid, badApplication},
		{"get another's application", w.bob, call(w.apps.GetApplication, &subscriptionv1.GetApplicationRequest{Name: app}), codes.NotFound, app + " not found"},
		{"list applications by what is not there", w.ann, call(apps, &subscriptionv1.ListApplicationsRequest{Filter: `name = "x"`}), invalid,
			`filter: no field "name": there are display_name, owner`},
		{"list applications by a bad owner", w.ann, call(apps, &subscriptionv1.ListApplicationsRequest{Filter: `owner = "ann"`}), invalid,
			"filter: owner must be users/{user}"},
		{"list applications with a bad token", w.ann, call(apps, &subscriptionv1.ListApplicationsRequest{PageToken: "e30"}), invalid, badPageToken},
		{"update no application", w.ann, updateApp(nil), invalid, "application.name: must be applications/{application}"},
		{"update another's application", w.bob, updateApp(&subscriptionv1.Application{Name: app, DisplayName: "x"}), codes.NotFound, app + " not found"},
		{"update an application's owner", w.ann, updateApp(&subscriptionv1.Application{Name: app, Owner: w.bobName}, "owner"), invalid,
			"application.owner: cannot be changed by an update"},
		{"update an application to no name", w.ann, updateApp(&subscriptionv1.Application{Name: app}, "display_name"), invalid,
			"application.display_name: " + badDisplayName},
		{"update an application to another's name", w.ann, updateApp(&subscriptionv1.Application{Name: app, DisplayName: "Other"}), codes.AlreadyExists,
			`application.display_name: "Other" is taken`},
		{"update an application with a stale etag", w.ann, updateApp(&subscriptionv1.Application{Name: app, DisplayName: "x", Etag: "9"}), codes.Aborted, stale},
		{"delete another's application", w.bob, call(w.apps.DeleteApplication, &subscriptionv1.DeleteApplicationRequest{Name: app}), codes.NotFound,
			app + " not found"},
		{"delete an application with a stale etag", w.ann, call(w.apps.DeleteApplication,
			&subscriptionv1.DeleteApplicationRequest{Name: app, Etag: "9"}), codes.Aborted, stale},

		{"create no OAuth client", w.ann, call(w.apps.CreateOAuthClient, &subscriptionv1.CreateOAuthClientRequest{Parent: app}), invalid,
			"oauth_client: is required"},
		{"create an OAuth client of no stage", w.ann, createClient(app, 0), invalid, "oauth_client.stage: is required"},
		{"create an OAuth client of an unknown stage", w.ann, createClient(app, 7), invalid, "oauth_client.stage: is not one of the defined values"},
		{"create an OAuth client of a bad parent", w.ann, createClient("x", 1), invalid, badParent},
		{"create an OAuth client of another's", w.bob, createClient(app, 2), codes.NotFound, app + " not found"},
		{"create an OAuth client again", w.ann, createClient(app, 1), codes.AlreadyExists, "the application has an OAuth client for production already"},
		{"get an OAuth client of a bad name", w.ann, call(w.apps.GetOAuthClient, &subscriptionv1.GetOAuthClientRequest{Name: app}), invalid, badClient},
		{"get another's OAuth client", w.bob, call(w.apps.GetOAuthClient, &subscriptionv1.GetOAuthClientRequest{Name: c.GetName()}), codes.NotFound, noClient},
		{"list another's OAuth clients", w.bob, call(w.apps.ListOAuthClients, &subscriptionv1.ListOAuthClientsRequest{Parent: app}), codes.NotFound,
			app + " not found"},
		{"delete another's OAuth client", w.bob, call(w.apps.DeleteOAuthClient, &subscriptionv1.DeleteOAuthClientRequest{Name: c.GetName()}),
			codes.NotFound, noClient},
		{"delete an OAuth client with a stale etag", w.ann, call(w.apps.DeleteOAuthClient,
			&subscriptionv1.DeleteOAuthClientRequest{Name: c.GetName(), Etag: "9"}), codes.Aborted, stale},

		{"create no secret", w.ann, call(w.apps.CreateOAuthClientSecret, &subscriptionv1.CreateOAuthClientSecretRequest{Parent: c.GetName()}), invalid,
			"oauth_client_secret: is required"},
		{"create a secret that has ended", w.ann, call(w.apps.CreateOAuthClientSecret, createSecret(c.GetName(), timestamppb.New(w.now()))), invalid,
			"oauth_client_secret.expire_time: must be in the future"},
		{"create a secret that ends at no time", w.ann, call(w.apps.CreateOAuthClientSecret, createSecret(c.GetName(), &timestamppb.Timestamp{Nanos: -1})),
			invalid, "oauth_client_secret.expire_time: must be in the future"},
		{"create a secret of a bad parent", w.ann, call(w.apps.CreateOAuthClientSecret, createSecret(app, nil)), invalid,
			"parent: must be applications/{application}/oauthClients/{oauth_client}"},
		{"create a secret of another's", w.bob, call(w.apps.CreateOAuthClientSecret, createSecret(c.GetName(), nil)), codes.NotFound, noClient},
		{"get a secret of a bad name", w.ann, call(w.apps.GetOAuthClientSecret, &subscriptionv1.GetOAuthClientSecretRequest{Name: c.GetName()}), invalid,
			"name: must be applications/{application}/oauthClients/{oauth_client}/secrets/{secret}"},
		{"get another's secret", w.bob, call(w.apps.GetOAuthClientSecret, &subscriptionv1.GetOAuthClientSecretRequest{Name: c.secret.GetName()}),
			codes.NotFound, c.secret.GetName() + " not found"},
		{"list another's secrets", w.bob, call(w.apps.ListOAuthClientSecrets, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: c.GetName()}),
			codes.NotFound, noClient},
		{"delete another's secret", w.bob, call(w.apps.DeleteOAuthClientSecret,
			&subscriptionv1.DeleteOAuthClientSecretRequest{Name: c.secret.GetName()}), codes.NotFound, c.secret.GetName() + " not found"},

		{"create no subscription", w.ann, call(w.subs.CreateSubscription, &subscriptionv1.CreateSubscriptionRequest{}), invalid, "subscription: is required"},
		{"create a subscription of nothing", w.ann, call(w.subs.CreateSubscription, subscription("", "", "")), invalid,
			"subscription.application: must be applications/{application}; " +
				"subscription.version: must be apis/{api}/versions/{version}; " +
				"subscription.plan: must be plans/{plan}"},
		{"create a subscription of another's", w.bob, call(w.subs.CreateSubscription, subscription(app, v1, gold)), codes.NotFound, app + " not found"},
		{"create a subscription to nothing", w.ann, call(w.subs.CreateSubscription, subscription(other, v2, gold)), codes.NotFound, v2 + " not found"},
		{"create a subscription to no plan", w.ann, call(w.subs.CreateSubscription, subscription(other, v1, "plans/none")), codes.FailedPrecondition,
			v1 + " does not offer plans/none"},
		{"create a subscription again", w.ann, call(w.subs.CreateSubscription, subscription(app, v1, silver)), codes.AlreadyExists,
			app + " is subscribed to " + v1 + " already"},
		{"get a subscription of a bad name", w.ann, call(w.subs.GetSubscription, &subscriptionv1.GetSubscriptionRequest{Name: "x"}), invalid, badSub},
		{"get another's subscription", w.guest, call(w.subs.GetSubscription, &subscriptionv1.GetSubscriptionRequest{Name: sub}), codes.NotFound, sub + " not found"},
		{"list subscriptions by a bad application", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: `application = "x"`}), invalid,
			"filter: application must be applications/{application}"},
		{"list subscriptions by a bad version", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: `version = "1.0.0"`}), invalid,
			"filter: version must be apis/{api}/versions/{version}"},
		{"list subscriptions by a bad plan", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: `plan = "Gold"`}), invalid,
			"filter: plan must be plans/{plan}"},
		{"list subscriptions of a plan that is not there", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: `plan = "plans/none"`}), codes.NotFound,
			"plans/none not found"},
		{"list subscriptions by what is no state", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: `state = "STATE_ACTIVE"`}), invalid,
			`filter: no state "STATE_ACTIVE": there are ACTIVE, BLOCKED`},
		{"list subscriptions with a long filter", w.ann, call(subs, &subscriptionv1.ListSubscriptionsRequest{Filter: long(1025)}), invalid,
			"filter: must be at most 1024 characters"},
		{"update no subscription", w.ann, updateSub(nil), invalid, "subscription.name: must be subscriptions/{subscription}"},
		{"update a subscription to no plan", w.ann, updateSub(&subscriptionv1.Subscription{Name: sub}, "plan"), invalid,
			"subscription.plan: must be plans/{plan}"},
		{"update a subscription's version", w.ann, updateSub(&subscriptionv1.Subscription{Name: sub, Version: v2}, "version"), invalid,
			"subscription.version: cannot be changed by an update"},
		{"update a subscription with a stale etag", w.ann, updateSub(&subscriptionv1.Subscription{Name: sub, Plan: silver, Etag: "9"}), codes.Aborted, stale},
		{"update a subscription as the version's owner who does not publish", w.bob, updateSub(&subscriptionv1.Subscription{Name: sub, Plan: silver}),
			codes.PermissionDenied, "this needs the role publisher"},
		{"update a subscription to a plan that there is none of", bobPublishes, updateSub(&subscriptionv1.Subscription{Name: sub, Plan: "plans/none"}),
			codes.NotFound, "plans/none not found"},
		{"update a subscription to what is no plan", bobPublishes, updateSub(&subscriptionv1.Subscription{Name: sub, Plan: "none"}), invalid,
			"subscription.plan: must be plans/{plan}"},
		{"update a subscription's state", w.root, updateSub(&subscriptionv1.Subscription{Name: sub, State: subscriptionv1.Subscription_STATE_BLOCKED}, "state"), invalid,
			"subscription.state: cannot be changed by an update"},
		{"block a subscription of a bad name", w.root, block("x", ""), invalid, badSub},
		{"block a subscription that there is none of", w.root, block("subscriptions/x", ""), codes.NotFound, "subscriptions/x not found"},
		{"block another's subscription", w.guest, block(sub, ""), codes.NotFound, sub + " not found"},
		{"block one's own subscription", w.ann, block(sub, ""), codes.PermissionDenied, "only the version's owner and administrators may do this"},
		{"block as the version's owner who does not publish", w.bob, block(sub, ""), codes.PermissionDenied, "this needs the role publisher"},
		{"block with a stale etag", bobPublishes, block(sub, "9"), codes.Aborted, stale},
		{"block with a long etag", bobPublishes, block(sub, long(65)), invalid, badEtag},
		{"restore a subscription of a bad name", w.root, restore("x", ""), invalid, badSub},
		{"restore another's subscription", w.guest, restore(blocked, ""), codes.NotFound, blocked + " not found"},
		{"restore one's own subscription", w.ann, restore(blocked, ""), codes.PermissionDenied, "only the version's owner and administrators may do this"},
		{"restore as the version's owner who does not publish", w.bob, restore(blocked, ""), codes.PermissionDenied, "this needs the role publisher"},
		{"restore with a stale etag", bobPublishes, restore(blocked, "9"), codes.Aborted, stale},
		{"delete a blocked subscription", w.ann, call(w.subs.DeleteSubscription, &subscriptionv1.DeleteSubscriptionRequest{Name: blocked}), codes.FailedPrecondition,
			blocked + " is blocked: it can be deleted once the version's owner or an administrator has restored it"},
		{"delete another's subscription", w.guest, call(w.subs.DeleteSubscription, &subscriptionv1.DeleteSubscriptionRequest{Name: sub}), codes.NotFound,
			sub + " not found"},
		{"delete a subscription with a stale etag", w.ann, call(w.subs.DeleteSubscription,
			&subscriptionv1.DeleteSubscriptionRequest{Name: sub, Etag: "9"}), codes.Aborted, stale},

		{"wait for nothing", w.ann, call(w.changes.WaitChange, &changev1.WaitChangeRequest{}), invalid,
			"name: must be services/{service}/changes/{change_number}"},
		{"wait for too much", w.ann, call(w.changes.WaitChange, &changev1.WaitChangeRequest{Name: "services/subscription/changes/9223372036854775807"}),
			codes.NotFound, "services/subscription/changes/9223372036854775807 not found"},
		{"list changes without the role", w.ann, call(w.changes.ListChanges, &changev1.ListChangesRequest{Parent: "services/subscription"}),
			codes.PermissionDenied, "this needs the role admin"},
		{"list changes with a bad token", w.root, call(w.changes.ListChanges, &changev1.ListChangesRequest{Parent: "services/subscription", PageToken: "x"}),
			invalid, badPageToken},
		{"list watchers without the role", w.ann, call(w.changes.ListWatchers, &changev1.ListWatchersRequest{Parent: "services/subscription"}),
			codes.PermissionDenied, "this needs the role admin"},
	})
}

// TestPageTokensAreBound uses the token of one list in others.
func TestPageTokensAreBound(t *testing.T) {
	w := onSQLite(t)
	w.application(w.ann, "a")
	w.application(w.ann, "b")
	list, err := w.apps.ListApplications(w.ann, &subscriptionv1.ListApplicationsRequest{PageSize: 1})
	w.must(err)
	const text = "page_token: belongs to another list or filter"
	token := list.GetNextPageToken()
	w.check(t, []refusal{
		{"another filter", w.ann, call(w.apps.ListApplications, &subscriptionv1.ListApplicationsRequest{PageToken: token, Filter: `display_name = "a"`}),
			codes.InvalidArgument, text},
		{"another list", w.ann, call(w.subs.ListSubscriptions, &subscriptionv1.ListSubscriptionsRequest{PageToken: token}), codes.InvalidArgument, text},
		{"a list with other keys", w.ann, call(w.usage.ListUsage, &usagev1.ListUsageRequest{PageToken: token}), codes.InvalidArgument, text},
	})
}
