package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Writes that make no change go through while a change is being made: usage,
// session records, sign-ins, signing keys, what the catalog says. SQLite has one
// writer, so this is about Postgres.
func TestWritesWithoutAChangeDoNotWait(t *testing.T) {
	b := newBench(t, testdb.Postgres(t, store.Schema()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a write that waited would wait for ever
	defer cancel()
	batch := store.Batch{Gateway: "gateway", BootID: "boot", Sequence: 1}
	before, err := b.ReadCursor(ctx)
	ok(t, err)
	after := cursor(before.Number + 1)
	v := version("apis/a/versions/v", b.bob.User, true, gold)
	writes := map[string]func() error{
		"AddUsage": func() error {
			_, err := b.AddUsage(ctx, batch, []store.Usage{{Start: b.now().Truncate(time.Minute), Version: v.Name, Sessions: 1}})
			return err
		},
		"AddRecords": func() error {
			_, err := b.AddRecords(ctx, batch, []store.SessionRecord{{Ref: "r", Version: v.Name}})
			return err
		},
		"CreateSignIn, RefreshSignIn": func() error {
			in, _, err := b.CreateSignIn(ctx, b.ann.User, "hash of ann", store.Device{Hash: []byte{1}}, last)
			if err != nil {
				return err
			}
			_, _, err = b.RefreshSignIn(ctx, in.ID, 0, last)
			return err
		},
		"CountFailure": func() error {
			a, l := store.Attempt{Username: "ann", From: "a"}, store.Lockout{Each: 10, Name: 100, Pause: time.Second}
			if _, _, err := b.SignInDelay(ctx, a, l); err != nil {
				return err
			}
			if err := b.CountFailure(ctx, a, l); err != nil {
				return err
			}
			return b.ForgetFailures(ctx, a)
		},
		"AddSecurityEvents": func() error {
			return b.AddSecurityEvents(ctx, []store.SecurityEvent{{ID: "e"}})
		},
		"AddSigningKey": func() error {
			_, err1 := b.AddSigningKey(ctx, store.SigningKey{Number: 1, ID: "k", Sealed: []byte{1}})
			_, err2 := b.AddSigningKey(ctx, store.SigningKey{Purpose: store.BackendIdentity, Number: 1, ID: "k", Sealed: []byte{1}})
			return errors.Join(err1, err2)
		},
		"ApplyCatalogChange, SaveVersion": func() error {
			if _, err := b.ApplyCatalogChange(ctx, store.CatalogChange{Versions: []store.Version{v}}, before, after); err != nil {
				return err
			}
			_, err := b.SaveVersion(ctx, v, after)
			return err
		},
		"Purge": func() error { return b.Purge(ctx, store.Retention{}) },
	}
	head := b.head()
	ok(t, b.log.Write(ctx, "write", func(*change.Tx) (change.Record, error) {
		for what, write := range writes {
			if err := write(); err != nil {
				t.Errorf("%s while a change is made: %v", what, err)
			}
		}
		return change.Record{Skip: true}, nil
	}))
	if got := b.head(); got != head {
		t.Errorf("head = %d after these writes, want %d still", got, head)
	}
}
