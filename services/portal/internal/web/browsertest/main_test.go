package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// patience is how long a program may take. Only failures use it up.
const patience = 30 * time.Second

// shared is what all tests use. The first that needs it starts it, TestMain ends it.
var shared struct {
	once     sync.Once
	err      error
	data     string // the folder
	world    *webtest.World
	hasty    *webtest.Tidegate // whose tokens end so soon that every request refreshes them
	hostile  *webtest.Tidegate // in which users sign up, and have stored attacks, once stored is done
	chromium *browser.Chromium
	listed   *site // whose pages may call the portal of world

	stored sync.Once
	long   sync.Once
	longer *webtest.World // names are as long as they may be, once long is done

	mu    sync.Mutex
	names map[string]int // how often own was asked for a name
}

func TestMain(m *testing.M) {
	var err error
	if shared.data, err = os.MkdirTemp("", "tidegate-browser-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := os.RemoveAll(shared.data); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// start starts the servers and the browser that trusts them.
func start() error {
	var err1, err2, err3 error
	if shared.listed, err1 = newSite(); err1 != nil {
		return err1
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		shared.hasty, err1 = webtest.Launch(filepath.Join(shared.data, "hasty"), "-subscription.user-token-lifetime", "30s")
	})
	tasks.Go(func() {
		shared.hostile, err3 = webtest.Launch(filepath.Join(shared.data, "hostile"), "-subscription.sign-up", "open")
	})
	tasks.Go(func() {
		var server *webtest.Tidegate
		if server, err2 = webtest.Launch(filepath.Join(shared.data, "data"), "-portal.cors-origins", shared.listed.URL); err2 == nil {
			shared.world, err2 = webtest.Fill(context.Background(), server, webtest.Plain)
		}
	})
	tasks.Wait()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var err error
	shared.chromium, err = browser.Start(context.Background(), host(shared.world.Portal), host(shared.hasty.Portal), host(shared.hostile.Portal))
	return err
}

// host is the host and port of a URL.
func host(portal string) string { return strings.TrimPrefix(portal, "https://") }

// stop ends what was started.
func stop() error {
	if shared.chromium != nil {
		shared.chromium.Stop()
	}
	if shared.listed != nil {
		shared.listed.Close()
	}
	var all []error
	if shared.longer != nil {
		shared.longer.Close()
	}
	if shared.world != nil {
		shared.world.Close()
		all = append(all, shared.world.Stop())
	}
	for _, s := range []*webtest.Tidegate{shared.hasty, shared.hostile} {
		if s != nil {
			all = append(all, s.Stop())
		}
	}
	return errors.Join(all...)
}

// newTab opens a tab in which nobody has signed in, and returns it with the server that all
// tests share. What a test makes there has names of its own, and nothing that others use
// changes.
func newTab(t *testing.T) (*browser.Tab, *webtest.World) {
	t.Helper()
	w := world(t)
	return shared.chromium.Tab(t, w.Portal), w
}

// world returns the server that all tests share, or skips the test where there is no
// browser.
func world(t *testing.T) *webtest.World {
	t.Helper()
	browser.Require(t)
	shared.once.Do(func() { shared.err = start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world
}

// own returns a name that no other test has, and no earlier run of the same (-count).
func own(name string) string {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.names == nil {
		shared.names = map[string]int{}
	}
	if shared.names[name]++; shared.names[name] > 1 {
		name += strconv.Itoa(shared.names[name])
	}
	return name
}

// node returns the folder of what is installed from npm, or skips the test.
func node(t *testing.T) string {
	t.Helper()
	modules := filepath.Join("..", "..", "..", "..", "e2e", "testdata", "node", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "axe-core")); err != nil {
		const why = "no packages of npm: run npm ci in services/e2e/testdata/node"
		if os.Getenv("TIDEGATE_REQUIRE_NODE") == "1" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return modules
}
