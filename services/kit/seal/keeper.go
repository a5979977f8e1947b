package seal

import (
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/kit/filestamp"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// lookEvery is how often Run looks whether the file has changed, and maxPause the
// longest time between two attempts at what has failed.
const (
	lookEvery = time.Second
	maxPause  = 5 * time.Second
)

// Keeper reads the file of a Key again when it changes, and has everything that is
// stored sealed again with the first key of the file. An exchange of the key goes
// through three files, so that every instance can open what another one has sealed:
//
//	old       the key that seals
//	old new   all instances can open what the new key will seal
//	new old   each instance seals with the new key, and seals again what the old one
//	          has sealed; the log says when nothing is left
//	new       once every instance has said so
//
// A key that is no longer in the file is forgotten only when nothing is left that it
// has sealed. A Keeper is safe for concurrent use.
type Keeper struct {
	key   *Key
	store Stored
	log   *slog.Logger
	gauge *prometheus.GaugeVec

	mu      sync.Mutex
	stamp   filestamp.Stamp // of the file that was read last
	pending bool            // something may be left to be sealed again
	said    string          // the keys of which the log says that all is sealed with the first
	failed  string          // the failure that the log says last
}

// Stored is what a service has sealed.
type Stored struct {
	// Service is the service that stores it.
	Service string
	// Settle waits until no write is under way that may have sealed with another key
	// than the first, or is nil where there can be none.
	Settle func(context.Context) error
	// Reseal seals again what is Stale, and returns how much that was. Its error is
	// ErrOpen when no key opens it. Other instances may run.
	Reseal func(context.Context) (int, error)
}

// NewKeeper returns the keeper of a key and of what it seals.
func NewKeeper(key *Key, stored Stored, log *slog.Logger) *Keeper {
	return &Keeper{key: key, store: stored, log: log, gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidegate_master_key_sealed", Help: "1 where everything that the service has stored is sealed with the first key of its master key file, else 0, by the key's id.",
		ConstLabels: prometheus.Labels{"service": stored.Service},
	}, []string{"key"})}
}

// Metrics returns the metric that says which key seals, and whether all is sealed with it.
func (k *Keeper) Metrics() prometheus.Collector { return k.gauge }

// Start seals again what is stored and stale. It is called before Run and Reload, while
// the service does not write yet; so no write has to be waited for, and nothing is
// written to a database with nothing stale.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key.path != "" {
		var err error
		if k.stamp, err = filestamp.Of(k.key.path); err != nil {
			return err
		}
		// The file may have changed since it was loaded.
		keys, err := k.key.readAgain()
		if err != nil {
			return err
		}
		k.key.keys.Store(&keys)
	}
	k.pending = true
	sealed, err := k.store.Reseal(ctx)
	if err != nil {
		return err
	}
	k.pending = false
	k.sealed(sealed)
	return nil
}

// Run looks for a changed file until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	pause := retry.Backoff{Min: lookEvery, Max: maxPause}
	wait := lookEvery
	for k.key.path != "" && retry.Sleep(ctx, wait) {
		wait = lookEvery
		if err := k.look(ctx); err != nil {
			wait = pause.Next()
			continue
		}
		pause.Reset()
	}
	return nil
}

// look reads the file if it has changed, and logs a failure once.
func (k *Keeper) look(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	stamp, err := filestamp.Of(k.key.path)
	if err == nil && stamp.Same(k.stamp) && !k.pending {
		k.failed = ""
		return nil
	}
	if err == nil {
		err = k.exchange(ctx)
	}
	switch {
	case err == nil:
		k.failed = ""
	case ctx.Err() == nil && err.Error() != k.failed:
		k.failed = err.Error()
		k.log.Error("the changed master key cannot be used yet; the keys that were read before still open", "error", err)
	}
	return err
}

// Reload reads the file at once, whether it looks changed or not, and seals again what
// is stale. A file that cannot be used, or one without the key that seals now, leaves
// the keys as they are.
func (k *Keeper) Reload(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key.path == "" {
		return nil
	}
	return k.exchange(ctx)
}

// exchange replaces the keys by those of the file. Until everything is sealed with the
// first of them, those that the file no longer has still open.
func (k *Keeper) exchange(ctx context.Context) error {
	stamp, err := filestamp.Of(k.key.path)
	if err != nil {
		return err
	}
	next, err := k.key.readAgain()
	if err != nil {
		return err
	}
	k.pending = true
	k.measure(next[0], 0)
	former := slices.DeleteFunc(slices.Clone(k.key.of()), func(o one) bool { return slices.Contains(next, o) })
	all := append(slices.Clip(next), former...)
	k.key.keys.Store(&all)
	if k.store.Settle != nil {
		if err := k.store.Settle(ctx); err != nil {
			return err
		}
	}
	sealed, err := k.store.Reseal(ctx)
	if err != nil {
		return err
	}
	k.key.keys.Store(&next)
	k.stamp, k.pending = stamp, false
	k.sealed(sealed)
	return nil
}

// sealed notes that everything is sealed with the first key, and says so where that is
// new.
func (k *Keeper) sealed(again int) {
	keys := k.key.of()
	k.measure(keys[0], 1)
	var ids []byte
	for _, o := range keys {
		ids = append(ids, o.id[:]...)
	}
	if said := hex.EncodeToString(ids); said != k.said || again > 0 {
		first := k.said == "" && len(keys) == 1 && again == 0
		if k.said = said; first {
			return // a start like any other
		}
		k.log.Info("everything stored here is sealed with the first master key", "service", k.store.Service, "key", k.key.ID(), "sealed_again", again, "other_keys", len(keys)-1)
	}
}

// measure sets the metric.
func (k *Keeper) measure(first one, sealed float64) {
	k.gauge.Reset()
	k.gauge.WithLabelValues(hex.EncodeToString(first.id[:])).Set(sealed)
}
