package api_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// busy makes n changes, and returns what restores the backup that was made before them, a
// minute later: the numbers of changes go back.
func (w *world) busy(n int) (restore func()) {
	w.t.Helper()
	backup := w.latest()
	for i := range n {
		w.application(w.ann, fmt.Sprint("After the backup ", i))
	}
	return func() {
		w.exec(`DELETE FROM application WHERE display_name LIKE 'After the backup %'`)
		w.exec(`DELETE FROM change WHERE number > $1`, int64(backup.Change))
		w.exec(`UPDATE change_counter SET n = $1, time_us = $2`, int64(backup.Change), backup.Time)
		w.add(time.Minute)
	}
}

// TestRevokeAfterARestore restores a backup, after which changes have lower numbers again. What
// was issued before that is revoked by whatever revokes it after that, in each way; and what
// is issued then is good, for gateways, too.
func TestRevokeAfterARestore(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		sub := w.subscribe(w.ann, app, v1)
		for _, name := range []string{app, client.GetName(), sub.GetName(), "by its name, then the application"} {
			restore := w.busy(10)
			lost := w.token(client)
			grant := w.verify(lost, v1).GetGrant()
			restore()
			if !w.good(lost, v1, grant) {
				t.Fatalf("%s: a token from before the restore is not good after it", name)
			}
			if name[:2] == "by" {
				w.revoked(w.ann, grant.GetName(), app)
				name = app // which forgets what was revoked by its name
			}
			w.revoked(w.ann, name, "")
			if w.good(lost, v1, grant) {
				t.Errorf("%s: a token from before the restore, of change %d, is good after change %d revoked it", name, grant.GetIssuedChangeNumber(), w.head())
			}
			event, fresh := w.lastEvent(), w.verify(w.token(client), v1).GetGrant()
			if fresh == nil {
				t.Fatalf("%s: a token that is issued then is not good", name)
			}
			revoked := moment.Of(event.GetIssuedBeforeChangeNumber(), event.GetIssuedBeforeChangeTime())
			for _, tt := range []struct {
				grant *backplanev1.Grant
				want  bool
			}{{grant, true}, {fresh, false}} {
				if issued := moment.Of(tt.grant.GetIssuedChangeNumber(), tt.grant.GetIssuedChangeTime()); issued.Before(revoked) != tt.want {
					t.Errorf("%s: for gateways, what was issued at %v is revoked at %v: %v", name, issued, revoked, !tt.want)
				}
			}
		}
	})
}

// TestAPIKeysAfterARestore revokes the value of an API key after a restore, and makes another.
func TestAPIKeysAfterARestore(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		key := w.apiKey(w.ann, app, nil)
		w.busy(5)()
		w.revoked(w.ann, app, "")
		if got := w.verifyKey(key.GetKey(), v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("the key is refused as %v, want REVOKED", got)
		}
		if w.verifyKey(w.rotate(key.GetName(), 0), v1).GetGrant() == nil {
			t.Error("a value that is issued then is not good")
		}
	})
}

// TestAccessEndsAfterARestore ends the access of a user after a restore: a token from before it
// gives none any more, at this service and where it is told.
func TestAccessEndsAfterARestore(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		restore := w.busy(10)
		before := w.as(w.annName, "subscriber")
		issued := w.latest()
		restore()
		list := &subscriptionv1.ListApplicationsRequest{}
		if _, err := w.apps.ListApplications(before, list); err != nil {
			t.Fatalf("a token from before the restore: %v", err)
		}
		_, err := w.users.SuspendUser(w.as(w.rootName, "admin"), &identityv1.SuspendUserRequest{Name: w.annName})
		w.must(err)
		_, err = w.apps.ListApplications(before, list)
		refused(t, "a token from before the restore, of a user who is suspended after it", err, codes.Unauthenticated, "the access that this token gave has ended: refresh it, or sign in again")
		var ended moment.Moment
		w.must(w.db.QueryRowContext(t.Context(), `SELECT change_number, change_us FROM ended_access WHERE name = $1`, w.annName).Scan(&ended.Change, &ended.Time))
		if !issued.Before(ended) || ended.Change > issued.Change {
			t.Errorf("the access has ended at %v, want after %v by its time alone", ended, issued)
		}
		_, err = w.users.RestoreUser(w.as(w.rootName, "admin"), &identityv1.RestoreUserRequest{Name: w.annName})
		w.must(err)
		if _, err := w.apps.ListApplications(w.as(w.annName, "subscriber"), list); err != nil {
			t.Errorf("a token that is issued then: %v", err)
		}
	})
}
