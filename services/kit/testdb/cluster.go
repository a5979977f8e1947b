package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// startTimeout bounds the start of a cluster.
const startTimeout = 60 * time.Second

// script runs a cluster in the folder $1 with the binaries in $2 and the server's further
// options until its stdin ends, as it does when the test process ends for whatever reason.
// Then it stops the server and removes the folder. It repeats the signal because a server
// that has only just started may miss it.
const script = `
folder=$1 bin=$2
shift 2
"$bin/initdb" -D "$folder/data" -A trust -U tidegate -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 || { touch "$folder/failed"; cat >/dev/null; rm -rf "$folder"; exit 1; }
"$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c fsync=off -c full_page_writes=off \
	-c synchronous_commit=off -c max_connections=300 -c shared_buffers=64MB -c deadlock_timeout=50ms "$@" >>"$folder/log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
while kill -QUIT "$pid" 2>/dev/null; do sleep 0.05; done
rm -rf "$folder"
`

// server is the Postgres that tests use: one given by URL, or a cluster of this
// process.
type server struct {
	url     string
	cluster *cluster
}

// shared is the server of this process. It is package state because the tests of a
// process share one cluster, and nothing else spans them.
var shared = sync.OnceValues(func() (server, error) {
	if url := os.Getenv("TIDEGATE_TEST_POSTGRES_URL"); url != "" {
		return server{url: url}, nil
	}
	c, err := start()
	return server{cluster: c}, err
})

// schema makes a schema in the server that was given, and returns its URL.
func (s server) schema(t testing.TB) string {
	t.Helper()
	name := newName()
	execOn(t, s.url, "CREATE SCHEMA "+name)
	t.Cleanup(func() { execOn(t, s.url, dropSchema(name)) })
	u, err := s.within(name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// within returns the URL of a schema.
func (s server) within(schema string) (string, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return "", errors.New("TIDEGATE_TEST_POSTGRES_URL is not a URL")
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// newName returns the name of a new database or schema.
func newName() string { return "test_" + strings.ToLower(rand.Text()[:16]) }

func dropSchema(name string) string { return "DROP SCHEMA " + name + " CASCADE" }

// cluster is a throwaway Postgres that ends with the process.
type cluster struct {
	folder string
	cmd    *exec.Cmd // of the script
	stdin  io.Closer // held open as long as the process lives
	// strategy ends a CREATE DATABASE: copying files takes a quarter of the time of
	// writing them to the log, which newer servers do.
	strategy string

	mu        sync.Mutex
	templates map[string]string
}

// start makes a cluster, whose server gets further options.
func start(options ...string) (*cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(short(), "tgpg")
	if err != nil {
		return nil, fmt.Errorf("make folder of the cluster: %w", err)
	}
	cmd := exec.Command("sh", append([]string{"-c", script, "sh", folder, bin}, options...)...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	if err := stepDown(cmd, folder); err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		os.RemoveAll(folder)
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	c := &cluster{folder: folder, cmd: cmd, stdin: stdin, templates: map[string]string{}}
	if err := c.await(); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// stop ends the cluster, and waits until its folder is gone.
func (c *cluster) stop() {
	c.stdin.Close()
	_ = c.cmd.Wait() // the server's own end is no error
}

// short returns a folder in which the path of a unix socket stays short and which
// other users may enter.
func short() string {
	if info, err := os.Stat("/tmp"); err == nil && info.IsDir() {
		return "/tmp"
	}
	return ""
}

// binaries returns the folder of initdb and postgres.
func binaries() (string, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(folders)
	if path, err := exec.LookPath("postgres"); err == nil {
		folders = slices.Insert(folders, 0, filepath.Dir(path))
	}
	if bin := os.Getenv("PGBIN"); bin != "" {
		folders = []string{bin}
	}
	for _, folder := range folders {
		_, err1 := os.Stat(filepath.Join(folder, "initdb"))
		_, err2 := os.Stat(filepath.Join(folder, "postgres"))
		if err1 == nil && err2 == nil {
			return folder, nil
		}
	}
	return "", errors.New("neither TIDEGATE_TEST_POSTGRES_URL nor the programs initdb and postgres in PGBIN, PATH or /usr/lib/postgresql")
}

// await waits until the cluster answers.
func (c *cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			if major, _ := strconv.Atoi(strings.Split(conn.PgConn().ParameterStatus("server_version"), ".")[0]); major >= 15 {
				c.strategy = " STRATEGY FILE_COPY"
			}
			return conn.Close(ctx)
		}
		if _, failed := os.Stat(filepath.Join(c.folder, "failed")); failed == nil || ctx.Err() != nil {
			text, _ := os.ReadFile(filepath.Join(c.folder, "log"))
			return fmt.Errorf("start Postgres: %w: %s", err, strings.TrimSpace(string(text)))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *cluster) url(database string) string {
	return "postgres://tidegate@/" + database + "?host=" + url.QueryEscape(c.folder)
}

// database makes a copy of template that is dropped with the test, and returns its
// URL.
func (c *cluster) database(t testing.TB, template string) string {
	t.Helper()
	name := newName()
	execOn(t, c.url("postgres"), "CREATE DATABASE "+name+" TEMPLATE "+template+c.strategy)
	t.Cleanup(func() { execOn(t, c.url("postgres"), "DROP DATABASE "+name+" WITH (FORCE)") })
	return c.url(name)
}

// template returns the name of a database with this schema, which is made at the
// first call.
func (c *cluster) template(ctx context.Context, schema sqldb.Schema) (string, error) {
	if len(schema.Parts) == 0 {
		return "template0", nil
	}
	sum, err := hash(schema)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := c.templates[sum]; name != "" {
		return name, nil
	}
	name := "template_" + strings.ToLower(rand.Text()[:16])
	if err := execute(ctx, c.url("postgres"), "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	db, err := sqldb.Open(ctx, c.url(name))
	if err != nil {
		return "", err
	}
	defer db.Close()
	if err := sqldb.Migrate(ctx, db, schema); err != nil {
		return "", err
	}
	c.templates[sum] = name
	return name, nil
}

// hash tells one schema from another.
func hash(schema sqldb.Schema) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", schema.Service)
	for _, part := range schema.Parts {
		fmt.Fprintf(h, "%q\n", part.Name)
		names, err := fs.Glob(part.Files, "migrations/*.sql")
		if err != nil {
			return "", err
		}
		for _, name := range names {
			text, err := fs.ReadFile(part.Files, name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func execOn(t testing.TB, url, statement string) {
	t.Helper()
	if err := execute(context.Background(), url, statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

// execute runs one statement on a connection of its own.
func execute(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
