package routes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/sealedfile"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// purpose is what the file is sealed for.
const purpose = "gateway/routes/1"

// saveDelay gathers changes that come close together into one write.
const saveDelay = time.Second

// Disk keeps the last routes, plans and deny rules in a sealed file, for a start while the catalog is
// away. Grants are never written to it. Failures to read or write it are logged
// and have no other effect.
type Disk struct {
	file  *sealedfile.File
	log   *slog.Logger
	delay time.Duration
	// writing is how writing the file goes.
	writing *retry.Streak

	mu    sync.Mutex
	next  *backplanev1.RouteSnapshot // to be written; nil: nothing
	dirty chan struct{}
}

// NewDisk returns a Disk that uses the file at path.
func NewDisk(path string, key *seal.Key, log *slog.Logger) *Disk {
	return &Disk{
		file: &sealedfile.File{Path: path, Key: key, Purpose: purpose}, log: log, delay: saveDelay, dirty: make(chan struct{}, 1),
		writing: retry.NewStreak(log, slog.LevelError, "routes not written to disk", "file", path),
	}
}

// Load returns what is in the file, nil if there is nothing that can be used.
func (d *Disk) Load() *backplanev1.RouteSnapshot {
	last, err := d.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.log.Info("no routes on disk yet", "file", d.file.Path)
	case err != nil:
		d.log.Warn("routes on disk not used", "file", d.file.Path, "error", err)
	default:
		d.log.Info("routes read from disk", "file", d.file.Path, "routes", len(last.GetRoutes()))
	}
	return last
}

func (d *Disk) load() (*backplanev1.RouteSnapshot, error) {
	plain, err := d.file.Read()
	if err != nil {
		return nil, err
	}
	snapshot := &backplanev1.RouteSnapshot{}
	if err := proto.Unmarshal(plain, snapshot); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return snapshot, nil
}

// save leaves a snapshot to Run to write. It owns the snapshot from then on; the
// routes must not change any more.
func (d *Disk) save(snapshot *backplanev1.RouteSnapshot) {
	d.mu.Lock()
	d.next = snapshot
	d.mu.Unlock()
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// Reseal seals the file with the first master key, if it is not, and reports whether it
// was not.
func (d *Disk) Reseal() (bool, error) { return d.file.Reseal() }

// Run writes what save is given until ctx ends, and what is left then.
func (d *Disk) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.dirty:
			retry.Sleep(ctx, d.delay)
		}
		d.flush(context.WithoutCancel(ctx)) // also what is left at the end
	}
	return nil
}

func (d *Disk) flush(ctx context.Context) {
	d.mu.Lock()
	next := d.next
	d.next = nil
	d.mu.Unlock()
	if next == nil {
		return
	}
	d.writing.Note(ctx, d.write(next))
}

// write replaces the file.
func (d *Disk) write(snapshot *backplanev1.RouteSnapshot) error {
	slices.SortFunc(snapshot.Routes, func(a, b *backplanev1.Route) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(snapshot.Plans, func(a, b *catalogv1.Plan) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(snapshot.DenyRules, func(a, b *catalogv1.DenyRule) int { return strings.Compare(a.GetName(), b.GetName()) })
	plain, err := proto.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return d.file.Write(plain)
}
