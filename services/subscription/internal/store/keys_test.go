package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestKey(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app, other := b.application(b.ann, "one"), b.application(b.ann, "two")
		made := b.key(b.ann, app.ID, store.Production)
		got, err := b.Key(t.Context(), b.ann, app.ID, made.ID)
		if diff := cmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("Key() = %v (-made +got):\n%s", err, diff)
		}
		for _, tt := range []struct {
			name    string
			v       store.Viewer
			app, id string
		}{
			{"of another user", b.bob, app.ID, made.ID},
			{"of another application", b.ann, other.ID, made.ID},
			{"that is not there", b.ann, app.ID, "none"},
		} {
			_, err := b.Key(t.Context(), tt.v, tt.app, tt.id)
			refused(t, "Key "+tt.name, err, codes.NotFound, store.KeyName(tt.app, tt.id)+" not found")
			_, err = b.SetSecret(t.Context(), tt.v, tt.app, tt.id, "", []byte("new"))
			refused(t, "SetSecret "+tt.name, err, codes.NotFound, "not found")
			refused(t, "DeleteKey "+tt.name, b.DeleteKey(t.Context(), tt.v, tt.app, tt.id, ""), codes.NotFound, "not found")
		}
		_, err = b.CreateKey(t.Context(), b.ann, store.Key{Application: app.ID, Type: store.Production, ConsumerKey: "x"}, []byte("h"))
		refused(t, "CreateKey(second)", err, codes.AlreadyExists, "the application has a production key already")
		_, err = b.CreateKey(t.Context(), b.bob, store.Key{Application: app.ID, Type: store.Sandbox, ConsumerKey: "x"}, []byte("h"))
		refused(t, "CreateKey(of another)", err, codes.NotFound, "not found")
		sandbox := b.key(b.admin, app.ID, store.Sandbox)
		rows, err := b.Keys(t.Context(), app.ID, store.Place{}, 10)
		if diff := cmp.Diff([]store.Key{made, sandbox}, rows); err != nil || diff != "" {
			t.Errorf("Keys() = %v (-want +got):\n%s", err, diff)
		}

		before := b.head()
		_, err = b.SetSecret(t.Context(), b.ann, app.ID, made.ID, "8", []byte("new"))
		refused(t, "SetSecret(stale)", err, codes.Aborted, "etag")
		k, err := b.SetSecret(t.Context(), b.ann, app.ID, made.ID, "1", []byte("new"))
		if err != nil || k.Etag != 2 {
			t.Errorf("SetSecret() = %v, %v", k, err)
		}
		_, hash, known, err := b.Client(t.Context(), made.ConsumerKey)
		if err != nil || !known || string(hash) != "new" {
			t.Errorf("Client() = %q, %v, %v, want the new hash", hash, known, err)
		}
		ok(t, b.DeleteKey(t.Context(), b.ann, app.ID, made.ID, ""))
		if _, _, known, err := b.Client(t.Context(), made.ConsumerKey); known || err != nil {
			t.Errorf("Client(deleted) = %v, %v", known, err)
		}
		want := []string{"- " + store.KeyName(app.ID, made.ID), "KEY_DELETED " + store.KeyName(app.ID, made.ID)}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
