package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// deny makes a deny rule.
func (f *fixture) deny(as grpc.CallOption, r *catalogv1.DenyRule) *catalogv1.DenyRule {
	f.t.Helper()
	made, err := f.CreateDenyRule(f.t.Context(), &catalogv1.CreateDenyRuleRequest{DenyRule: r}, as)
	if err != nil {
		f.t.Fatalf("CreateDenyRule(%v): %v", r, err)
	}
	return made
}

// routed is a rule as gateways get it.
func routed(r *catalogv1.DenyRule) *catalogv1.DenyRule {
	return &catalogv1.DenyRule{
		Name: r.GetName(), Api: r.GetApi(), Versions: r.GetVersions(), Application: r.GetApplication(), Subscription: r.GetSubscription(),
		ClientAddress: r.GetClientAddress(), ExpireTime: r.GetExpireTime(),
	}
}

// TestDenyRule takes a rule through its life: what users read, what gateways get, and what
// the audit log says.
func TestDenyRule(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := f.api("Echo")
		v := f.version(a, "1.0.0")
		w := f.watch("gateway-1", "")
		w.snapshot()
		expires := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Microsecond))
		made := f.deny(f.ann, &catalogv1.DenyRule{
			Api: a.GetName(), Versions: []string{v.GetName()}, Application: "applications/x", Subscription: "subscriptions/s",
			ClientAddress: "2001:DB8:0::/32", Reason: "scans us", ExpireTime: expires,
		})
		want := &catalogv1.DenyRule{
			Name: made.GetName(), Api: a.GetName(), Versions: []string{v.GetName()}, Application: "applications/x", Subscription: "subscriptions/s",
			ClientAddress: "2001:db8::/32", Reason: "scans us", ExpireTime: expires, Creator: "users/ann", ApiDisplayName: "Echo",
			CreateTime: made.GetCreateTime(), UpdateTime: made.GetCreateTime(), Etag: "1",
		}
		if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" {
			t.Errorf("CreateDenyRule (-want +got):\n%s", diff)
		}
		got, err := f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: made.GetName()}, f.ann)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("GetDenyRule: %v (-want +got):\n%s", err, diff)
		}
		event := func() *backplanev1.RouteEvent {
			t.Helper()
			change := w.next().GetChange()
			w.ack(change.GetPosition().GetChangeNumber())
			return change.GetEvent()
		}
		wantEvent := func(want *backplanev1.RouteEvent) {
			t.Helper()
			if diff := cmp.Diff(want, event(), protocmp.Transform()); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		}
		wantEvent(&backplanev1.RouteEvent{DenyRules: []*catalogv1.DenyRule{routed(made)}})

		changed, err := f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{
			DenyRule: &catalogv1.DenyRule{Name: made.GetName(), ClientAddress: "::ffff:203.0.113.7", Etag: "1"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"client_address", "versions", "expire_time"}},
		}, f.ann)
		if err != nil || changed.GetClientAddress() != "203.0.113.7" || changed.GetVersions() != nil || changed.GetExpireTime() != nil || changed.GetReason() != "scans us" || changed.GetEtag() != "2" {
			t.Errorf("UpdateDenyRule = %v, %v", changed, err)
		}
		wantEvent(&backplanev1.RouteEvent{DenyRules: []*catalogv1.DenyRule{routed(changed)}})
		// What only users read is nothing to gateways.
		changed, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: made.GetName(), Reason: "no more"}}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		wantEvent(nil)

		next := f.watch("gateway-2", "")
		if all, _ := next.snapshot(); len(all.GetDenyRules()) != 1 || !proto.Equal(all.GetDenyRules()[0], routed(changed)) {
			t.Errorf("a snapshot has the rules %v, want %v", all.GetDenyRules(), routed(changed))
		}
		_, err = f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: made.GetName(), Etag: "1"}, f.ann)
		wantError(t, "DeleteDenyRule with an old etag", err, codes.Aborted, "etag: somebody else changed it first, read it again")
		if _, err = f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: made.GetName(), Etag: "3"}, f.ann); err != nil {
			t.Fatal(err)
		}
		wantEvent(&backplanev1.RouteEvent{RemovedDenyRules: []string{made.GetName()}})
		_, err = f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: made.GetName()}, f.ann)
		wantError(t, "GetDenyRule of a deleted one", err, codes.NotFound, made.GetName()+" not found")

		log, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog", Filter: fmt.Sprintf("resource = %q", made.GetName())}, f.root)
		var actions []string
		for _, c := range log.GetChanges() {
			actions = append(actions, c.GetAction()+" "+c.GetResourceDisplayName())
		}
		slices.Sort(actions)
		wantActions := []string{
			"CreateDenyRule Echo + applications/x + subscriptions/s + 2001:db8::/32", "DeleteDenyRule Echo + applications/x + subscriptions/s + 203.0.113.7",
			"UpdateDenyRule Echo + applications/x + subscriptions/s + 203.0.113.7", "UpdateDenyRule Echo + applications/x + subscriptions/s + 203.0.113.7",
		}
		if err != nil || !slices.Equal(actions, wantActions) {
			t.Errorf("the audit log has %q, %v, want %q", actions, err, wantActions)
		}
	})
}

// TestWhoDenies: administrators deny everything, owners with the role publisher what comes
// to their APIs; what an administrator denies, no owner lets in; nobody else sees a rule.
func TestWhoDenies(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	echo := f.api("Echo")
	f.publish(f.version(echo, "1.0.0"))
	bobs, err := f.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Bob", Context: "/bob"}}, f.bob)
	if err != nil {
		t.Fatal(err)
	}
	create := func(as grpc.CallOption, r *catalogv1.DenyRule) error {
		_, err := f.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: r}, as)
		return err
	}
	const everywhere = "a deny rule without an API takes an administrator: name an API of yours"
	for what, tt := range map[string]struct {
		err     error
		message string
		code    codes.Code
	}{
		"ann everywhere":         {create(f.ann, &catalogv1.DenyRule{ClientAddress: "203.0.113.7"}), everywhere, codes.PermissionDenied},
		"ann an application":     {create(f.ann, &catalogv1.DenyRule{Application: "applications/x"}), everywhere, codes.PermissionDenied},
		"pete at ann's":          {create(f.pete, &catalogv1.DenyRule{Api: echo.GetName()}), "only its owner and administrators may do this", codes.PermissionDenied},
		"bob without the role":   {create(f.bob, &catalogv1.DenyRule{Api: bobs.GetName()}), "this needs the role publisher", codes.PermissionDenied},
		"sue at what she cannot": {create(f.sue, &catalogv1.DenyRule{Api: bobs.GetName()}), bobs.GetName() + " not found", codes.NotFound},
	} {
		wantError(t, "CreateDenyRule: "+what, tt.err, tt.code, tt.message)
	}
	own := f.deny(f.ann, &catalogv1.DenyRule{Api: echo.GetName(), ClientAddress: "203.0.113.7"})
	roots := f.deny(f.root, &catalogv1.DenyRule{Api: echo.GetName(), Application: "applications/x"})
	all := f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "198.51.100.0/24"})
	if own.GetAdministrative() || !roots.GetAdministrative() || !all.GetAdministrative() {
		t.Errorf("administrative: %v %v %v, want those of root alone", own.GetAdministrative(), roots.GetAdministrative(), all.GetAdministrative())
	}
	for who, want := range map[*grpc.CallOption][]*catalogv1.DenyRule{
		&f.root: {own, roots, all}, &f.ann: {own, roots}, &f.bob: nil, &f.pete: nil, &f.sue: nil,
	} {
		list, err := f.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{}, *who)
		if err != nil || !slices.Equal(names(list.GetDenyRules()), names(want)) {
			t.Errorf("a user lists %v, %v, want %v", names(list.GetDenyRules()), err, names(want))
		}
	}
	const ofRoot = "an administrator made or changed this deny rule: only administrators change or delete it"
	update := func(as grpc.CallOption, r *catalogv1.DenyRule) error {
		_, err := f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: r}, as)
		return err
	}
	remove := func(as grpc.CallOption, name string) error {
		_, err := f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: name}, as)
		return err
	}
	wantError(t, "UpdateDenyRule of root's", update(f.ann, &catalogv1.DenyRule{Name: roots.GetName(), Reason: "x"}), codes.PermissionDenied, ofRoot)
	wantError(t, "DeleteDenyRule of root's", remove(f.ann, roots.GetName()), codes.PermissionDenied, ofRoot)
	wantError(t, "UpdateDenyRule of all", update(f.ann, &catalogv1.DenyRule{Name: all.GetName(), Reason: "x"}), codes.NotFound, all.GetName()+" not found")
	wantError(t, "DeleteDenyRule by another", remove(f.pete, own.GetName()), codes.NotFound, own.GetName()+" not found")
	_, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{
		DenyRule: &catalogv1.DenyRule{Name: own.GetName()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"api"}},
	}, f.ann)
	wantError(t, "UpdateDenyRule to everywhere", err, codes.PermissionDenied, everywhere)
	wantError(t, "UpdateDenyRule to another's API", update(f.ann, &catalogv1.DenyRule{Name: own.GetName(), Api: bobs.GetName()}),
		codes.NotFound, bobs.GetName()+" not found")
	if err := update(f.root, &catalogv1.DenyRule{Name: own.GetName(), Reason: "x"}); err != nil {
		t.Errorf("UpdateDenyRule by root: %v", err)
	}
	if err := remove(f.ann, own.GetName()); err != nil {
		t.Errorf("DeleteDenyRule by its owner: %v", err)
	}
}

// TestDenyRuleRefusals: what is wrong with a rule is said, and makes nothing.
func TestDenyRuleRefusals(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1.0.0")
	before := f.dump()
	past := timestamppb.New(time.Now().Add(-time.Second))
	for want, r := range map[string]*catalogv1.DenyRule{
		"deny_rule: must have a condition: api, application, subscription or client_address":                                                                  {Reason: "x"},
		"deny_rule.client_address: must be an IP address or a network such as 203.0.113.0/24: \"example.com\" is not a network such as 10.0.0.0/8":            {ClientAddress: "example.com"},
		"deny_rule.client_address: must be an IP address or a network such as 203.0.113.0/24: \"10.1.0.0/8\" has bits beyond its length: 10.0.0.0/8 is meant": {ClientAddress: "10.1.0.0/8"},
		"deny_rule.client_address: must be an IP address or a network such as 203.0.113.0/24: \"fe80::1%eth0\" is not a network such as 10.0.0.0/8":           {ClientAddress: "fe80::1%eth0"},
		"deny_rule.client_address: must be an IP address or a network such as 203.0.113.0/24: \"::ffff:0:0/95\" is not a network such as 10.0.0.0/8":          {ClientAddress: "::ffff:0:0/95"},
		"deny_rule.client_address: must be at most 49 characters":                                                                                             {ClientAddress: strings.Repeat("1", 50)},
		"deny_rule.reason: must be at most 500 characters":                                                                                                    {ClientAddress: "10.0.0.1", Reason: strings.Repeat("x", 501)},
		"deny_rule.expire_time: must be in the future":                                                                                                        {ClientAddress: "10.0.0.1", ExpireTime: past},
		"deny_rule.expire_time: must be a time before the year 10000":                                                                                         {ClientAddress: "10.0.0.1", ExpireTime: &timestamppb.Timestamp{Seconds: 1 << 40}},
		"deny_rule.versions[0]: must be a version of the rule's api":                                                                                          {ClientAddress: "10.0.0.1", Versions: []string{v.GetName()}},
		"deny_rule.versions[1]: must be a version of the API":                                                                                                 {Api: a.GetName(), Versions: []string{v.GetName(), a.GetName() + "/versions/other"}},
		"deny_rule.api: must be apis/{api}":                                                                                                                   {Api: "echo"},
		"deny_rule.application: must be applications/{application}":                                                                                           {Application: "app"},
		"deny_rule.subscription: must be subscriptions/{subscription}":                                                                                        {Subscription: "sub"},
	} {
		_, err := f.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: r}, f.root)
		wantError(t, fmt.Sprintf("CreateDenyRule(%v)", r), err, codes.InvalidArgument, want)
	}
	_, err := f.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: "apis/other"}}, f.root)
	wantError(t, "CreateDenyRule for an API that there is not", err, codes.NotFound, "apis/other not found")
	for want, filter := range map[string]string{
		`filter: no field "reason": there are api, application, subscription, creator, client_address`: `reason = "x"`,
		`filter: api must be apis/{api}`: `api = "echo"`,
		`filter: client_address must be an IP address or a network such as 203.0.113.0/24: "here" is not a network such as 10.0.0.0/8`: `client_address = "here"`,
	} {
		_, err := f.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{Filter: filter}, f.root)
		wantError(t, "ListDenyRules "+filter, err, codes.InvalidArgument, want)
	}
	if after := f.dump(); after != before {
		t.Errorf("refused rules left something behind:\n%s\nbefore:\n%s", after, before)
	}
	// The expiry of a rule that has just expired may stay what it is.
	r := f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "10.0.0.1", ExpireTime: timestamppb.New(time.Now().Add(time.Hour))})
	if _, err := f.db.ExecContext(ctx, `UPDATE deny_rule SET expires_at = 1`); err != nil {
		t.Fatal(err)
	}
	r, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: r.GetName(), Reason: "x"}}, f.root)
	if err != nil || r.GetExpireTime().AsTime().UnixMicro() != 1 {
		t.Errorf("UpdateDenyRule of an expired one = %v, %v", r, err)
	}
}

// TestListDenyRules filters, orders and turns pages. An address finds the networks around it.
func TestListDenyRules(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := f.api("Echo")
		rules := map[string]*catalogv1.DenyRule{
			"host": {ClientAddress: "203.0.113.7"}, "net": {ClientAddress: "203.0.113.0/24"}, "all": {ClientAddress: "0.0.0.0/0"},
			"six": {ClientAddress: "2001:db8::/32"}, "api": {Api: a.GetName(), Application: "applications/x"}, "sub": {Subscription: "subscriptions/s"},
		}
		labels := map[string]string{}
		var inOrder []string
		for _, label := range []string{"host", "net", "all", "six", "api", "sub"} {
			as := f.root
			if label == "api" {
				as = f.ann
			}
			labels[f.deny(as, rules[label]).GetName()] = label
			inOrder = append(inOrder, label)
		}
		list := func(req *catalogv1.ListDenyRulesRequest) (found []string, next string) {
			t.Helper()
			resp, err := f.ListDenyRules(ctx, req, f.root)
			if err != nil {
				t.Fatalf("ListDenyRules(%v): %v", req, err)
			}
			for _, r := range resp.GetDenyRules() {
				found = append(found, labels[r.GetName()])
			}
			return found, resp.GetNextPageToken()
		}
		for filter, want := range map[string][]string{
			"":                                                         inOrder,
			`client_address = "203.0.113.7"`:                           {"host", "net", "all"},
			`client_address = "::ffff:203.0.113.9"`:                    {"net", "all"},
			`client_address = "203.0.113.0/25"`:                        {"net", "all"},
			`client_address = "2001:db8:1::1"`:                         {"six"},
			`client_address = "2001:db9::1"`:                           nil,
			`api = "` + a.GetName() + `"`:                              {"api"},
			`application = "applications/x"`:                           {"api"},
			`subscription = "subscriptions/s"`:                         {"sub"},
			`creator = "users/ann"`:                                    {"api"},
			`creator = "users/me" AND client_address = "198.51.100.1"`: {"all"},
		} {
			if got, _ := list(&catalogv1.ListDenyRulesRequest{Filter: filter}); !slices.Equal(got, want) {
				t.Errorf("ListDenyRules(%s) = %v, want %v", filter, got, want)
			}
		}
		newest := slices.Clone(inOrder)
		slices.Reverse(newest)
		if got, _ := list(&catalogv1.ListDenyRulesRequest{OrderBy: "create_time desc"}); !slices.Equal(got, newest) {
			t.Errorf("the newest first: %v, want %v", got, newest)
		}
		first, token := list(&catalogv1.ListDenyRulesRequest{PageSize: 4})
		second, end := list(&catalogv1.ListDenyRulesRequest{PageSize: 4, PageToken: token})
		if got := append(first, second...); !slices.Equal(got, inOrder) || end != "" {
			t.Errorf("pages have %v, then the token %q, want %v and none", got, end, inOrder)
		}
	})
}

// TestDenyRuleAgain sends a creation again: it makes nothing.
func TestDenyRuleAgain(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	req := &catalogv1.CreateDenyRuleRequest{RequestId: "0f5f3a52-51fe-4d0a-9f0b-6f3c1b1d2e3f", DenyRule: &catalogv1.DenyRule{ClientAddress: "10.0.0.1"}}
	var first, second metadata.MD
	made, err := f.CreateDenyRule(ctx, req, f.root, grpc.Header(&first))
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.CreateDenyRule(ctx, req, f.root, grpc.Header(&second))
	if err != nil || !proto.Equal(again, made) || number(t, first) != number(t, second) {
		t.Errorf("CreateDenyRule again = %v, %v, want %v", again, err, made)
	}
	req.DenyRule.Reason = "other"
	_, err = f.CreateDenyRule(ctx, req, f.root)
	wantError(t, "CreateDenyRule of something else", err, codes.InvalidArgument,
		"request_id: was sent with another request within the last hour: must be a new UUID")
}

// TestRulesGoWithTheirAPI: an administrator deletes an API with its rules, and gateways are told so. A
// version that is deleted leaves a rule that names it alone, which then denies nothing else.
func TestRulesGoWithTheirAPI(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a, other := f.api("Echo"), f.api("Other")
	v := f.version(a, "1.0.0")
	one := f.deny(f.ann, &catalogv1.DenyRule{Api: a.GetName(), Versions: []string{v.GetName()}})
	two := f.deny(f.root, &catalogv1.DenyRule{Api: a.GetName(), ClientAddress: "10.0.0.1"})
	stays := f.deny(f.ann, &catalogv1.DenyRule{Api: other.GetName()})
	if _, err := f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName()}, f.ann); err != nil {
		t.Fatal(err)
	}
	one, err := f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: one.GetName(), Reason: "x"}}, f.ann)
	if err != nil || !slices.Equal(one.GetVersions(), []string{v.GetName()}) {
		t.Errorf("UpdateDenyRule of one with a deleted version = %v, %v", one, err)
	}
	w := f.watch("gateway-1", "")
	w.snapshot()
	if _, err := f.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: a.GetName()}, f.root); err != nil {
		t.Fatal(err)
	}
	gone := w.next().GetChange().GetEvent().GetRemovedDenyRules()
	if slices.Sort(gone); !slices.Equal(gone, names([]*catalogv1.DenyRule{one, two})) {
		t.Errorf("gateways are told that %v are gone, want %v and %v", gone, one.GetName(), two.GetName())
	}
	list, err := f.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{}, f.root)
	if err != nil || !slices.Equal(names(list.GetDenyRules()), []string{stays.GetName()}) {
		t.Errorf("there are %v, %v, want %s", names(list.GetDenyRules()), err, stays.GetName())
	}
}

// TestExpiredRulesAreDeleted: what has expired is deleted by the catalog itself, and nothing
// else.
func TestExpiredRulesAreDeleted(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		soon := time.Now().Add(time.Minute)
		old := f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "10.0.0.1", ExpireTime: timestamppb.New(soon)})
		later := f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "10.0.0.2", ExpireTime: timestamppb.New(soon.Add(time.Minute))})
		never := f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "10.0.0.3"})
		w := f.watch("gateway-1", "")
		w.snapshot()
		if n, err := f.store.DeleteExpiredDenyRules(ctx, soon.Add(-time.Second)); n != 0 || err != nil {
			t.Errorf("before its time %d rules were deleted, %v", n, err)
		}
		if n, err := f.store.DeleteExpiredDenyRules(ctx, soon.Add(time.Second)); n != 1 || err != nil {
			t.Errorf("%d rules were deleted, %v, want one", n, err)
		}
		if gone := w.next().GetChange().GetEvent().GetRemovedDenyRules(); !slices.Equal(gone, []string{old.GetName()}) {
			t.Errorf("gateways are told that %v are gone, want %s", gone, old.GetName())
		}
		list, err := f.ListDenyRules(ctx, &catalogv1.ListDenyRulesRequest{}, f.root)
		if want := names([]*catalogv1.DenyRule{later, never}); err != nil || !slices.Equal(names(list.GetDenyRules()), want) {
			t.Errorf("there are %v, %v, want %v", names(list.GetDenyRules()), err, want)
		}
		log, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog", PageSize: 1, Filter: `action = "ExpireDenyRule"`}, f.root)
		if err != nil || len(log.GetChanges()) != 1 || log.GetChanges()[0].GetActor() != "services/catalog" {
			t.Errorf("the audit log has %v, %v, want that the catalog did it", log.GetChanges(), err)
		}
	})
}

// fillDenyRules adds n rules of an API, or of none, in the database.
func (f *fixture) fillDenyRules(api string, administrative bool, n int) {
	f.t.Helper()
	err := f.db.InTx(f.t.Context(), func(tx *sqldb.Tx) error {
		for i := range n {
			_, err := tx.ExecContext(f.t.Context(), `
				INSERT INTO deny_rule (id, api_id, versions, application, subscription, client_address, reason, expires_at,
					creator, administrative, etag, created_at, updated_at)
				VALUES ($1, $2, '[]', '', '', '10.0.0.1', '', 0, 'ann', $3, 1, 1, 1)`,
				fmt.Sprintf("%s-%v-%d", api, administrative, i), strings.TrimPrefix(api, "apis/"), administrative)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestDenyRulesAreBounded: a publisher has so many rules, and takes nobody else's.
func TestDenyRulesAreBounded(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := f.api("Echo")
		f.fillDenyRules(a.GetName(), false, 999)
		f.deny(f.ann, &catalogv1.DenyRule{Api: a.GetName()})
		_, err := f.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: a.GetName()}}, f.ann)
		wantError(t, "CreateDenyRule", err, codes.ResourceExhausted,
			"you have 1000 deny rules, as many as a publisher may have: delete one first, or deny a network instead of its addresses")
		if r := fault.Reason(err); r != fault.ReasonTooManyDenyRules {
			t.Errorf("the reason is %s", r)
		}
		f.deny(f.root, &catalogv1.DenyRule{Api: a.GetName()})
		f.fillDenyRules("", true, 9999)
		_, err = f.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: a.GetName()}}, f.root)
		wantError(t, "CreateDenyRule", err, codes.ResourceExhausted,
			"there are 10000 deny rules, as many as there may be: delete one first, or deny a network instead of its addresses")
	})
}
