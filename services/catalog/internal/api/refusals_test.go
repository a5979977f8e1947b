package api

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// refusal is a call that has to be refused.
type refusal struct {
	name    string
	call    func(opts ...grpc.CallOption) error
	code    codes.Code
	message string
}

// refuse binds a method to a request and a user.
func refuse[Req, Resp any](ctx context.Context, method func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req, who ...grpc.CallOption) func(...grpc.CallOption) error {
	return func(opts ...grpc.CallOption) error {
		_, err := method(ctx, req, append(who, opts...)...)
		return err
	}
}

// world is what refusals are tried on: APIs of ann's.
type world struct {
	*fixture
	// echo has a published version and one that is not; hidden has one that is
	// not, and other has none.
	echo, hidden, other        *catalogv1.Api
	published, created, unseen *catalogv1.Version
	// demoted is ann without the role creator, trainee without publisher.
	demoted, trainee grpc.CallOption
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{fixture: onSQLite(t)}
	w.echo, w.hidden, w.other = w.api("Echo"), w.api("Hidden"), w.api("Other")
	w.published, w.created, w.unseen = w.version(w.echo, "1.0.0"), w.version(w.echo, "2.0.0"), w.version(w.hidden, "1.0.0")
	w.published = w.publish(w.published)
	w.demoted, w.trainee = w.as("ann", identity.RolePublisher), w.as("ann", identity.RoleCreator)
	return w
}

// try checks that each call is refused as it should be and leaves nothing behind.
func (w *world) try(all []refusal) {
	w.t.Helper()
	before := w.dump()
	for _, r := range all {
		var header metadata.MD
		err := r.call(grpc.Header(&header))
		wantError(w.t, r.name, err, r.code, r.message)
		if after := w.dump(); after != before {
			w.t.Fatalf("%s left something behind (-before +after):\n%s", r.name, cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
		}
		if n := header.Get(gen.ChangeHeader); len(n) != 0 {
			w.t.Errorf("%s answers with the change %v", r.name, n)
		}
	}
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

const (
	badDisplayName = "must have 1 to 100 characters, no control characters and no space at either end"
	badContext     = "must be 1 to 8 segments of A-Z a-z 0-9 _ . -, each after a / and starting with a letter, a digit or _, as /team/echo"
	staleEtag      = "etag: somebody else changed it first, read it again"
	notSignedIn    = "sign in first: the call carries no token"
	notOwner       = "only its owner and administrators may do this"
	badAPIName     = "name: must be apis/{api}"
	badSize        = "page_size: must not be negative"
	badToken       = "page_token: is not a token that a list has returned"
)

func TestCreateApiRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	create := func(a *catalogv1.Api, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.CreateApi, &catalogv1.CreateApiRequest{Api: a}, who...)
	}
	good := func(change func(*catalogv1.Api)) func(...grpc.CallOption) error {
		a := &catalogv1.Api{DisplayName: "New", Context: "/new"}
		change(a)
		return create(a, w.ann)
	}
	named := func(name string) func(...grpc.CallOption) error {
		return good(func(a *catalogv1.Api) { a.DisplayName = name })
	}
	at := func(context string) func(...grpc.CallOption) error {
		return good(func(a *catalogv1.Api) { a.Context = context })
	}
	w.try([]refusal{
		{"without a token", create(&catalogv1.Api{DisplayName: "New", Context: "/new"}), codes.Unauthenticated, notSignedIn},
		{"by a subscriber", create(&catalogv1.Api{DisplayName: "New", Context: "/new"}, w.sue), codes.PermissionDenied, "this needs the role creator"},
		{"by a publisher", create(&catalogv1.Api{DisplayName: "New", Context: "/new"}, w.pete), codes.PermissionDenied, "this needs the role creator"},
		{"without an API", create(nil, w.ann), codes.InvalidArgument, "api: is required"},
		{"without a name", named(""), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with a long name", named(strings.Repeat("x", 101)), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with a space before the name", named(" New"), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with a space after the name", named("New\u00a0"), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with a line in the name", named("N\new"), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with an invisible sign in the name", named("N\u200bew"), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"with NUL in the name", named("N\x00ew"), codes.InvalidArgument, "api.display_name: must not have the character NUL"},
		{"with NUL in the description", good(func(a *catalogv1.Api) { a.Description = "\x00" }), codes.InvalidArgument, "api.description: must not have the character NUL"},
		{"with a long description", good(func(a *catalogv1.Api) { a.Description = strings.Repeat("語", 4097) }), codes.InvalidArgument, "api.description: must be at most 4096 characters"},
		{"without a context", at(""), codes.InvalidArgument, "api.context: " + badContext},
		{"with a context without /", at("new"), codes.InvalidArgument, "api.context: " + badContext},
		{"with an empty segment", at("/new//x"), codes.InvalidArgument, "api.context: " + badContext},
		{"with / at the end", at("/new/"), codes.InvalidArgument, "api.context: " + badContext},
		{"with a dot segment", at("/new/../x"), codes.InvalidArgument, "api.context: " + badContext},
		{"with a reserved context", at("/-/healthz"), codes.InvalidArgument, "api.context: " + badContext},
		{"with a query", at("/new?x=y"), codes.InvalidArgument, "api.context: " + badContext},
		{"with an escape", at("/n%65w"), codes.InvalidArgument, "api.context: " + badContext},
		{"with nine segments", at(strings.Repeat("/a", 9)), codes.InvalidArgument, "api.context: " + badContext},
		{"with a long segment", at("/" + strings.Repeat("a", 65)), codes.InvalidArgument, "api.context: " + badContext},
		{"with two mistakes", create(&catalogv1.Api{DisplayName: " ", Context: "x"}, w.ann), codes.InvalidArgument, "api.display_name: " + badDisplayName + "; api.context: " + badContext},
		{"with a default version", good(func(a *catalogv1.Api) { a.DefaultVersion = w.published.GetName() }), codes.InvalidArgument, "api.default_version: a new API has no version yet"},
		{"with a name that is taken", named("eCHO"), codes.AlreadyExists, `api.display_name: "eCHO" is taken`},
		{"with a name that is taken by what is hidden", named("HIDDEN"), codes.AlreadyExists, `api.display_name: "HIDDEN" is taken`},
		{"with a context that is taken", at("/echo"), codes.AlreadyExists, `api.context: "/echo" is taken`},
		{"at the address of a version", at("/echo/1.0.0"), codes.AlreadyExists, `api.context: "/echo/1.0.0" lies under the address of another API's version`},
	})
}

func TestReadsOfApisRefuse(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	get := func(name string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.GetApi, &catalogv1.GetApiRequest{Name: name}, who...)
	}
	list := func(req *catalogv1.ListApisRequest) func(...grpc.CallOption) error {
		return refuse(ctx, w.ListApis, req, w.ann)
	}
	filter := func(text string) func(...grpc.CallOption) error {
		return list(&catalogv1.ListApisRequest{Filter: text})
	}
	first, err := w.ListApis(ctx, &catalogv1.ListApisRequest{PageSize: 1}, w.ann)
	if err != nil {
		t.Fatal(err)
	}
	badFilter := `filter: must be field = "value", joined by AND`
	w.try([]refusal{
		{"Get without a token", get(w.echo.GetName()), codes.Unauthenticated, notSignedIn},
		{"Get without a name", get("", w.ann), codes.InvalidArgument, badAPIName},
		{"Get with another kind of name", get("plans/gold", w.ann), codes.InvalidArgument, badAPIName},
		{"Get with a version's name", get(w.published.GetName(), w.ann), codes.InvalidArgument, badAPIName},
		{"Get with upper case", get("apis/Echo", w.ann), codes.InvalidArgument, badAPIName},
		{"Get with a long name", get("apis/"+strings.Repeat("a", 65), w.ann), codes.InvalidArgument, badAPIName},
		{"Get with NUL", get("apis/a\x00", w.ann), codes.InvalidArgument, "name: must not have the character NUL"},
		{"Get of none", get("apis/none", w.ann), codes.NotFound, "apis/none not found"},
		{"Get of somebody else's", get(w.hidden.GetName(), w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"List without a token", refuse(ctx, w.ListApis, &catalogv1.ListApisRequest{}), codes.Unauthenticated, notSignedIn},
		{"List with a negative size", list(&catalogv1.ListApisRequest{PageSize: -1}), codes.InvalidArgument, badSize},
		{"List with a token that is none", list(&catalogv1.ListApisRequest{PageToken: "x"}), codes.InvalidArgument, badToken},
		{"List with a long token", list(&catalogv1.ListApisRequest{PageToken: strings.Repeat("x", 1025)}), codes.InvalidArgument, "page_token: must be at most 1024 characters"},
		{"List with the token of another filter", list(&catalogv1.ListApisRequest{PageToken: first.GetNextPageToken(), Filter: `owner = "users/ann"`}), codes.InvalidArgument, "page_token: belongs to another list or filter"},
		{"List with the token of another list", refuse(ctx, w.ListPlans, &catalogv1.ListPlansRequest{PageToken: first.GetNextPageToken()}, w.ann), codes.InvalidArgument, "page_token: belongs to another list or filter"},
		{"List with half a filter", filter(`display_name`), codes.InvalidArgument, badFilter},
		{"List with an unquoted filter", filter(`display_name = Echo`), codes.InvalidArgument, badFilter},
		{"List with OR", filter(`context = "/a" OR context = "/b"`), codes.InvalidArgument, badFilter},
		{"List with a loose AND", filter(`context = "/a" AND`), codes.InvalidArgument, badFilter},
		{"List with an unknown field", filter(`description = "x"`), codes.InvalidArgument, `filter: no field "description": there are display_name, context, owner, state, tags`},
		{"List by a state that is none", filter(`state = "DONE"`), codes.InvalidArgument, `filter: no state "DONE": there are CREATED, PUBLISHED`},
		{"List with a field twice", filter(`context = "/a" AND context = "/b"`), codes.InvalidArgument, `filter: has the field "context" twice`},
		{"List with an owner that is no name", filter(`owner = "ann"`), codes.InvalidArgument, "filter: owner must be users/{user}"},
		{"List with an empty owner", filter(`owner = ""`), codes.InvalidArgument, "filter: owner must be users/{user}"},
		{"List with an owner of another kind", filter(`owner = "apis/ann"`), codes.InvalidArgument, "filter: owner must be users/{user}"},
		{"List with a long filter", filter(strings.Repeat(" ", 1025)), codes.InvalidArgument, "filter: must be at most 1024 characters"},
		{"List with NUL in the filter", filter("context = \"\x00\""), codes.InvalidArgument, "filter: must not have the character NUL"},
	})
}

func TestUpdateApiRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	update := func(a *catalogv1.Api, who grpc.CallOption, paths ...string) func(...grpc.CallOption) error {
		return refuse(ctx, w.UpdateApi, &catalogv1.UpdateApiRequest{Api: a, UpdateMask: mask(paths...)}, who)
	}
	echo := func(change func(*catalogv1.Api), paths ...string) func(...grpc.CallOption) error {
		a := &catalogv1.Api{Name: w.echo.GetName()}
		change(a)
		return update(a, w.ann, paths...)
	}
	nothing := func(*catalogv1.Api) {}
	named := func(name string) *catalogv1.Api { return &catalogv1.Api{Name: name, Description: "x", Etag: "stale"} }
	badName := "api.name: must be apis/{api}"
	notOfThis := "api.default_version: must be a version of this API, or empty"
	w.try([]refusal{
		{"without a token", refuse(ctx, w.UpdateApi, &catalogv1.UpdateApiRequest{Api: w.echo}), codes.Unauthenticated, notSignedIn},
		{"without an API", update(nil, w.ann), codes.InvalidArgument, badName},
		{"without a name", update(named(""), w.ann), codes.InvalidArgument, badName},
		{"with a bad name", update(named("apis/Echo"), w.ann), codes.InvalidArgument, badName},
		{"with a version's name", update(named(w.created.GetName()), w.ann), codes.InvalidArgument, badName},
		{"of none", update(named("apis/none"), w.ann), codes.NotFound, "apis/none not found"},
		{"of what is hidden", update(named(w.hidden.GetName()), w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"of what is hidden by a subscriber", update(named(w.hidden.GetName()), w.sue), codes.NotFound, w.hidden.GetName() + " not found"},
		{"of somebody else's", update(named(w.echo.GetName()), w.bob), codes.PermissionDenied, notOwner},
		{"of somebody else's by a subscriber", update(named(w.echo.GetName()), w.sue), codes.PermissionDenied, notOwner},
		{"by an owner who is no creator any more", update(named(w.echo.GetName()), w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"with a stale etag", update(named(w.echo.GetName()), w.ann), codes.Aborted, staleEtag},
		{"with a stale etag by an administrator", update(named(w.echo.GetName()), w.root), codes.Aborted, staleEtag},
		{"of an unknown field", echo(nothing, "nonesuch"), codes.InvalidArgument, `update_mask: no field "nonesuch": there are display_name, context, description, default_version, default_version_paths`},
		{"of a part of a text", echo(nothing, "description.x"), codes.InvalidArgument, `update_mask: no field "description.x": there are display_name, context, description, default_version, default_version_paths`},
		{"of all and more", echo(nothing, "*", "description"), codes.InvalidArgument, `update_mask: no field "*": there are display_name, context, description, default_version, default_version_paths`},
		{"of the owner", echo(func(a *catalogv1.Api) { a.Owner = "users/bob" }, "owner"), codes.InvalidArgument, "api.owner: cannot be changed by an update"},
		{"of the time", echo(nothing, "create_time"), codes.InvalidArgument, "api.create_time: cannot be changed by an update"},
		{"to no name", echo(nothing, "display_name"), codes.InvalidArgument, "api.display_name: " + badDisplayName},
		{"to a bad context", echo(func(a *catalogv1.Api) { a.Context = "/-" }), codes.InvalidArgument, "api.context: " + badContext},
		{"of all to nothing", echo(nothing, "*"), codes.InvalidArgument, "api.display_name: " + badDisplayName + "; api.context: " + badContext},
		{"with NUL", echo(func(a *catalogv1.Api) { a.Description = "\x00" }), codes.InvalidArgument, "api.description: must not have the character NUL"},
		{"to a name that is taken", echo(func(a *catalogv1.Api) { a.DisplayName = "oTHER" }), codes.AlreadyExists, `api.display_name: "oTHER" is taken`},
		{"of a context that is fixed", echo(func(a *catalogv1.Api) { a.Context = "/elsewhere" }), codes.FailedPrecondition, "api.context: is fixed while the API has a published version"},
		{"to a context that is taken", update(&catalogv1.Api{Name: w.other.GetName(), Context: "/hidden"}, w.ann), codes.AlreadyExists, `api.context: "/hidden" is taken`},
		{"to a context under a version", update(&catalogv1.Api{Name: w.other.GetName(), Context: "/echo/2.0.0/x"}, w.ann), codes.AlreadyExists, `api.context: "/echo/2.0.0/x" lies under the address of another API's version`},
		{"to a default version of another API", echo(func(a *catalogv1.Api) { a.DefaultVersion = w.unseen.GetName() }), codes.InvalidArgument, notOfThis},
		{"to a default version that is none", echo(func(a *catalogv1.Api) { a.DefaultVersion = w.echo.GetName() + "/versions/none" }), codes.InvalidArgument, notOfThis},
		{"to a default version by its string", echo(func(a *catalogv1.Api) { a.DefaultVersion = "1.0.0" }), codes.InvalidArgument, notOfThis},
	})
}

func TestDeleteApiRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	remove := func(name, etag string, force bool, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.DeleteApi, &catalogv1.DeleteApiRequest{Name: name, Etag: etag, Force: force}, who...)
	}
	w.try([]refusal{
		{"without a token", remove(w.echo.GetName(), "", true), codes.Unauthenticated, notSignedIn},
		{"with a bad name", remove("apis/", "", true, w.ann), codes.InvalidArgument, badAPIName},
		{"with a long etag", remove(w.other.GetName(), strings.Repeat("1", 65), true, w.ann), codes.InvalidArgument, "etag: must be at most 64 characters"},
		{"of none", remove("apis/none", "", true, w.root), codes.NotFound, "apis/none not found"},
		{"of what is hidden", remove(w.hidden.GetName(), "", true, w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"of somebody else's", remove(w.echo.GetName(), "", true, w.bob), codes.PermissionDenied, notOwner},
		{"by an owner who is no creator any more", remove(w.other.GetName(), "", true, w.demoted), codes.PermissionDenied, "this needs the role creator"},
		{"with a stale etag", remove(w.other.GetName(), "2", true, w.ann), codes.Aborted, staleEtag},
		{"of what is published", remove(w.echo.GetName(), "", true, w.root), codes.FailedPrecondition, "a version of the API is published: demote it first"},
		{"of what has versions", remove(w.hidden.GetName(), "", false, w.ann), codes.FailedPrecondition, "force: the API has versions: delete them first, or set it"},
	})
}
