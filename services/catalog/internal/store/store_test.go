package store

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instant is a time as databases keep it.
func instant(micros int64) time.Time { return time.UnixMicro(1_800_000_000_000_000 + micros) }

// in runs fn in a transaction that makes a change.
func in(ctx context.Context, db *sqldb.DB, fn func(s *Store) error) error {
	log := change.NewLog(identity.Catalog, db, slog.New(slog.DiscardHandler), time.Now, 0)
	return log.Write(ctx, "write", func(tx *change.Tx) (change.Record, error) { return change.Record{}, fn(New(tx)) })
}

// must is in for what has to succeed.
func must(t *testing.T, db *sqldb.DB, fn func(s *Store) error) {
	t.Helper()
	if err := in(t.Context(), db, fn); err != nil {
		t.Fatal(err)
	}
}

// refused is in for what has to fail with a fault that says want.
func refused(t *testing.T, db *sqldb.DB, code codes.Code, want string, fn func(s *Store) error) {
	t.Helper()
	err := in(t.Context(), db, fn)
	if !fault.Is(err, code) || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %s: …%s…", err, code, want)
	}
}

func echo() API {
	return API{ID: "echo", DisplayName: "EchoWebSocket", Context: "/echo", Description: "Echoes.", Owner: "users/ann",
		Etag: 1, CreatedAt: instant(0), UpdatedAt: instant(0)}
}

func one(api API) Version {
	return Version{
		ID: api.ID + "-1", Version: "1.0.0", Description: "First.", Tags: []string{"b", "a"},
		Production: []Endpoint{{URL: "ws://backend"}}, Sandbox: []Endpoint{{URL: "ws://sandbox"}},
		Security: []SecurityScheme{{Type: SchemeOAuth2, Places: []Place{{In: InQuery, Name: "access_token"}}}},
		Plans:    []string{"silver", "gold"}, Origins: []string{"https://example.com"},
		MaxSessionAge: time.Hour + 1, State: Created, Revision: 7, Etag: 1, CreatedAt: instant(1), UpdatedAt: instant(1),
		APIID: api.ID, DisplayName: api.DisplayName, Context: api.Context, Owner: api.Owner,
	}
}

func TestSeededPlans(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		plans, err := New(db).ListPlans(t.Context(), PlanFilter{}, After{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		type row struct {
			ID, Name string
			Messages int64
			Window   string
		}
		var got []row
		for _, p := range plans {
			got = append(got, row{p.ID, p.DisplayName, p.QuotaMessages, p.QuotaWindow})
			if folded := Fold(p.DisplayName); folded != strings.ToLower(p.DisplayName) {
				t.Errorf("plan %s is folded as %q", p.ID, folded)
			}
		}
		want := []row{
			{"unlimited", "Unlimited", 0, ""},
			{"gold", "Gold", 5000, "MINUTE"},
			{"silver", "Silver", 2000, "MINUTE"},
			{"bronze", "Bronze", 1000, "MINUTE"},
			{"async-unlimited", "AsyncUnlimited", 0, ""},
			{"async-gold", "AsyncGold", 50000, "DAY"},
			{"async-silver", "AsyncSilver", 25000, "DAY"},
			{"async-bronze", "AsyncBronze", 5000, "DAY"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plans (-want +got):\n%s", diff)
		}
	})
}

func TestPlan(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), New(db)
		p := Plan{ID: "p", DisplayName: "Platinum", Description: "Much.", QuotaMessages: 9, QuotaWindow: "HOUR",
			Etag: 1, CreatedAt: instant(0), UpdatedAt: instant(0)}
		must(t, db, func(s *Store) error { return s.CreatePlan(ctx, p) })
		if got, err := s.Plan(ctx, "p"); err != nil || got != p {
			t.Errorf("Plan(p) = %+v, %v, want %+v", got, err, p)
		}
		refused(t, db, codes.AlreadyExists, `"PLATINUM" is taken`, func(s *Store) error {
			return s.CreatePlan(ctx, Plan{ID: "q", DisplayName: "PLATINUM", CreatedAt: instant(1)})
		})
		refused(t, db, codes.AlreadyExists, `"gOLD" is taken`, func(s *Store) error {
			next := p
			next.DisplayName = "gOLD"
			return s.UpdatePlan(ctx, next)
		})
		p.DisplayName, p.QuotaMessages, p.QuotaWindow, p.UpdatedAt = "PLATINUM", 0, "", instant(5)
		must(t, db, func(s *Store) error { return s.UpdatePlan(ctx, p) })
		refused(t, db, codes.Aborted, "etag", func(s *Store) error { return s.UpdatePlan(ctx, p) })
		refused(t, db, codes.Aborted, "etag", func(s *Store) error { return s.DeletePlan(ctx, "p", 1) })
		p.Etag = 2
		name := "plATinum"
		if got, err := s.ListPlans(ctx, PlanFilter{DisplayName: &name}, After{}, 10); err != nil || len(got) != 1 || got[0] != p {
			t.Errorf("ListPlans(%s) = %+v, %v, want %+v", name, got, err, p)
		}
		must(t, db, func(s *Store) error { return s.DeletePlan(ctx, "p", 2) })
		if _, err := s.Plan(ctx, "p"); !fault.Is(err, codes.NotFound) {
			t.Errorf("Plan(p) after its end = %v, want NotFound", err)
		}
	})
}

func TestFold(t *testing.T) {
	for _, names := range [][2]string{
		{"Echo", "eCHO"},
		{"STRASSE", "straße"},
		{"Ωmega", "ωMEGA"},
		{"Caf\u00e9", "CAFE\u0301"},
		{"ＥＣＨＯ", "echo"},
	} {
		if Fold(names[0]) != Fold(names[1]) {
			t.Errorf("Fold(%q) = %q, Fold(%q) = %q, want the same", names[0], Fold(names[0]), names[1], Fold(names[1]))
		}
	}
	if Fold("echo") == Fold("ecno") {
		t.Error("Fold makes echo and ecno the same")
	}
}
