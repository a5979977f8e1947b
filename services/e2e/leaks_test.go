package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/leaks"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// leakRun is a server that is used with credentials, and all that came out of it.
type leakRun struct {
	*server
	t     *testing.T
	admin *user
	ops   string
	// backend gets no credential but first messages that are passed on, trusted also those of
	// a version that passes them on, and the secrets in its headers.
	backend, trusted string
	// databases are the URLs of the databases on Postgres, none where they are files.
	databases []string
	// secrets are the credentials. Those of passed may be with the backend, those of given with
	// the trusted one, and nowhere else. planted is a text that is none, and must be found
	// wherever the search reads.
	secrets, passed, given, planted leaks.Searcher

	// meant is what a backend must have got, by the backend.
	meant map[string]map[string]bool

	mu    sync.Mutex
	wrote map[string]*strings.Builder // by who wrote or got it
}

// marker is the text that is planted.
const marker = "planted-A1b2C3d4E5f6G7h8"

// notes keeps what somebody wrote or got.
func (l *leakRun) notes(who, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote[who] == nil {
		l.wrote[who] = &strings.Builder{}
	}
	l.wrote[who].WriteString(text + "\n")
}

// newLeakRun starts a server that logs at all levels, and backends that keep all they get.
func newLeakRun(t *testing.T, databases ...string) *leakRun {
	t.Helper()
	l := &leakRun{t: t, databases: databases, wrote: map[string]*strings.Builder{}, meant: map[string]map[string]bool{"the backend": {}, "the trusted backend": {}}}
	l.planted.Add("what is planted", marker)
	l.backend, l.trusted = l.listen("the backend"), l.listen("the trusted backend")
	var stores []string
	if len(databases) == 2 {
		stores = []string{"-catalog.db", databases[0], "-subscription.db", databases[1]}
	}
	ready := make(chan standalone.Addresses, 1)
	data := newData(t)
	l.server = launch(t, data, func(a standalone.Addresses) { ready <- a }, slices.Concat(quick(), stores, []string{"-no-sample", "-ops", "0",
		"-log-level", "debug", "-log-format", "json", "-security-log", filepath.Join(t.TempDir(), "security.log"), "-subscription.sign-up", "open"})...)
	t.Cleanup(func() {
		l.stop()
		l.wait(t)
	})
	at := await(t, ready)
	l.ops = at.Ops
	l.Stack = &Stack{
		Portal: at.Portal, GRPC: at.GRPC, WS: at.WS, WSS: at.WSS, CA: filepath.Join(data, "ca.pem"), PasswordFile: filepath.Join(data, "admin-password"),
	}
	l.admin = l.Stack.admin(t)
	return l
}

// listen starts a backend, and returns its address.
func (l *leakRun) listen(who string) string {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(who, w, r) }))
	l.t.Cleanup(backend.Close)
	return "ws" + strings.TrimPrefix(backend.URL, "http")
}

// serve is a backend: it echoes, and keeps heads and messages.
func (l *leakRun) serve(who string, w http.ResponseWriter, r *http.Request) {
	head, err := httputil.DumpRequest(r, false)
	if err != nil {
		l.t.Errorf("the request of %s: %v", who, err)
	}
	l.notes(who, string(head))
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat"}})
	if err != nil {
		return
	}
	for {
		kind, message, err := conn.Read(l.t.Context())
		if err != nil {
			return
		}
		l.notes(who, string(message))
		if conn.Write(l.t.Context(), kind, message) != nil {
			return
		}
	}
}

// gather notes all that the server has written, stored and tells, once it has reported.
func (l *leakRun) gather() {
	l.t.Helper()
	ctx, conn := l.admin.ctx(l.t), l.dial(l.t)
	text := func(m proto.Message, err error) string {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
		return protojson.Format(m)
	}
	records := usagev1.NewUsageServiceClient(conn)
	eventually(l.t, func() error { // the last refusal is reported
		list, err := records.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{PageSize: 1, Filter: `code = "DENIED"`})
		if err == nil && len(list.GetSessionRecords()) == 0 {
			err = fmt.Errorf("the denied handshake is not recorded")
		}
		return err
	})
	l.notes("records", text(records.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{PageSize: 1000})))
	l.notes("usage", text(records.ListUsage(ctx, &usagev1.ListUsageRequest{GroupBy: []string{"application", "version"}})))
	l.notes("the audit log", text(l.admin.changes.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/-", PageSize: 1000})))
	eventually(l.t, func() error {
		list, err := identityv1.NewSecurityEventServiceClient(conn).ListSecurityEvents(ctx, &identityv1.ListSecurityEventsRequest{PageSize: 1000})
		if err == nil && len(l.planted.Find(protojson.Format(list))) == 0 {
			err = fmt.Errorf("the failed sign-in is not in the security log")
		}
		if err == nil {
			l.notes("security events", protojson.Format(list))
		}
		return err
	})
	res, err := http.Get(l.ops + "/metrics")
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	l.notes("metrics", body(l.t, res))
	l.stop()
	if code := l.wait(l.t); code != 0 {
		l.t.Errorf("the server ended with %d", code)
	}
	_, log := l.output()
	l.notes("the log", log)
	l.files()
	l.rows()
}

// files notes what is in the files of the server, but for those with its secrets.
func (l *leakRun) files() {
	l.t.Helper()
	err := filepath.WalkDir(l.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "admin-password" {
			return err
		}
		content, err := os.ReadFile(path)
		l.notes("the data folder", path+"\n"+string(content))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// rows notes what is in the tables of the server's databases on Postgres. Bytes are shown as
// text, as far as they are any.
func (l *leakRun) rows() {
	l.t.Helper()
	ctx := within(l.t)
	texts := func(tx *sqldb.Tx, query string) []string {
		l.t.Helper()
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			l.t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		var all []string
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				l.t.Fatal(err)
			}
			all = append(all, text)
		}
		if err := rows.Err(); err != nil {
			l.t.Fatal(err)
		}
		return all
	}
	for _, url := range l.databases {
		err := testdb.Open(l.t, url).InTx(ctx, func(tx *sqldb.Tx) error {
			if _, err := tx.ExecContext(ctx, "SET LOCAL bytea_output = 'escape'"); err != nil {
				return err
			}
			for _, table := range texts(tx, "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()") {
				l.notes("the databases", table+"\n"+strings.Join(texts(tx, "SELECT CAST(t AS TEXT) FROM "+table+" t"), "\n"))
			}
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

// TestNoCredentialLeaks uses credentials of every kind in every place, well and badly, and
// then searches all that came out of the server: its log at every level, metrics, security
// log, session records, usage, audit log, answers and files, and what the backend got. A
// text that is planted where such things end up is found there, so the search reads them.
func TestNoCredentialLeaks(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		noCredentialLeaks(t, newLeakRun(t), "the data folder")
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		noCredentialLeaks(t, newLeakRun(t, testdb.PostgresURL(t), testdb.PostgresURL(t)), "the databases")
	})
}

// noCredentialLeaks is TestNoCredentialLeaks with one kind of database; stored is who keeps
// what is planted.
func noCredentialLeaks(t *testing.T, l *leakRun, stored string) {
	l.places()
	l.messages()
	l.passes()
	l.connections()
	l.tickets()
	l.renewals()
	l.issues()
	l.gather()
	began := time.Now()
	for who, wrote := range l.wrote {
		for _, leak := range l.secrets.Find(wrote.String()) {
			t.Errorf("%s has %s", who, leak)
		}
		for to, given := range map[string]*leaks.Searcher{"the backend": &l.passed, "the trusted backend": &l.given} {
			found := given.Find(wrote.String())
			if who != to {
				for _, leak := range found {
					t.Errorf("%s has %s, which only %s may have", who, leak, to)
				}
				continue
			}
			for what := range l.meant[to] {
				if !slices.ContainsFunc(found, func(leak leaks.Leak) bool { return leak.What == what }) {
					t.Errorf("%s did not get %s: the search does not read it", who, what)
				}
			}
		}
	}
	t.Logf("searched in %s", time.Since(began))
	for _, who := range []string{"the backend", "records", "usage", "the audit log", "security events", stored} {
		if l.wrote[who] == nil || len(l.planted.Find(l.wrote[who].String())) == 0 {
			t.Errorf("%s does not have what was planted: the search does not read it", who)
		}
	}
	for who, word := range map[string]string{
		"the log": `"level":"DEBUG"`, "metrics": "tidegate_handshakes", "the gateway's answers": "CREDENTIAL_INVALID", "the portal's answers": "invalid_client", "the services' answers": "password",
	} {
		if l.wrote[who] == nil || !strings.Contains(l.wrote[who].String(), word) {
			t.Errorf("%s does not say %s: the search does not read it", who, word)
		}
	}
}
