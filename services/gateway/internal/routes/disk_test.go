package routes

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

func TestDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.sealed")
	key := seal.New()
	d := NewDisk(path, key, slog.New(slog.DiscardHandler))
	list := []*backplanev1.Route{message("/b"), message("/a")}
	d.save(&backplanev1.RouteSnapshot{Routes: list, Plans: []*catalogv1.Plan{{Name: "plans/gold", DisplayName: "Gold"}}, Installation: "tidegate-x"})
	d.flush(t.Context())
	got := NewDisk(path, key, slog.New(slog.DiscardHandler)).Load()
	if got.GetInstallation() != "tidegate-x" {
		t.Errorf("the installation is %q after a start, want what was saved", got.GetInstallation())
	}
	if plans := got.GetPlans(); len(plans) != 1 || plans[0].GetDisplayName() != "Gold" {
		t.Errorf("Load() has the plans %v, want Gold", plans)
	}
	if got := got.GetRoutes(); len(got) != 2 || !proto.Equal(got[0], message("/a")) || !proto.Equal(got[1], message("/b")) {
		t.Errorf("Load() = %v, want both routes", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v, want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte("127.0.0.1")) {
		t.Errorf("the file holds an endpoint in the clear, %v", err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("the folder holds %v, %v, want the file alone", files, err)
	}
}

func TestDiskIgnoresWhatItCannotRead(t *testing.T) {
	good := func(path string, key *seal.Key) {
		d := NewDisk(path, key, slog.New(slog.DiscardHandler))
		d.save(&backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{message("/a")}})
		d.flush(t.Context())
	}
	key := seal.New()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"no file":     func(*testing.T, string) {},
		"empty":       func(t *testing.T, path string) { write(t, path, nil) },
		"other key":   func(_ *testing.T, path string) { good(path, seal.New()) },
		"other file":  func(t *testing.T, path string) { write(t, path, key.Seal([]byte("x"), []byte("signing-key"))) },
		"not a proto": func(t *testing.T, path string) { write(t, path, key.Seal([]byte("\xff\xff"), []byte(purpose))) },
		"a folder": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, path string) {
			good(path, key)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			write(t, path, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "routes.sealed")
			spoil(t, path)
			var log bytes.Buffer
			if got := NewDisk(path, key, slog.New(slog.NewTextHandler(&log, nil))).Load(); got != nil {
				t.Errorf("Load() = %v, want nothing", got)
			}
			if want := "level=WARN"; name != "no file" && !strings.Contains(log.String(), want) {
				t.Errorf("the log is %q, want %s", log.String(), want)
			}
		})
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDiskJoinsWritesAndWritesTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "routes.sealed")
		key := seal.New()
		d := NewDisk(path, key, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		d.save(&backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{message("/a")}})
		time.Sleep(saveDelay / 2)
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is written at once, want a delay")
		}
		d.save(&backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{message("/b")}})
		time.Sleep(saveDelay)
		synctest.Wait()
		if got := d.Load().GetRoutes(); len(got) != 1 || got[0].GetContext() != "/b" {
			t.Errorf("after the delay the file holds %v, want the last routes", got)
		}
		d.save(&backplanev1.RouteSnapshot{})
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if got, err := d.load(); err != nil || len(got.GetRoutes()) != 0 {
			t.Errorf("after the stop the file holds %v, %v, want no routes", got, err)
		}
	})
}

func TestDiskKeepsTheOldFileWhenItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gone", "routes.sealed")
	var log bytes.Buffer
	d := NewDisk(path, seal.New(), slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		d.save(&backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{message("/a")}})
		d.flush(t.Context())
	}
	if n := strings.Count(log.String(), "routes not written to disk"); n != 1 {
		t.Errorf("the log is %q, want the failure once", log.String())
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	d.save(&backplanev1.RouteSnapshot{Routes: []*backplanev1.Route{message("/a")}})
	d.flush(t.Context())
	if !strings.Contains(log.String(), "works again") {
		t.Errorf("the log is %q, want that it works again", log.String())
	}
}
