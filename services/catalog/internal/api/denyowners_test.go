package api

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// TestWhoseDenyRule: what an administrator makes of what a rule denies, its API's owner
// neither changes nor takes away; what the owner and administrators leave as it was stays
// the owner's.
func TestWhoseDenyRule(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		echo, other, roots := f.api("Echo"), f.api("Other"), f.apiOf(f.root, "Roots")
		v := f.version(echo, "1.0.0")
		tomorrow := timestamppb.New(time.Now().Add(24 * time.Hour).Truncate(time.Microsecond))
		stored := &catalogv1.DenyRule{Api: echo.GetName(), ClientAddress: "203.0.113.7", Reason: "scans", ExpireTime: tomorrow}
		for _, tt := range []struct {
			what   string
			by     grpc.CallOption
			change *catalogv1.DenyRule
			paths  []string
			// administrative is what the rule is then.
			administrative bool
		}{
			{"an administrator's address", f.root, &catalogv1.DenyRule{ClientAddress: "203.0.113.0/24"}, nil, true},
			{"an administrator's application", f.root, &catalogv1.DenyRule{Application: "applications/x"}, nil, true},
			{"an administrator's subscription", f.root, &catalogv1.DenyRule{Subscription: "subscriptions/x"}, nil, true},
			{"an administrator's version", f.root, &catalogv1.DenyRule{Versions: []string{v.GetName()}}, nil, true},
			{"an administrator's other API", f.root, &catalogv1.DenyRule{Api: other.GetName()}, nil, true},
			{"an administrator's no API", f.root, &catalogv1.DenyRule{}, []string{"api"}, true},
			{"an administrator's expiry", f.root, &catalogv1.DenyRule{ExpireTime: timestamppb.New(tomorrow.AsTime().Add(time.Hour))}, nil, true},
			{"an administrator's no expiry", f.root, &catalogv1.DenyRule{}, []string{"expire_time"}, true},
			{"an administrator's reason", f.root, &catalogv1.DenyRule{Reason: "other"}, nil, false},
			{"an administrator's same values", f.root, stored, []string{"*"}, false},
			{"an administrator's own API", f.root, &catalogv1.DenyRule{Api: roots.GetName()}, nil, false},
			{"the owner's address", f.ann, &catalogv1.DenyRule{ClientAddress: "203.0.113.0/24"}, nil, false},
			{"the owner's other API", f.ann, &catalogv1.DenyRule{Api: other.GetName()}, nil, false},
		} {
			r := f.deny(f.ann, stored)
			tt.change = proto.CloneOf(tt.change)
			tt.change.Name = r.GetName()
			got, err := f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: tt.change, UpdateMask: &fieldmaskpb.FieldMask{Paths: tt.paths}}, tt.by)
			if err != nil || got.GetAdministrative() != tt.administrative {
				t.Errorf("%s: administrative = %v, %v, want %v", tt.what, got.GetAdministrative(), err, tt.administrative)
				continue
			}
			if !tt.administrative {
				continue
			}
			if got.GetApi() == "" {
				_, err = f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: r.GetName()}, f.ann)
				wantError(t, tt.what+": GetDenyRule", err, codes.NotFound, r.GetName()+" not found")
				continue
			}
			const theirs = "an administrator made or changed this deny rule: only administrators change or delete it"
			_, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: r.GetName(), ClientAddress: "203.0.113.7"}}, f.ann)
			wantError(t, tt.what+": UpdateDenyRule", err, codes.PermissionDenied, theirs)
			_, err = f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: r.GetName()}, f.ann)
			wantError(t, tt.what+": DeleteDenyRule", err, codes.PermissionDenied, theirs)
			// Nor does an administrator give it back by changing it again.
			got, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: r.GetName(), Reason: "again"}}, f.root)
			if err != nil || !got.GetAdministrative() {
				t.Errorf("%s: changed again = %v, %v", tt.what, got, err)
			}
		}
	})
}

// TestDenyRulesThatChangeHandsAreBounded: a rule that comes to an owner, or to the
// administrators, needs a place there; one that stays where it is needs none.
func TestDenyRulesThatChangeHandsAreBounded(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		echo, other, roots := f.api("Echo"), f.api("Other"), f.apiOf(f.root, "Roots")
		const full = "there are 10000 deny rules, as many as there may be: delete one first, or deny a network instead of its addresses"
		const own = "you have 1000 deny rules, as many as a publisher may have: delete one first, or deny a network instead of its addresses"
		r := f.deny(f.ann, &catalogv1.DenyRule{Api: echo.GetName(), ClientAddress: "203.0.113.7"})
		f.fillDenyRules("", true, 10_000)
		f.fillDenyRules(roots.GetName(), false, 1000)
		f.fillDenyRules(echo.GetName(), false, 999)
		update := func(by grpc.CallOption, change *catalogv1.DenyRule) error {
			change.Name = r.GetName()
			_, err := f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: change}, by)
			return err
		}
		err := update(f.root, &catalogv1.DenyRule{ClientAddress: "203.0.113.0/24"})
		wantError(t, "an administrator's change, with no place", err, codes.ResourceExhausted, full)
		if got := fault.Reason(err); got != fault.ReasonTooManyDenyRules {
			t.Errorf("the reason is %s", got)
		}
		wantError(t, "to an own API, with no place", update(f.root, &catalogv1.DenyRule{Api: roots.GetName()}), codes.ResourceExhausted, own)
		got, err := f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: r.GetName()}, f.ann)
		if err != nil || got.GetAdministrative() || got.GetApi() != echo.GetName() || got.GetClientAddress() != "203.0.113.7" || got.GetEtag() != r.GetEtag() {
			t.Errorf("what was refused has made the rule %v, %v", got, err)
		}
		if err := update(f.root, &catalogv1.DenyRule{Reason: "x"}); err != nil {
			t.Errorf("an administrator's reason: %v", err)
		}
		if err := update(f.ann, &catalogv1.DenyRule{Api: other.GetName()}); err != nil {
			t.Errorf("the owner's other API: %v", err)
		}
	})
}

// TestDenyRulesOfAnAPIThatIsGiven: the owner's rules are the new owner's, an administrator's
// stay so, and nobody is given more than half of the rules that a publisher may have, but
// by an administrator.
func TestDenyRulesOfAnAPIThatIsGiven(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		give := func(by grpc.CallOption, a *catalogv1.Api, to string) error {
			_, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: a.GetName(), Owner: to}, by)
			return err
		}
		bob := f.as("bob", "creator", "publisher")
		echo := f.api("Echo")
		mine, theirs := f.deny(f.ann, &catalogv1.DenyRule{Api: echo.GetName()}), f.deny(f.root, &catalogv1.DenyRule{Api: echo.GetName()})
		if err := give(f.ann, echo, "bob"); err != nil {
			t.Fatal(err)
		}
		_, err := f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: mine.GetName()}, f.ann)
		wantError(t, "DeleteDenyRule by the owner of before", err, codes.NotFound, mine.GetName()+" not found")
		_, err = f.DeleteDenyRule(ctx, &catalogv1.DeleteDenyRuleRequest{Name: theirs.GetName()}, bob)
		wantError(t, "DeleteDenyRule of an administrator's", err, codes.PermissionDenied, "an administrator made or changed this deny rule: only administrators change or delete it")
		if _, err = f.UpdateDenyRule(ctx, &catalogv1.UpdateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Name: mine.GetName(), ClientAddress: "10.0.0.1"}}, bob); err != nil {
			t.Errorf("UpdateDenyRule by the new owner: %v", err)
		}

		many, few, none := f.api("Many"), f.api("Few"), f.api("None")
		f.fillDenyRules(many.GetName(), false, 499)
		f.fillDenyRules(many.GetName(), true, 10)
		f.deny(f.ann, &catalogv1.DenyRule{Api: few.GetName()})
		f.deny(f.root, &catalogv1.DenyRule{Api: none.GetName()})
		if err := give(f.ann, many, "bob"); err != nil {
			t.Fatalf("half of the rules: %v", err)
		}
		err = give(f.ann, few, "bob")
		wantError(t, "one more", err, codes.ResourceExhausted,
			"with those of the API the new owner would have 501 deny rules, and may be given no more than 500, half of what a publisher may have: delete some first; an administrator can give more")
		if got := fault.Reason(err); got != fault.ReasonTooManyDenyRules {
			t.Errorf("the reason is %s", got)
		}
		if got, err := f.GetApi(ctx, &catalogv1.GetApiRequest{Name: few.GetName()}, f.ann); err != nil || got.GetOwner() != "users/ann" {
			t.Errorf("after the refusal the API is %v, %v", got, err)
		}
		if err := give(f.ann, none, "bob"); err != nil {
			t.Errorf("an API with rules of administrators alone: %v", err)
		}
		if err := give(f.root, few, "bob"); err != nil {
			t.Errorf("by an administrator: %v", err)
		}
	})
}

// TestAdministrativeRulesOutliveTheirAPI: whom an administrator denies, no owner lets in by
// deleting what the rule names, and making it anew; administrators delete it, and its rules.
func TestAdministrativeRulesOutliveTheirAPI(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		echo, other := f.api("Echo"), f.api("Other")
		first, second := f.version(echo, "1.0.0"), f.version(echo, "2.0.0")
		remove := func(by grpc.CallOption) error {
			_, err := f.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: echo.GetName(), Force: true}, by)
			return err
		}
		removeVersion := func(v *catalogv1.Version, by grpc.CallOption) error {
			_, err := f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName()}, by)
			return err
		}
		own := f.deny(f.ann, &catalogv1.DenyRule{Api: echo.GetName(), Versions: []string{second.GetName()}})
		f.deny(f.root, &catalogv1.DenyRule{Api: other.GetName()})
		f.deny(f.root, &catalogv1.DenyRule{ClientAddress: "203.0.113.7"})
		rule := f.deny(f.root, &catalogv1.DenyRule{Api: echo.GetName(), Versions: []string{first.GetName()}})
		wantError(t, "DeleteApi with a rule for a version", remove(f.ann), codes.FailedPrecondition,
			"an administrator's deny rule names the API: ask an administrator to delete the API, or the rule first")
		whole := f.deny(f.root, &catalogv1.DenyRule{Api: echo.GetName(), ClientAddress: "192.0.2.1"})
		wantError(t, "DeleteApi with two rules", remove(f.ann), codes.FailedPrecondition,
			"2 deny rules of administrators name the API: ask an administrator to delete the API, or the rules first")
		wantError(t, "DeleteVersion", removeVersion(first, f.ann), codes.FailedPrecondition,
			"an administrator's deny rule names the version: ask an administrator to delete the version, or the rule first")
		if err := removeVersion(second, f.ann); err != nil {
			t.Errorf("DeleteVersion of one that no administrator's rule names: %v", err)
		}
		for _, r := range []*catalogv1.DenyRule{own, rule, whole} {
			if _, err := f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: r.GetName()}, f.root); err != nil {
				t.Errorf("after the refusals: %v", err)
			}
		}
		if _, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: echo.GetName(), Owner: "bob"}, f.root); err != nil {
			t.Fatal(err)
		}
		wantError(t, "DeleteApi by the next owner", remove(f.bob), codes.FailedPrecondition,
			"2 deny rules of administrators name the API: ask an administrator to delete the API, or the rules first")
		if err := removeVersion(first, f.root); err != nil {
			t.Errorf("DeleteVersion by an administrator: %v", err)
		}
		if err := remove(f.root); err != nil {
			t.Errorf("DeleteApi by an administrator: %v", err)
		}
		for _, r := range []*catalogv1.DenyRule{own, rule, whole} {
			_, err := f.GetDenyRule(ctx, &catalogv1.GetDenyRuleRequest{Name: r.GetName()}, f.root)
			wantError(t, "GetDenyRule after its API", err, codes.NotFound, r.GetName()+" not found")
		}
		if _, err := f.db.ExecContext(ctx, `UPDATE deny_rule SET expires_at = 1`); err != nil {
			t.Fatal(err)
		}
		if _, err := f.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: other.GetName()}, f.ann); err != nil {
			t.Errorf("DeleteApi with a rule that has expired: %v", err)
		}
	})
}
