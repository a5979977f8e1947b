package resourcename

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// names has a name of each type, and the function that parses it.
func names() map[string]struct {
	name  fmt.Stringer
	parse func(field, name string) (fmt.Stringer, error)
} {
	type row = struct {
		name  fmt.Stringer
		parse func(field, name string) (fmt.Stringer, error)
	}
	return map[string]row{
		apiForm:          {API{"a-1"}, reader(ParseAPI)},
		versionForm:      {Version{"a-1", "v-1"}, reader(ParseVersion)},
		planForm:         {Plan{"p"}, reader(ParsePlan)},
		userForm:         {User{Me}, reader(ParseUser)},
		signInForm:       {SignIn{Me, "s-1"}, reader(ParseSignIn)},
		applicationForm:  {Application{"a"}, reader(ParseApplication)},
		oauthClientForm:  {OAuthClient{"a", "c"}, reader(ParseOAuthClient)},
		secretForm:       {OAuthClientSecret{"a", "c", "s"}, reader(ParseOAuthClientSecret)},
		apiKeyForm:       {APIKey{"a", "k"}, reader(ParseAPIKey)},
		subscriptionForm: {Subscription{"s"}, reader(ParseSubscription)},
		signingKeyForm:   {SigningKey{"7"}, reader(ParseSigningKey)},
		recordForm:       {SessionRecord{"Ref-1"}, reader(ParseSessionRecord)},
		quotaUseForm:     {QuotaUse{"q-1"}, reader(ParseQuotaUse)},
		denyRuleForm:     {DenyRule{"d-1"}, reader(ParseDenyRule)},
		gatewayForm:      {Gateway{Any}, reader(ParseGateway)},
		sessionForm:      {Session{"g", "Ref-1"}, reader(ParseSession)},
		serviceForm:      {Service{"catalog"}, reader(ParseService)},
		changeForm:       {Change{"catalog", 7}, reader(ParseChange)},
	}
}

func reader[N fmt.Stringer](parse func(field, name string) (N, error)) func(field, name string) (fmt.Stringer, error) {
	return func(field, name string) (fmt.Stringer, error) { return parse(field, name) }
}

var variable = regexp.MustCompile(`\{[^}]*\}`)

func TestNames(t *testing.T) {
	for form, row := range names() {
		text := row.name.String()
		if pattern := "^" + variable.ReplaceAllString(form, "[A-Za-z0-9-]+") + "$"; !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%#v.String() = %q, want the form %s", row.name, text, form)
		}
		if got, err := row.parse("name", text); err != nil || got != row.name {
			t.Errorf("parse(%q) = %#v, %v, want %#v", text, got, err, row.name)
		}
		for _, bad := range []string{
			"", "/", text + "/", "/" + text, text + "/x", text + "ä", "x" + text, variable.ReplaceAllString(form, ""),
			text + strings.Repeat("x", 64), strings.ToUpper(text),
		} {
			_, err := row.parse("name", bad)
			if want := "name: must be " + form; err == nil || err.Error() != want {
				t.Errorf("parse(%q) of %s = %v, want %s", bad, form, err, want)
			}
		}
	}
}

// TestGrant tests the one name for which no message declares a pattern.
func TestGrant(t *testing.T) {
	want := Grant{"g-1"}
	if got, err := ParseGrant("name", want.String()); err != nil || got != want {
		t.Errorf("ParseGrant(%q) = %v, %v, want it", want, got, err)
	}
	if _, err := ParseGrant("grants[0].name", "grants/a/b"); err == nil || err.Error() != "grants[0].name: must be grants/{grant}" {
		t.Errorf("ParseGrant(grants/a/b) = %v, want what it must be", err)
	}
}

// TestFormsAreThoseOfTheProtos holds the table to the patterns that messages
// declare: each that has a type here has the same form.
func TestFormsAreThoseOfTheProtos(t *testing.T) {
	var declared []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			r, ok := proto.GetExtension(file.Messages().Get(i).Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
			if ok && r != nil {
				declared = append(declared, r.GetPattern()...)
			}
		}
		return true
	})
	for form := range names() {
		if form == serviceForm { // no message is a service
			continue
		}
		if !slices.Contains(declared, form) {
			t.Errorf("no message has the pattern %s; there are %q", form, declared)
		}
	}
}

// TestRulesAdmitWhatIsParsed gives each field of each message that has a rule for
// names the names that it must admit and those that it must refuse.
func TestRulesAdmitWhatIsParsed(t *testing.T) {
	for _, tt := range []struct {
		message, field string
		form           string
	}{
		{"tidegate.catalog.v1.GetApiRequest", "name", apiForm},
		{"tidegate.catalog.v1.GetVersionRequest", "name", versionForm},
		{"tidegate.catalog.v1.GetPlanRequest", "name", planForm},
		{"tidegate.identity.v1.GetUserRequest", "name", userForm},
		{"tidegate.identity.v1.GetSignInRequest", "name", signInForm},
		{"tidegate.subscription.v1.GetApplicationRequest", "name", applicationForm},
		{"tidegate.subscription.v1.GetOAuthClientRequest", "name", oauthClientForm},
		{"tidegate.subscription.v1.GetOAuthClientSecretRequest", "name", secretForm},
		{"tidegate.subscription.v1.GetSubscriptionRequest", "name", subscriptionForm},
		{"tidegate.usage.v1.GetSessionRecordRequest", "name", recordForm},
		{"tidegate.usage.v1.ResetQuotaRequest", "name", quotaUseForm},
		{"tidegate.change.v1.ListChangesRequest", "parent", serviceForm},
		{"tidegate.change.v1.GetChangeRequest", "name", changeForm},
	} {
		desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(tt.message))
		if err != nil {
			t.Fatal(err)
		}
		row := names()[tt.form]
		good := row.name.String()
		for _, name := range []string{good, good + "/", good + "ä", good + strings.Repeat("x", 64), "", strings.ToUpper(good)} {
			m := dynamicpb.NewMessage(desc.(protoreflect.MessageDescriptor))
			m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(tt.field)), protoreflect.ValueOfString(name))
			_, parsed := row.parse("name", name)
			if ruled := protovalidate.Validate(m); (ruled == nil) != (parsed == nil) {
				t.Errorf("%s with %q: the rule says %v, the table %v", tt.message, name, ruled, parsed)
			}
		}
	}
}
