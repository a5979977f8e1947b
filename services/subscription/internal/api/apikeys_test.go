package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// apiKey makes an API key of an application, changed by edit.
func (w *world) apiKey(ctx context.Context, app string, edit func(*subscriptionv1.APIKey)) *subscriptionv1.APIKey {
	w.t.Helper()
	key := &subscriptionv1.APIKey{DisplayName: "web", Stage: catalogv1.Stage_STAGE_PRODUCTION}
	if edit != nil {
		edit(key)
	}
	made, err := w.keys.CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{Parent: app, ApiKey: key})
	w.must(err)
	return made
}

// rotate gives a key another value, and returns it.
func (w *world) rotate(name string, overlap time.Duration) string {
	w.t.Helper()
	key, err := w.keys.RotateAPIKey(w.root, &subscriptionv1.RotateAPIKeyRequest{Name: name, Overlap: durationpb.New(overlap)})
	w.must(err)
	return key.GetKey()
}

// verifyKey judges an API key, as the gateway does.
func (w *world) verifyKey(credential, version string) *backplanev1.VerifyCredentialResponse {
	w.t.Helper()
	resp, err := w.gateway.tokens.VerifyCredential(w.t.Context(), &backplanev1.VerifyCredentialRequest{
		Credential: credential, Version: version, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY,
	})
	w.must(err)
	return resp
}

// lastEvent returns what the newest change does to grants.
func (w *world) lastEvent() *backplanev1.GrantEvent {
	w.t.Helper()
	var text []byte
	w.must(w.db.QueryRowContext(w.t.Context(), `SELECT events FROM change WHERE number = $1`, int64(w.head())).Scan(&text))
	e := &backplanev1.GrantEvent{}
	found, err := watch.DecodeEvent(text, e)
	w.must(err)
	if !found {
		return nil
	}
	return e
}

// TestAPIKeyLifecycle makes a key, reads it, changes it, rotates it and deletes it: its
// value is in two answers and nowhere else, and each change says what it does to grants.
func TestAPIKeyLifecycle(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		app := w.application(w.ann, "Chat").GetName()
		made := w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) {
			k.Stage = catalogv1.Stage_STAGE_SANDBOX
			k.ExpireTime = timestamppb.New(w.now().Add(time.Hour))
			k.PermittedAddresses = []string{"192.0.2.1", "2001:DB8::/48"}
			k.PermittedReferers = []string{"HTTPS://Shop.example.com:443/App/*", "*.example.com"}
		})
		if _, ok := apikey.Declared().Of(made.GetKey()); !ok || !strings.HasPrefix(made.GetKey(), "tgak_") {
			t.Errorf("the value %q is no API key of ours", made.GetKey())
		}
		want := &subscriptionv1.APIKey{
			Name: made.GetName(), DisplayName: "web", Stage: catalogv1.Stage_STAGE_SANDBOX, Etag: "1",
			PermittedAddresses: []string{"192.0.2.1", "2001:db8::/48"}, PermittedReferers: []string{"https://shop.example.com/App/*", "*.example.com"},
			ExpireTime: timestamppb.New(w.now().Add(time.Hour)), CreateTime: timestamppb.New(w.now()), UpdateTime: timestamppb.New(w.now()),
		}
		value := made.GetKey()
		made.Key = ""
		got, err := w.keys.GetAPIKey(w.ann, &subscriptionv1.GetAPIKeyRequest{Name: made.GetName()})
		w.must(err)
		for what, key := range map[string]*subscriptionv1.APIKey{"created": made, "read": got} {
			if diff := cmp.Diff(want, key, protocmp.Transform()); diff != "" {
				t.Errorf("the key that was %s (-want +got):\n%s", what, diff)
			}
		}

		w.add(time.Minute)
		update := func(key *subscriptionv1.APIKey, paths ...string) *subscriptionv1.APIKey {
			key.Name = made.GetName()
			out, err := w.keys.UpdateAPIKey(w.ann, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: key, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
			w.must(err)
			return out
		}
		renamed := update(&subscriptionv1.APIKey{DisplayName: "shop"})
		if renamed.GetDisplayName() != "shop" || len(renamed.GetPermittedAddresses()) != 2 || renamed.GetKey() != "" || w.lastEvent() != nil {
			t.Errorf("renamed: %v with the event %v, want the rest as it was, no value and no event", renamed, w.lastEvent())
		}
		narrowed := update(&subscriptionv1.APIKey{PermittedReferers: []string{"a.test"}}, "permitted_addresses", "permitted_referers")
		event := &backplanev1.GrantEvent{Names: []string{made.GetName()}}
		if diff := cmp.Diff(event, w.lastEvent(), protocmp.Transform()); diff != "" || len(narrowed.GetPermittedAddresses()) != 0 || len(narrowed.GetPermittedReferers()) != 1 {
			t.Errorf("narrowed: %v, with the event (-want +got):\n%s", narrowed, diff)
		}

		rotated, err := w.keys.RotateAPIKey(w.ann, &subscriptionv1.RotateAPIKeyRequest{Name: made.GetName(), Etag: narrowed.GetEtag()})
		w.must(err)
		if rotated.GetKey() == value || rotated.GetKey() == "" || !rotated.GetReplacedExpireTime().AsTime().Equal(w.now().Add(24*time.Hour)) {
			t.Errorf("rotated: %v, want another value, and the one before good for a day", rotated)
		}
		list, err := w.keys.ListAPIKeys(w.ann, &subscriptionv1.ListAPIKeysRequest{Parent: app})
		w.must(err)
		rotated.Key = ""
		if diff := cmp.Diff([]*subscriptionv1.APIKey{rotated}, list.GetApiKeys(), protocmp.Transform()); diff != "" {
			t.Errorf("ListAPIKeys() (-want +got):\n%s", diff)
		}
		w.add(25 * time.Hour)
		w.ann = w.as(w.annName, "subscriber")
		if got, err := w.keys.GetAPIKey(w.ann, &subscriptionv1.GetAPIKeyRequest{Name: made.GetName()}); err != nil || got.GetReplacedExpireTime() != nil {
			t.Errorf("after the overlap: %v, %v, want no value that was replaced", got, err)
		}

		_, err = w.keys.DeleteAPIKey(w.ann, &subscriptionv1.DeleteAPIKeyRequest{Name: made.GetName(), Etag: rotated.GetEtag()})
		w.must(err)
		event.Cause = backplanev1.GrantEvent_CAUSE_API_KEY_DELETED
		if diff := cmp.Diff(event, w.lastEvent(), protocmp.Transform()); diff != "" {
			t.Errorf("the event of the deletion (-want +got):\n%s", diff)
		}
		_, err = w.keys.GetAPIKey(w.ann, &subscriptionv1.GetAPIKeyRequest{Name: made.GetName()})
		refused(t, "a key that is gone", err, codes.NotFound, made.GetName()+" not found")
	})
}

// TestVerifyAPIKey judges a key in each of its states.
func TestVerifyAPIKey(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		app := w.application(w.ann, "Chat").GetName()
		sub := w.subscribe(w.ann, app, v1)
		key := w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) {
			k.Stage, k.PermittedAddresses, k.PermittedReferers = catalogv1.Stage_STAGE_SANDBOX, []string{"192.0.2.0/24"}, []string{"a.test"}
		})
		first := key.GetKey()
		got := w.verifyKey(first, v1)
		grant := got.GetGrant().GetName()
		want := &backplanev1.VerifyCredentialResponse{
			Verdict: &backplanev1.VerifyCredentialResponse_Grant{Grant: &backplanev1.Grant{
				Name: grant, User: w.annName, Application: app, ApiKey: key.GetName(), Stage: catalogv1.Stage_STAGE_SANDBOX,
				Subscription: sub.GetName(), Plan: gold, Version: v1,
				IssuedChangeNumber: w.head(), IssuedChangeTime: w.latest().Timestamp(), PermittedAddresses: []string{"192.0.2.0/24"}, PermittedReferers: []string{"a.test"},
				RestsOn: []string{grant, key.GetName(), app, w.annName, v1, app + "@" + v1, sub.GetName()},
			}},
			AsOfChangeNumber: w.head(), ServerTime: timestamppb.New(w.now()),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("VerifyCredential(a key) (-want +got):\n%s", diff)
		}
		denied := func(what, credential, version string, reason backplanev1.Denial_Reason, application string) {
			t.Helper()
			d := w.verifyKey(credential, version).GetDenial()
			if d.GetReason() != reason || d.GetApplication() != application {
				t.Errorf("VerifyCredential(%s) = %v, want %v of %q", what, d, reason, application)
			}
		}
		denied("at a version without a subscription", first, v2, backplanev1.Denial_REASON_NO_SUBSCRIPTION, app)
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		for what, credential := range map[string]string{
			"a token": w.token(c), "a client secret": c.secret.GetSecret(), "nonsense": "nonsense", "a key nobody has": apikey.Declared()[0].Make(),
		} {
			denied(what, credential, v1, backplanev1.Denial_REASON_INVALID, "")
		}
		if d := w.verify(first, v1).GetDenial(); d.GetReason() != backplanev1.Denial_REASON_INVALID {
			t.Errorf("a key as a token = %v, want INVALID", d)
		}

		second := w.rotate(key.GetName(), time.Minute)
		if e := w.lastEvent(); e.GetCause() != backplanev1.GrantEvent_CAUSE_UNSPECIFIED || !slices.Equal(e.GetNames(), []string{grant}) {
			t.Errorf("the event of a rotation with an overlap = %v, want that the first value is read again", e)
		}
		end := w.verifyKey(first, v1).GetGrant().GetExpireTime()
		if !end.AsTime().Equal(w.now().Add(time.Minute)) || w.verifyKey(second, v1).GetGrant().GetExpireTime() != nil {
			t.Errorf("after a rotation the first value ends at %v, want in a minute, and the second never", end)
		}
		w.add(time.Minute)
		denied("a value after its overlap", first, v1, backplanev1.Denial_REASON_EXPIRED, app)
		secondGrant := w.verifyKey(second, v1).GetGrant().GetName()
		third := w.rotate(key.GetName(), 0)
		if e := w.lastEvent(); e.GetCause() != backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED || !slices.Contains(e.GetNames(), secondGrant) {
			t.Errorf("the event of a rotation without an overlap = %v, want that %s was replaced", e, secondGrant)
		}
		denied("a value that was replaced at once", second, v1, backplanev1.Denial_REASON_INVALID, "")
		if w.verifyKey(third, v1).GetGrant() == nil {
			t.Error("the third value is refused")
		}

		_, err := w.subs.BlockSubscription(w.as(w.bobName, "publisher"), &subscriptionv1.BlockSubscriptionRequest{Name: sub.GetName()})
		w.must(err)
		denied("with a blocked subscription", third, v1, backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED, app)
		short := w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) { k.ExpireTime = timestamppb.New(w.now().Add(time.Second)) })
		w.add(time.Second)
		denied("a second after it was made for one", short.GetKey(), v1, backplanev1.Denial_REASON_EXPIRED, app)
		_, err = w.keys.DeleteAPIKey(w.ann, &subscriptionv1.DeleteAPIKeyRequest{Name: key.GetName()})
		w.must(err)
		denied("a key that was deleted", third, v1, backplanev1.Denial_REASON_INVALID, "")
	})
}

// TestBatchGetGrantsOfAPIKeys reads the grants of keys that have ended in every way, and
// one whose end and addresses are others now.
func TestBatchGetGrantsOfAPIKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app, gone := w.application(w.ann, "Chat").GetName(), w.application(w.ann, "Gone").GetName()
		w.subscribe(w.ann, app, v1)
		w.subscribe(w.ann, gone, v1)
		var queries []*backplanev1.GrantQuery
		key := func(app string, life time.Duration) *subscriptionv1.APIKey {
			k := w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) {
				if life > 0 {
					k.ExpireTime = timestamppb.New(w.now().Add(life))
				}
			})
			g := w.verifyKey(k.GetKey(), v1).GetGrant()
			queries = append(queries, &backplanev1.GrantQuery{Name: g.GetName(), ApiKey: g.GetApiKey(), Version: v1, Subscription: g.GetSubscription()})
			return k
		}
		lives, replaced, deleted := key(app, 0), key(app, 0), key(app, 0)
		key(gone, 0)
		key(app, time.Second)
		_, err := w.keys.UpdateAPIKey(w.ann, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: &subscriptionv1.APIKey{Name: lives.GetName(), PermittedAddresses: []string{"192.0.2.1"}}})
		w.must(err)
		w.rotate(lives.GetName(), time.Hour)
		w.rotate(replaced.GetName(), 0)
		_, err = w.keys.DeleteAPIKey(w.ann, &subscriptionv1.DeleteAPIKeyRequest{Name: deleted.GetName()})
		w.must(err)
		_, err = w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: gone})
		w.must(err)
		w.add(time.Second)
		resp, err := w.gateway.tokens.BatchGetGrants(t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: queries})
		w.must(err)
		g := resp.GetGrants()[0].GetGrant()
		if !slices.Equal(g.GetPermittedAddresses(), []string{"192.0.2.1"}) || !g.GetExpireTime().AsTime().Equal(w.now().Add(time.Hour-time.Second)) ||
			!resp.GetServerTime().AsTime().Equal(w.now()) {
			t.Errorf("the grant of a key that is good = %v at %v, want its addresses and its end as they are now", g, resp.GetServerTime())
		}
		var causes []backplanev1.GrantEvent_Cause
		for _, s := range resp.GetGrants()[1:] {
			causes = append(causes, s.GetEnded())
		}
		if want := []backplanev1.GrantEvent_Cause{
			backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED, backplanev1.GrantEvent_CAUSE_API_KEY_DELETED,
			backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED, backplanev1.GrantEvent_CAUSE_EXPIRED,
		}; !slices.Equal(causes, want) {
			t.Errorf("causes = %v, want %v", causes, want)
		}
	})
}

// TestLastUseOfAPIKeys reports uses out of order, twice, and of a key that is gone.
func TestLastUseOfAPIKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		app := w.application(w.ann, "Chat").GetName()
		key := w.apiKey(w.ann, app, nil)
		minute := w.now().Truncate(time.Minute)
		for n, tt := range []struct {
			sequence  uint64
			use, want time.Time
		}{
			{1, minute, minute},
			{2, minute.Add(-time.Hour), minute},
			{3, minute.Add(time.Minute), minute.Add(time.Minute)},
			{3, minute.Add(time.Hour), minute.Add(time.Minute)}, // the batch was taken before
		} {
			report := usageReport(tt.use, app, "", v1, 1)
			report.ApiKeys = []string{key.GetName(), app + "/apiKeys/gone"}
			_, err := w.gateway.metering.ReportUsage(t.Context(), &backplanev1.ReportUsageRequest{Batch: batch(tt.sequence), Usage: []*backplanev1.UsageReport{report}})
			w.must(err)
			got, err := w.keys.GetAPIKey(w.ann, &subscriptionv1.GetAPIKeyRequest{Name: key.GetName()})
			if err != nil || !got.GetLastUseTime().AsTime().Equal(tt.want) {
				t.Errorf("report %d: last used %v, %v, want %v", n, got.GetLastUseTime().AsTime(), err, tt.want)
			}
		}
	})
}

// TestAPIKeyBounds makes as many keys and values as there may be, and purges those that
// have expired.
func TestAPIKeyBounds(t *testing.T) {
	w := onSQLite(t)
	app := w.application(w.ann, "Chat").GetName()
	for i := range 99 {
		w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) { k.DisplayName = fmt.Sprint("key ", i) })
	}
	last := w.apiKey(w.ann, app, func(k *subscriptionv1.APIKey) { k.ExpireTime = timestamppb.New(w.now().Add(time.Hour)) })
	create := &subscriptionv1.CreateAPIKeyRequest{Parent: app, ApiKey: &subscriptionv1.APIKey{DisplayName: "more", Stage: catalogv1.Stage_STAGE_PRODUCTION}}
	_, err := w.keys.CreateAPIKey(w.ann, create)
	refused(t, "the 101st key", err, codes.FailedPrecondition, "the application has 100 API keys, as many as it may have: delete one first")
	for range 4 {
		w.rotate(last.GetName(), time.Hour)
	}
	_, err = w.keys.RotateAPIKey(w.ann, &subscriptionv1.RotateAPIKeyRequest{Name: last.GetName()})
	refused(t, "the sixth value", err, codes.FailedPrecondition,
		"5 values of the API key are good, as many as there may be: wait until one has expired, or rotate without an overlap, which ends them all")
	w.rotate(last.GetName(), 0)
	w.add(time.Hour)
	w.ann = w.as(w.annName, "subscriber")
	_, err = w.keys.RotateAPIKey(w.ann, &subscriptionv1.RotateAPIKeyRequest{Name: last.GetName()})
	refused(t, "rotate a key that has expired", err, codes.FailedPrecondition, "the API key has expired: create another")
	w.must(w.store.Purge(t.Context()))
	if _, err := w.keys.GetAPIKey(w.ann, &subscriptionv1.GetAPIKeyRequest{Name: last.GetName()}); err != nil {
		t.Errorf("a key that has expired lately: %v, want that it is listed", err)
	}
	w.add(31 * 24 * time.Hour)
	w.ann = w.as(w.annName, "subscriber")
	w.must(w.store.Purge(t.Context()))
	if _, err := w.keys.CreateAPIKey(w.ann, create); err != nil {
		t.Errorf("once a key is purged: %v, want room for another", err)
	}
}

func TestAPIKeyRefusals(t *testing.T) {
	w := onSQLite(t)
	app := w.application(w.ann, "Chat").GetName()
	key := w.apiKey(w.ann, app, nil)
	create := func(edit func(*subscriptionv1.APIKey)) func(context.Context) error {
		k := &subscriptionv1.APIKey{DisplayName: "web", Stage: catalogv1.Stage_STAGE_PRODUCTION}
		edit(k)
		return call(w.keys.CreateAPIKey, &subscriptionv1.CreateAPIKeyRequest{Parent: app, ApiKey: k})
	}
	update := func(k *subscriptionv1.APIKey, paths ...string) func(context.Context) error {
		return call(w.keys.UpdateAPIKey, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: k, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	rotate := func(edit func(*subscriptionv1.RotateAPIKeyRequest)) func(context.Context) error {
		req := &subscriptionv1.RotateAPIKeyRequest{Name: key.GetName()}
		edit(req)
		return call(w.keys.RotateAPIKey, req)
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("192.0.2.", i)
	}
	invalid, notFound := codes.InvalidArgument, key.GetName()+" not found"
	badName := "must be applications/{application}/apiKeys/{api_key}"
	before := w.dump()
	w.check(t, []refusal{
		{"create no key", w.ann, call(w.keys.CreateAPIKey, &subscriptionv1.CreateAPIKeyRequest{Parent: app}), invalid, "api_key: is required"},
		{"create a key of nothing", w.ann, call(w.keys.CreateAPIKey, &subscriptionv1.CreateAPIKeyRequest{Parent: "x", ApiKey: &subscriptionv1.APIKey{DisplayName: "web", Stage: 1}}),
			invalid, "parent: must be applications/{application}"},
		{"create a key without a name and a stage", w.ann, create(func(k *subscriptionv1.APIKey) { k.DisplayName, k.Stage = "", 0 }), invalid,
			"api_key.display_name: must have 1 to 100 characters, no control characters and no space at either end; api_key.stage: is required"},
		{"create a key that has ended", w.ann, create(func(k *subscriptionv1.APIKey) { k.ExpireTime = timestamppb.New(w.now()) }), invalid,
			"api_key.expire_time: must be in the future"},
		{"create a key with bad places", w.ann, create(func(k *subscriptionv1.APIKey) {
			k.PermittedAddresses, k.PermittedReferers = []string{"192.0.2.1", "192.0.2.1/24", "192.0.2.1/32"}, []string{"*", "a.test/?q"}
		}), invalid, "api_key.permitted_addresses[1]: must be an IP address or a network such as 203.0.113.0/24: \"192.0.2.1/24\" has bits beyond its length: 192.0.2.0/24 is meant; " +
			"api_key.permitted_addresses[2]: must not be there twice; " +
			"api_key.permitted_referers[0]: must name a host: leave the list empty to permit every page; " +
			"api_key.permitted_referers[1]: must have no query, fragment or user"},
		{"create a key with too many places", w.ann, create(func(k *subscriptionv1.APIKey) { k.PermittedAddresses = many }), invalid,
			"api_key.permitted_addresses: must contain no more than 100 item(s)"},
		{"create a key of another's", w.bob, create(func(*subscriptionv1.APIKey) {}), codes.NotFound, app + " not found"},
		{"create a key as no subscriber", w.as(w.annName, "creator"), create(func(*subscriptionv1.APIKey) {}), codes.PermissionDenied, "this needs the role subscriber"},
		{"get a key of a bad name", w.ann, call(w.keys.GetAPIKey, &subscriptionv1.GetAPIKeyRequest{Name: app}), invalid, "name: " + badName},
		{"get another's key", w.bob, call(w.keys.GetAPIKey, &subscriptionv1.GetAPIKeyRequest{Name: key.GetName()}), codes.NotFound, notFound},
		{"list another's keys", w.bob, call(w.keys.ListAPIKeys, &subscriptionv1.ListAPIKeysRequest{Parent: app}), codes.NotFound, app + " not found"},
		{"change a key of a bad name", w.ann, update(&subscriptionv1.APIKey{Name: "x", DisplayName: "y"}), invalid, "api_key.name: " + badName},
		{"change a key's stage", w.ann, update(&subscriptionv1.APIKey{Name: key.GetName(), Stage: 2}, "stage"), invalid, "apikey.stage: cannot be changed by an update"},
		{"change a key's name to none", w.ann, update(&subscriptionv1.APIKey{Name: key.GetName()}, "display_name"), invalid,
			"api_key.display_name: must have 1 to 100 characters, no control characters and no space at either end"},
		{"change a key with a bad referer", w.ann, update(&subscriptionv1.APIKey{Name: key.GetName(), PermittedReferers: []string{"a.test/*/b"}}), invalid,
			"api_key.permitted_referers[0]: must have * only as the first label of the host, *.example.com, and as the end of the path, /app/*"},
		{"change a key with a stale etag", w.ann, update(&subscriptionv1.APIKey{Name: key.GetName(), DisplayName: "y", Etag: "9"}), codes.Aborted, stale},
		{"change another's key", w.bob, update(&subscriptionv1.APIKey{Name: key.GetName(), DisplayName: "y"}), codes.NotFound, notFound},
		{"rotate with a negative overlap", w.ann, rotate(func(r *subscriptionv1.RotateAPIKeyRequest) { r.Overlap = durationpb.New(-time.Second) }), invalid,
			"overlap: must be greater than or equal to 0s and less than or equal to 2592000s"},
		{"rotate with a long overlap", w.ann, rotate(func(r *subscriptionv1.RotateAPIKeyRequest) { r.Overlap = durationpb.New(31 * 24 * time.Hour) }), invalid,
			"overlap: must be greater than or equal to 0s and less than or equal to 2592000s"},
		{"rotate with a stale etag", w.ann, rotate(func(r *subscriptionv1.RotateAPIKeyRequest) { r.Etag = "9" }), codes.Aborted, stale},
		{"rotate another's key", w.bob, rotate(func(*subscriptionv1.RotateAPIKeyRequest) {}), codes.NotFound, notFound},
		{"delete with a stale etag", w.ann, call(w.keys.DeleteAPIKey, &subscriptionv1.DeleteAPIKeyRequest{Name: key.GetName(), Etag: "9"}), codes.Aborted, stale},
		{"delete another's key", w.bob, call(w.keys.DeleteAPIKey, &subscriptionv1.DeleteAPIKeyRequest{Name: key.GetName()}), codes.NotFound, notFound},
	})
	if after := w.dump(); after != before {
		t.Errorf("something was written:\n%s\nwas\n%s", after, before)
	}
}

// TestAPIKeysInTheLogs looks into the security log and the audit log.
func TestAPIKeysInTheLogs(t *testing.T) {
	w := onSQLite(t)
	app := w.application(w.ann, "Chat").GetName()
	before := w.head()
	key := w.apiKey(w.ann, app, nil)
	_, err := w.keys.UpdateAPIKey(w.ann, &subscriptionv1.UpdateAPIKeyRequest{ApiKey: &subscriptionv1.APIKey{Name: key.GetName(), PermittedAddresses: []string{"192.0.2.1"}}})
	w.must(err)
	second := w.rotate(key.GetName(), 0)
	_, err = w.keys.DeleteAPIKey(w.ann, &subscriptionv1.DeleteAPIKeyRequest{Name: key.GetName()})
	w.must(err)
	audit := w.audit(before)
	for i, want := range []string{
		"CreateAPIKey web:", "UpdateAPIKey web: permitted_addresses", "RotateAPIKey web:", "DeleteAPIKey web:",
	} {
		if i >= len(audit) || !strings.HasPrefix(audit[i], want) || (i == 0 || i == 2) != strings.Contains(audit[i], " key is secret") {
			t.Errorf("the audit log has %q, want %s … in line %d, and that the value is secret where it was made", audit, want, i)
		}
	}
	security := strings.Join(w.events(), "\n")
	for _, kind := range []string{"SECRET_MADE", "KEY_ROTATED", "REVOKED"} {
		if !strings.Contains(security, "event="+kind) || !strings.Contains(security, key.GetName()) {
			t.Errorf("the security log has no %s of %s:\n%s", kind, key.GetName(), security)
		}
	}
	for _, value := range []string{key.GetKey(), second} {
		if strings.Contains(w.logs.String(), value) || strings.Contains(w.dump(), value) || strings.Contains(strings.Join(audit, ""), value) {
			t.Error("the value of a key is in a log or in the database")
		}
	}
}
