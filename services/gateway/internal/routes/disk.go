package routes

import (
	gocontext "context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// sealed is what the copy says it is, so that no other sealed file passes for it.
const sealed = "gateway/routes/1"

// maxCopy is the largest copy that is read.
const maxCopy = 1 << 30

// saveDelay joins changes that come together into one write.
const saveDelay = time.Second

// Disk keeps the last routes in a file, sealed, for a start while the catalog is
// away. Grants are never in it. A copy that cannot be written or read is logged
// and does no harm otherwise.
type Disk struct {
	path  string
	key   *seal.Key
	log   *slog.Logger
	delay time.Duration

	mu    sync.Mutex
	next  []*backplanev1.Route // to be saved; nil: nothing
	dirty chan struct{}
}

// NewDisk returns a copy in the file at path.
func NewDisk(path string, key *seal.Key, log *slog.Logger) *Disk {
	return &Disk{path: path, key: key, log: log, delay: saveDelay, dirty: make(chan struct{}, 1)}
}

// Load returns what is in the file, nil where there is nothing that can be used.
func (d *Disk) Load() []*backplanev1.Route {
	list, err := d.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.log.Info("no routes on disk yet", "file", d.path)
	case err != nil:
		d.log.Warn("routes on disk not used", "file", d.path, "error", err)
	default:
		d.log.Info("routes read from disk", "file", d.path, "routes", len(list))
	}
	return list
}

func (d *Disk) load() ([]*backplanev1.Route, error) {
	info, err := os.Stat(d.path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCopy {
		return nil, errors.New("not a file of routes")
	}
	text, err := os.ReadFile(d.path)
	if err != nil {
		return nil, err
	}
	plain, err := d.key.Open(text, []byte(sealed))
	if err != nil {
		return nil, err
	}
	snapshot := &backplanev1.RouteSnapshot{}
	if err := proto.Unmarshal(plain, snapshot); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return snapshot.GetRoutes(), nil
}

// Save notes what is to be in the file; Run writes it. It keeps the list, whose
// routes nobody changes.
func (d *Disk) Save(list []*backplanev1.Route) {
	d.mu.Lock()
	d.next = slices.Clip(list)
	if d.next == nil {
		d.next = []*backplanev1.Route{}
	}
	d.mu.Unlock()
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// Run writes what Save was given until ctx ends, and what is left then.
func (d *Disk) Run(ctx gocontext.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.dirty:
			select {
			case <-ctx.Done():
			case <-time.After(d.delay):
			}
		}
		d.flush()
	}
	return nil
}

func (d *Disk) flush() {
	d.mu.Lock()
	list := d.next
	d.next = nil
	d.mu.Unlock()
	if list == nil {
		return
	}
	if err := d.write(list); err != nil {
		d.log.Error("routes not written to disk", "file", d.path, "error", err)
	}
}

// write replaces the file in one step.
func (d *Disk) write(list []*backplanev1.Route) error {
	slices.SortFunc(list, func(a, b *backplanev1.Route) int { return strings.Compare(a.GetName(), b.GetName()) })
	plain, err := proto.Marshal(&backplanev1.RouteSnapshot{Routes: list})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	dir := filepath.Dir(d.path)
	f, err := os.CreateTemp(dir, filepath.Base(d.path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(d.key.Seal(plain, []byte(sealed)))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in a folder last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
