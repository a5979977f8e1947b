package web_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/console"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// answers are services that know every name, and have so many rows of whatever is listed.
// All fields are set, strings that are no names to the texts of the test; whoever signs in
// has all roles. It is not safe for concurrent use.
type answers struct {
	rows int
	// text is that of a field in a row.
	text func(field protoreflect.FieldDescriptor, row int) string
	// fails is what every call but a sign-in answers, if it is not nil.
	fails error
	// calls are the methods that were called.
	calls []string
}

// Invoke answers a call.
func (a *answers) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	a.calls = append(a.calls, method)
	if a.fails != nil && !strings.HasSuffix(method, "/SignIn") {
		return a.fails
	}
	if len(a.calls) > 1000 {
		return errors.New("a page does not end asking")
	}
	to, ok1 := reply.(proto.Message)
	from, ok2 := args.(proto.Message)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s is no call", method)
	}
	m := to.ProtoReflect()
	fields := m.Descriptor().Fields()
	named, _ := stringsOf(from, "names")
	for i := range fields.Len() {
		f := fields.Get(i)
		if !f.IsList() || f.Message() == nil {
			a.fill(m, f, 0)
			continue
		}
		list, n := m.Mutable(f).List(), a.rows
		switch {
		case named != nil:
			n = len(named)
		case f.Message().Name() == "OAuthClient":
			n = min(n, 2) // one for each stage
		}
		for row := range n {
			one := list.AppendMutable().Message()
			a.fillAll(one, row)
			if name := one.Descriptor().Fields().ByName("name"); name != nil && named != nil {
				one.Set(name, protoreflect.ValueOfString(named[row]))
			}
		}
	}
	if r, ok := to.(*identityv1.SignInResponse); ok {
		r.User.Name = "users/" + id(1<<20) // who is none of those in rows
	}
	if method == "/tidegate.gateway.v1.SessionService/CountSessions" {
		m.Clear(fields.ByName("unreachable")) // or no page shows a number
	}
	return nil
}

// NewStream is for nothing that pages ask.
func (a *answers) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("pages read no streams")
}

// stringsOf returns the value of a list of strings in a message.
func stringsOf(of proto.Message, field protoreflect.Name) (all []string, ok bool) {
	f := of.ProtoReflect().Descriptor().Fields().ByName(field)
	if f == nil || !f.IsList() || f.Kind() != protoreflect.StringKind {
		return nil, false
	}
	list := of.ProtoReflect().Get(f).List()
	for i := range list.Len() {
		all = append(all, list.Get(i).String())
	}
	return all, true
}

// fillAll sets all fields of a message; of a oneof another one from row to row.
func (a *answers) fillAll(m protoreflect.Message, row int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if of := f.ContainingOneof(); of != nil && !of.IsSynthetic() {
			chosen := of.Fields().Get(row % of.Fields().Len())
			if of.Fields().ByName("oauth2") != nil {
				chosen = of.Fields().ByName("oauth2") // whose tokens the pages are about
			}
			if chosen != f {
				continue
			}
		}
		a.fill(m, f, row)
	}
}

// fill sets one field. Lists in a row have two entries.
func (a *answers) fill(m protoreflect.Message, f protoreflect.FieldDescriptor, row int) {
	switch {
	case f.IsMap():
	case f.IsList():
		for i := range 2 {
			if list := m.Mutable(f).List(); f.Message() != nil {
				a.fillAll(list.AppendMutable().Message(), i)
			} else {
				list.Append(a.value(f, 2*row+i))
			}
		}
	case f.Message() == nil:
		m.Set(f, a.value(f, row))
	default:
		now := time.Now()
		switch into := m.Mutable(f).Message(); one := into.Interface().(type) {
		case *timestamppb.Timestamp:
			if strings.Contains(string(f.Name()), "expire") {
				now = now.Add(2 * time.Hour)
			}
			one.Seconds = now.Add(-time.Duration(row) * time.Minute).Unix()
		case *durationpb.Duration:
			one.Seconds = int64(60 * (row + 1))
		default:
			a.fillAll(into, row)
		}
	}
}

// value returns the value of a field that is no message.
func (a *answers) value(f protoreflect.FieldDescriptor, row int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		if name := nameOf(f, row); name != "" {
			return protoreflect.ValueOfString(name)
		}
		return protoreflect.ValueOfString(a.text(f, row))
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		for _, name := range []protoreflect.Name{"STATE_PUBLISHED", "POLICY_APPROVAL"} {
			if v := values.ByName(name); v != nil {
				return protoreflect.ValueOfEnum(v.Number())
			}
		}
		return protoreflect.ValueOfEnum(values.Get(1 + row%(values.Len()-1)).Number())
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(row%2 == 1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(1000 + 37*row))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(1000 + 7919*row))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(1000 + row))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(1000 + 7919*row))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	default:
		return f.Default()
	}
}

// id is that of whatever is in a row.
func id(row int) string { return fmt.Sprintf("%08x-5b1c-4e4d-9c3a-%012x", row*2654435761%(1<<32), row) }

// variable is one in the pattern of a resource name, or of a route.
var variable = regexp.MustCompile(`\{[^}]*\}`)

// names are the patterns of fields that name other resources, where the field's name
// alone says of which kind; in messages of the catalog "version" is none.
var names = map[protoreflect.Name]string{
	"version": "apis/{}/versions/{}", "default_version": "apis/{}/versions/{}", "api": "apis/{}", "application": "applications/{}",
	"subscription": "subscriptions/{}", "plan": "plans/{}", "plans": "plans/{}", "application_plan": "plans/{}", "traffic_plan": "plans/{}",
	"owner": "users/{}", "application_owner": "users/{}", "user": "users/{}", "session": "gateways/{}/sessions/{}", "unreachable": "gateways/{}",
}

// nameOf returns a resource name for a field that has one, or "".
func nameOf(f protoreflect.FieldDescriptor, row int) string {
	pattern := names[f.Name()]
	message, _ := f.Parent().(protoreflect.MessageDescriptor)
	switch {
	case f.FullName() == "tidegate.catalog.v1.Version.version":
		return ""
	case f.FullName() == "tidegate.catalog.v1.Limit.name": // which is in addresses
		return id(row)
	case f.FullName() == "tidegate.identity.v1.SignInResponse.access_token":
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":33000000000,"sid":"s"}`)) + ".e30"
	case f.Name() == "name" && message != nil:
		resource, _ := proto.GetExtension(message.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
		for _, p := range resource.GetPattern() {
			pattern = p
		}
	}
	return variable.ReplaceAllStringFunc(pattern, func(v string) string {
		switch v {
		case "{service}":
			return "catalog"
		case "{change_number}":
			return fmt.Sprint(1000 + row)
		}
		return id(row)
	})
}

// pagePath is a route's address, of what is in the first row.
func pagePath(route ui.Route) string {
	if route.Pattern == "/signin" {
		return "/signin?to=/account" // else it leads on whoever has signed in
	}
	return variable.ReplaceAllStringFunc(route.Pattern, func(v string) string {
		switch v {
		case "{$}":
			return ""
		case "{service}":
			return "catalog"
		case "{number}":
			return "1000"
		}
		return id(0)
	})
}

// visitor is who has signed in to pages that are served from answers.
type visitor struct {
	t       testing.TB
	pages   http.Handler
	cookies map[string]string
}

// visit serves the pages from answers to somebody who has signed in.
func visit(t testing.TB, a *answers) *visitor {
	t.Helper()
	v := visitPages(t, ui.NewServices(a, a, a), slog.New(slog.DiscardHandler))
	if p := v.do(http.MethodPost, "/signin", url.Values{"username": {"ann"}, "password": {"p"}}); p.Status != http.StatusSeeOther {
		t.Fatalf("signing in = %d:\n%s", p.Status, p.Text())
	}
	return v
}

// visitPages serves pages over services to somebody who has not signed in.
func visitPages(t testing.TB, services *ui.Services, log *slog.Logger) *visitor {
	t.Helper()
	key := seal.New()
	pages, err := web.NewPages(web.PagesConfig{
		Services: services, Key: key, Log: log, Authority: "ca.pem",
		Console: console.New(console.Config{Services: services, Key: key, Log: log, Now: time.Now}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, pages: pages, cookies: map[string]string{}}
}

// do sends a request, with headers as names and values in turn, and returns the answer as
// a page.
func (v *visitor) do(method, path string, form url.Values, headers ...string) *webtest.Page {
	v.t.Helper()
	resp, to := v.serve(method, path, form, headers...) //nolint:bodyclose // it is a recorder's
	for _, c := range resp.Cookies() {
		if v.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	p, err := webtest.ParsePage(resp, to)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	return p
}

// serve has the pages answer a request.
func (v *visitor) serve(method, path string, form url.Values, headers ...string) (*http.Response, *url.URL) {
	r := httptest.NewRequestWithContext(v.t.Context(), method, "https://portal.test"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.pages.ServeHTTP(w, r)
	return w.Result(), r.URL
}

// open shows a page.
func (v *visitor) open(path string) *webtest.Page {
	v.t.Helper()
	return v.do(http.MethodGet, path, nil)
}

// routesOf are the routes with a method; what answers no pages is not among them.
func routesOf(method string) []ui.Route {
	return slices.DeleteFunc(web.Routes(), func(r ui.Route) bool {
		return !slices.Contains(strings.Fields(r.Method), method) || method == http.MethodGet && r.Template == nil
	})
}
