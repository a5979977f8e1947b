package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// rows are sealed values of a service whose database may be away.
type rows struct {
	key    *seal.Key
	mu     sync.Mutex
	values [][]byte
	down   error
}

// breaks makes the database be away, or there again.
func (r *rows) breaks(down error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// add stores another value.
func (r *rows) add(plain string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, r.key.Seal([]byte(plain), nil))
}

func (r *rows) reseal(context.Context) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i, sealed := range r.values {
		if !r.key.Stale(sealed) {
			continue
		}
		plain, err := r.key.Open(sealed, nil)
		if err = errors.Join(err, r.down); err != nil {
			return n, err
		}
		r.values[i] = r.key.Seal(plain, nil)
		n++
	}
	return n, nil
}

// lines keep what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write adds to the lines.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	l.text.Reset()
	return text
}

// volume is a folder of files that are replaced all at once, as Kubernetes does.
type volume struct {
	t   *testing.T
	dir string
	n   int
}

func line(b byte) string {
	return "tidegate-master-key-v1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n"
}

// put replaces the key file and returns its path.
func (v *volume) put(lines ...string) string {
	v.t.Helper()
	v.n++
	version := string(rune('a' + v.n))
	path, link := filepath.Join(v.dir, "master-key"), filepath.Join(v.dir, "data")
	err := errors.Join(
		os.Mkdir(filepath.Join(v.dir, version), 0o700),
		os.WriteFile(filepath.Join(v.dir, version, "master-key"), []byte(strings.Join(lines, "")), 0o600),
		os.Symlink(version, link+".new"), os.Rename(link+".new", link))
	if _, none := os.Lstat(path); none != nil {
		err = errors.Join(err, os.Symlink("data/master-key", path))
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return path
}

// sealedWith returns the metric: the id of the key, and whether all is sealed with it.
func sealedWith(t *testing.T, k *seal.Keeper) (id string, all bool) {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(k.Metrics()); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("the metric is %v, %v, want one value", families, err)
	}
	m := families[0].GetMetric()[0]
	for _, label := range m.GetLabel() {
		if label.GetName() == "key" {
			id = label.GetValue()
		}
	}
	return id, m.GetGauge().GetValue() == 1
}

// TestExchange replaces a master key under a service that runs, through the files that
// docs/deployment.md asks for.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &volume{t: t, dir: t.TempDir()}
		key, err := seal.Load(v.put(line(1)))
		if err != nil {
			t.Fatal(err)
		}
		var log lines
		r := &rows{key: key, values: [][]byte{key.Seal([]byte("a"), nil), key.Seal([]byte("b"), nil)}}
		old := r.values[0]
		settled := 0
		k := seal.NewKeeper(key, seal.Stored{Service: "test", Reseal: r.reseal, Settle: func(context.Context) error { settled++; return nil }}, slog.New(slog.NewTextHandler(&log, nil)))
		if err := k.Start(t.Context()); err != nil || settled > 0 {
			t.Fatalf("Start = %v, waited for writes %d times, want nothing", err, settled)
		}
		if said := log.take(); said != "" {
			t.Errorf("a start logs %q, want nothing", said)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		// step waits as long as the file may go unnoticed, and checks how things stand.
		step := func(what string, wait time.Duration, logs string, first byte, all, opens bool) {
			t.Helper()
			log.take()
			time.Sleep(wait)
			synctest.Wait()
			if got := log.take(); (logs == "") != (got == "") || !strings.Contains(got, logs) || strings.Count(got, "\n") > 1 {
				t.Errorf("%s: the log has %q, want one line with %q, or none", what, got, logs)
			}
			want := seal.NewTestKey(bytes.Repeat([]byte{first}, 32)).ID()
			if id, sealed := sealedWith(t, k); id != want || sealed != all {
				t.Errorf("%s: the metric has key %s, all sealed %v, want %s, %v", what, id, sealed, want, all)
			}
			if _, err := key.Open(old, nil); (err == nil) != opens {
				t.Errorf("%s: what the old key sealed opens: %v, want %v", what, err, opens)
			}
			for i, sealed := range r.values {
				if _, err := key.Open(sealed, nil); err != nil {
					t.Errorf("%s: row %d: %v", what, i, err)
				}
			}
		}
		const soon, minute = 1500 * time.Millisecond, time.Minute
		step("nothing has changed", minute, "", 1, true, true)
		v.put(line(2))
		step("a key comes in place of that in use", minute, "does not have the key that is in use", 1, true, true)
		v.put("nonsense")
		step("a file without keys", minute, "line 1: it must begin with", 1, true, true)
		v.put(line(1), line(2))
		step("the new key comes second", 6*time.Second, "sealed_again=0 other_keys=1", 1, true, true)
		r.breaks(errors.New("the database is away"))
		v.put(line(2), line(1))
		step("the new key comes first, the database is away", minute, "the database is away", 2, false, true)
		v.put(line(2))
		step("the old key goes too early", minute, "", 2, false, true)
		r.breaks(nil)
		step("the database is there again", 6*time.Second, "sealed_again=2 other_keys=0", 2, true, false)
		r.add("c")
		v.put(line(3), line(2))
		step("another exchange", soon, "sealed_again=3 other_keys=1", 3, true, false)
		v.put(line(3))
		step("its end", soon, "sealed_again=0 other_keys=0", 3, true, false)
		step("nothing has changed since", minute, "", 3, true, false)
		if settled == 0 {
			t.Error("writes that were under way with the old key were not waited for")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestReload reads a file at once, and says what is wrong with one that cannot be used.
func TestReload(t *testing.T) {
	v := &volume{t: t, dir: t.TempDir()}
	key, err := seal.Load(v.put(line(1)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rows{key: key, values: [][]byte{key.Seal([]byte("a"), nil)}}
	k := seal.NewKeeper(key, seal.Stored{Service: "test", Reseal: r.reseal}, slog.New(slog.DiscardHandler))
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.put(line(2))
	if err := k.Reload(t.Context()); err == nil || key.Stale(r.values[0]) {
		t.Errorf("Reload without the key in use = %v, want an error, and the key that was there", err)
	}
	v.put(line(2), line(1))
	if err := k.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id, all := sealedWith(t, k); id != key.ID() || !all || key.Stale(r.values[0]) {
		t.Errorf("after Reload the metric has %s, %v, want %s, true, and nothing stale", id, all, key.ID())
	}
	none := seal.NewKeeper(seal.New(), seal.Stored{Service: "test", Reseal: r.reseal}, slog.New(slog.DiscardHandler))
	if err := errors.Join(none.Reload(t.Context()), none.Run(t.Context())); err != nil {
		t.Errorf("a key without a file: %v", err)
	}
}
