package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/routefeature"
)

const (
	rule0          = "version.backend_options.headers[0]."
	badHeaderName  = "must be the name of a header, 1 to 100 characters of A-Z a-z 0-9 and -_.!#$%&'*+^`|~"
	badHeaderValue = "must have 1 to 4096 visible ASCII characters, with spaces only between them"
)

func setHeader(name, value string) *catalogv1.HeaderRule {
	return &catalogv1.HeaderRule{Name: name, Action: &catalogv1.HeaderRule_Set{Set: value}}
}

func secretHeader(name, value string) *catalogv1.HeaderRule {
	return &catalogv1.HeaderRule{Name: name, Action: &catalogv1.HeaderRule_Secret{Secret: &catalogv1.Secret{Value: value}}}
}

func removeHeader(name string) *catalogv1.HeaderRule {
	return &catalogv1.HeaderRule{Name: name, Action: &catalogv1.HeaderRule_Remove{Remove: true}}
}

func copyHeader(name, from string) *catalogv1.HeaderRule {
	return &catalogv1.HeaderRule{Name: name, Action: &catalogv1.HeaderRule_CopyOf{CopyOf: from}}
}

func manyHeaders(n int, value string) []*catalogv1.HeaderRule {
	var all []*catalogv1.HeaderRule
	for i := range n {
		all = append(all, setHeader(fmt.Sprintf("X-%d", i), value))
	}
	return all
}

// headers are those that the backends of a version get.
func headers(rules ...*catalogv1.HeaderRule) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) { v.BackendOptions = &catalogv1.BackendOptions{Headers: rules} }
}

// No rule is for a header that the handshake, HTTP or the gateway itself writes, in any form
// in which a backend may read it as that.
func TestReservedHeadersHaveNoRules(t *testing.T) {
	for _, name := range []string{
		"Connection", "keep-alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "transfer_encoding", "Upgrade",
		"HTTP2-Settings", "Content-Length", "Content-Type", "Expect", "Sec-WebSocket-Key", "sec_websocket_protocol", "Sec-WebSocket-Extensions",
		"Forwarded", "X-Forwarded-For", "x_forwarded_for", "X-Forwarded_Anything", "Via", "CDN-Loop",
		"X-Tidegate-Application", "x_tidegate_scopes", "X-Tidegate_Ref", "X-TIDEGATE-x",
	} {
		if got := reservedHeader(name); !strings.Contains(got, name) {
			t.Errorf("reservedHeader(%q) = %q, want a refusal that names it", name, got)
		}
	}
	for _, name := range []string{"Authorization", "Cookie", "User-Agent", "X-Real-IP", "Traceparent", "X-Tidegate", "Forwarded-X", "Date"} {
		if got := reservedHeader(name); got != "" {
			t.Errorf("reservedHeader(%q) = %q, want none", name, got)
		}
	}
}

// A secret reaches gateways, and is in no answer, no change and not in the database as it is.
// It stays until another is given, also in a version that takes over from this one; but not
// where an endpoint leads elsewhere.
func TestSecretsOfHeaders(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const secret, other = "top-secret-1", "top-secret-2"
		v := f.version(f.api("Echo"), "1")
		update := func(change *catalogv1.Version, who grpc.CallOption, paths ...string) (*catalogv1.Version, error) {
			change.Name = v.GetName()
			return f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}, who)
		}
		rules := func(rules ...*catalogv1.HeaderRule) *catalogv1.Version {
			return &catalogv1.Version{BackendOptions: &catalogv1.BackendOptions{Headers: rules}}
		}
		routed := func(of *catalogv1.Version) (values []string) {
			for _, rule := range f.route(of).GetBackendOptions().GetHeaders() {
				values = append(values, rule.GetName()+"="+rule.GetSet()+rule.GetSecret().GetValue())
				if rule.GetSecret().GetSetTime() != nil || rule.GetSecret().GetSetter() != "" {
					t.Errorf("a gateway is told who set a secret: %v", rule)
				}
			}
			return values
		}
		set, err := update(rules(secretHeader("X-Key", secret), setHeader("X-Tenant", "acme")), f.ann, "backend_options.headers")
		if err != nil {
			t.Fatal(err)
		}
		stored := set.GetBackendOptions().GetHeaders()[0].GetSecret()
		if stored.GetValue() != "" || stored.GetSetTime() == nil || !strings.HasPrefix(stored.GetSetter(), "users/") {
			t.Errorf("the answer has the secret %v, want since when and by whom alone", stored)
		}
		if got := routed(v); fmt.Sprint(got) != "[X-Key="+secret+" X-Tenant=acme]" {
			t.Errorf("gateways get %v", got)
		}
		before := f.route(v)
		// What was read is sent again: it stays, wherever in the list it is.
		all := set.GetBackendOptions().GetHeaders()
		again, err := update(rules(all[1], all[0]), f.ann, "backend_options.headers")
		if err != nil {
			t.Fatal(err)
		}
		kept := again.GetBackendOptions().GetHeaders()[1].GetSecret()
		if diff := cmp.Diff(stored, kept, protocmp.Transform()); diff != "" || fmt.Sprint(routed(v)) != "[X-Tenant=acme X-Key="+secret+"]" {
			t.Errorf("gateways get %v; the secret differs:\n%s", routed(v), diff)
		}
		if _, err = update(rules(all...), f.ann, "backend_options.headers"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, f.route(v), protocmp.Transform(), protocmp.IgnoreFields(before, "change_number")); diff != "" {
			t.Errorf("the route differs after what was read was sent again:\n%s", diff)
		}
		// A version that takes over has it, and others that lead elsewhere do not.
		copied, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
			Parent: "apis/" + strings.Split(v.GetName(), "/")[1], SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "2"},
		}, f.ann)
		if err != nil || fmt.Sprint(routed(copied)) != "[X-Key="+secret+" X-Tenant=acme]" {
			t.Errorf("a version that takes over = %v, gateways get %v", err, routed(copied))
		}
		elsewhere := &catalogv1.Version{Endpoints: &catalogv1.Endpoints{Sandbox: endpoint("ws://mine.example/")}}
		mustBeGiven := rule0 + "secret.value: must be given again, because an endpoint leads to another scheme, host, port or path than before, or through another proxy, or is asked for another host"
		_, err = update(elsewhere, f.ann, "endpoints.sandbox")
		wantError(t, "UpdateVersion to another backend", err, codes.InvalidArgument, mustBeGiven)
		now, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		path := &catalogv1.Version{Endpoints: &catalogv1.Endpoints{Production: endpoint(now.GetEndpoints().GetProduction()[0].GetUrl() + "/mine")}}
		_, err = update(path, f.ann, "endpoints.production")
		wantError(t, "UpdateVersion to another path", err, codes.InvalidArgument, mustBeGiven)
		host := &catalogv1.Version{BackendOptions: &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_FIXED, FixedHost: "mine.example"}}
		_, err = update(host, f.ann, "backend_options.host", "backend_options.fixed_host")
		wantError(t, "UpdateVersion to another host", err, codes.InvalidArgument, mustBeGiven)
		_, err = f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
			Parent: "apis/" + strings.Split(v.GetName(), "/")[1], SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "3", Endpoints: elsewhere.GetEndpoints()},
		}, f.ann)
		wantError(t, "CreateVersion to another backend", err, codes.InvalidArgument, mustBeGiven)
		_, err = update(&catalogv1.Version{Endpoints: elsewhere.GetEndpoints(), BackendOptions: rules(secretHeader("X-Key", other)).GetBackendOptions()}, f.ann,
			"endpoints.sandbox", "backend_options.headers")
		if err != nil || fmt.Sprint(routed(v)) != "[X-Key="+other+"]" {
			t.Errorf("with the secret given again: %v, gateways get %v", err, routed(v))
		}
		// Nobody is shown it: who may see endpoints least of all.
		for name, who := range map[string]grpc.CallOption{"the owner": f.ann, "an administrator": f.root, "a publisher": f.pete} {
			got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, who)
			if err != nil || strings.Contains(got.String(), "top-secret") {
				t.Errorf("%s is shown %v, %v", name, got, err)
			}
		}
		changes, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog"}, f.root)
		if text := fmt.Sprint(changes); err != nil || strings.Contains(text, "top-secret") || !strings.Contains(text, "backend_options.headers") {
			t.Errorf("the changes are %s, %v, want that the headers changed and no secret", text, err)
		}
		if strings.Contains(f.dump(), "top-secret") {
			t.Error("the database has the secret as it is")
		}
	})
}

// Whether backends get credentials is for publishers to say, and for everybody to see.
// TestPassedOnMessagesArePromised: so has a creator without the role publisher no version pass
// on a first message, with the credential in it.
func TestPassedOnMessagesArePromised(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	update := func(passOn bool, who grpc.CallOption) error {
		place := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: &catalogv1.FirstMessagePlace{Pointer: "/token", PassOn: passOn}}}
		_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Security: []*catalogv1.SecurityScheme{
				{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{place}}}},
			}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"security"}},
		}, who)
		return err
	}
	creator := f.as("ann", identity.RoleCreator)
	if err := update(false, creator); err != nil {
		t.Fatalf("a creator, not passed on: %v", err)
	}
	wantError(t, "a creator", update(true, creator), codes.PermissionDenied, "this needs the role publisher: without it, a first message with a credential cannot be passed on")
	if err := update(true, f.ann); err != nil {
		t.Fatalf("a publisher: %v", err)
	}
	if err := update(true, creator); err != nil {
		t.Errorf("a creator leaves it: %v", err)
	}
	got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann)
	if err != nil || len(got.GetWarnings()) != 1 || !strings.HasPrefix(got.GetWarnings()[0], "security: backends get the first message") {
		t.Errorf("the warnings are %q, %v", got.GetWarnings(), err)
	}
	if err := update(false, creator); err != nil {
		t.Errorf("a creator takes it back: %v", err)
	}
}

func TestPassCredentialIsPromised(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	update := func(pass bool, who grpc.CallOption) error {
		_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), PassCredential: pass}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"pass_credential"}},
		}, who)
		return err
	}
	creator := f.as("ann", identity.RoleCreator)
	wantError(t, "a creator", update(true, creator), codes.PermissionDenied, notPromised)
	if err := update(true, f.ann); err != nil {
		t.Fatalf("a publisher: %v", err)
	}
	f.publish(v)
	got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.sue)
	if err != nil || !got.GetPassCredential() || len(got.GetWarnings()) != 1 || got.GetBackendOptions() != nil {
		t.Errorf("a subscriber sees %v, %v, want that the credential is passed on", got, err)
	}
	if !f.route(v).GetPassCredential() {
		t.Error("gateways are not told")
	}
}

// TestVariablesAreRequired: gateways that do not know variables in endpoints do not serve such
// a version, and those of others are as before. Compression is told to gateways, and required
// of none.
func TestVariablesAreRequired(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	for url, want := range map[string][]string{"ws://backend/{uri.path.1}": {routefeature.Templates}, "ws://backend/a": nil} {
		got, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{
				Name: v.GetName(), Deflate: want != nil,
				Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}},
			}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"endpoints.production", "deflate"}},
		}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		r := f.route(v)
		if diff := cmp.Diff(want, r.GetRequires()); diff != "" || r.GetDeflate() != got.GetDeflate() || got.GetDeflate() != (want != nil) {
			t.Errorf("%s: the route requires (-want +got):\n%s, with compression: %t", url, diff, r.GetDeflate())
		}
	}
}
