package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/filestamp"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

// Folder chooses among the certificates in a folder by the name that a client asks for. Each
// is a file NAME.crt with its key in NAME.key, both PEM, and is for the DNS names in it, which
// may be wildcards. It follows the files, also new ones and those that go. It is safe for
// concurrent use.
type Folder struct {
	dir string
	log *slog.Logger

	mu    sync.Mutex
	stamp filestamp.Stamp
	pairs map[string]*pair // by the path of the certificate
	names map[string]*pair // by DNS name
	// failed are new pairs that cannot be used, and why the folder cannot be read, under "".
	failed map[string]failure
}

// pair is a certificate that can be used.
type pair struct {
	source *Source
	cert   *tls.Certificate // whose names are known
}

// failure is why a pair cannot be used.
type failure struct {
	err    error
	stamps [2]filestamp.Stamp // of its files then
}

// OpenFolder reads the certificates in a folder, all of which must be good. Those that
// come or change later and cannot be used are logged and left out; what they had before stays
// in use.
func OpenFolder(dir string, log *slog.Logger) (*Folder, error) {
	f := &Folder{dir: dir, log: log, pairs: map[string]*pair{}, failed: map[string]failure{}}
	f.look()
	return f, f.errs()
}

// Get returns the certificate for a DNS name: one that has the name itself, or else one that
// has it by a wildcard; nil for none.
func (f *Folder) Get(name string) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	for {
		name = strings.ToLower(name)
		p := f.names[name]
		if p == nil {
			p = f.names[hostname.Above(name)]
		}
		if p == nil {
			return nil
		}
		if cert, _ := p.source.current(); cert == p.cert {
			return cert
		}
		f.index() // it may be for other names now
	}
}

// Reload reads all files again, whether they look changed or not.
func (f *Folder) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stamp = filestamp.Stamp{}
	f.failed = map[string]failure{}
	for _, p := range f.pairs {
		_ = p.source.Reload() // errs says it
	}
	f.look()
	return f.errs()
}

// Failed looks at all files, and returns how many certificates are not as they say.
func (f *Folder) Failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	f.index()
	n := len(f.failed)
	for _, p := range f.pairs {
		if p.source.Failed() {
			n++
		}
	}
	return n
}

// errs returns everything that cannot be used.
func (f *Folder) errs() error {
	var all []error
	for _, path := range slices.Sorted(maps.Keys(f.failed)) {
		all = append(all, f.failed[path].err)
	}
	for _, path := range slices.Sorted(maps.Keys(f.pairs)) {
		all = append(all, f.pairs[path].source.why())
	}
	return errors.Join(all...)
}

// look reads what is new in the folder, forgets what is gone, and tries what has failed
// again if it has changed.
func (f *Folder) look() {
	stamp, err := filestamp.Of(f.dir)
	if err != nil {
		f.fail("", failure{err: fmt.Errorf("read folder of certificates: %w", err)})
		return
	}
	changed := !stamp.Same(f.stamp)
	if !changed && len(f.failed) == 0 {
		return
	}
	delete(f.failed, "")
	found := slices.Collect(maps.Keys(f.failed))
	if changed {
		// What goes on in the folder meanwhile is found the next time.
		if found, err = filepath.Glob(filepath.Join(escape(f.dir), "*.crt")); err != nil {
			f.fail("", failure{err: fmt.Errorf("read folder of certificates: %w", err)})
			return
		}
		if f.stamp = stamp; stamp.Fresh(time.Now()) {
			f.stamp = filestamp.Stamp{} // it is looked at once more
		}
		f.forget(found)
	}
	for _, path := range found {
		if f.pairs[path] == nil && f.add(path) {
			changed = true
		}
	}
	if changed {
		f.index()
	}
}

// escape returns a path as Glob takes it for itself.
func escape(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

// forget leaves out what is no longer in the folder.
func (f *Folder) forget(found []string) {
	for path := range f.pairs {
		if !slices.Contains(found, path) {
			delete(f.pairs, path)
			f.log.Info("certificate of virtual hosts is gone", "certificate", path)
		}
	}
	maps.DeleteFunc(f.failed, func(path string, _ failure) bool { return !slices.Contains(found, path) })
}

// add reads a new pair, unless it has failed and looks as it did then. It reports whether it
// can be used.
func (f *Folder) add(path string) bool {
	key := strings.TrimSuffix(path, ".crt") + ".key"
	now := failure{}
	for i, file := range []string{path, key} {
		now.stamps[i], _ = filestamp.Of(file) // the zero stamp is that of no file
	}
	if last, again := f.failed[path]; again && last.stamps[0].Same(now.stamps[0]) && last.stamps[1].Same(now.stamps[1]) {
		return false
	}
	source, err := Open(Files{Cert: path, Key: key}, f.log)
	if err == nil && len(source.cert.Leaf.DNSNames) == 0 {
		err = fmt.Errorf("read certificate %s: it has no DNS names", path)
	}
	if err != nil {
		now.err = err
		f.fail(path, now)
		return false
	}
	delete(f.failed, path)
	f.pairs[path] = &pair{source: source, cert: source.cert}
	f.log.Info("certificate of virtual hosts read", "certificate", path, "names", source.cert.Leaf.DNSNames)
	return true
}

// fail notes and logs why a pair cannot be used, the same failure once.
func (f *Folder) fail(path string, now failure) {
	if last, again := f.failed[path]; !again || last.err.Error() != now.err.Error() {
		f.log.Error("certificate of virtual hosts cannot be used", "error", now.err)
	}
	f.failed[path] = now
}

// index finds the pair for each name as the files are now: of several the one that is valid
// the longest.
func (f *Folder) index() {
	f.names = map[string]*pair{}
	for _, path := range slices.Sorted(maps.Keys(f.pairs)) {
		p := f.pairs[path]
		p.cert, _ = p.source.current()
		for _, name := range p.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			if other := f.names[name]; other == nil || p.cert.Leaf.NotAfter.After(other.cert.Leaf.NotAfter) {
				f.names[name] = p
			}
		}
	}
}
