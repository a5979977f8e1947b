package processes

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/metadata"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// sealing are the processes of TestExchanges that have the master key.
var sealing = []string{"catalog", "catalog2", "subscription", "subscription2", "gateway", "gateway2"}

// exchanged is a fleet with two of each service, under live sessions.
type exchanged struct {
	*world
	talkers []*talker
	first   string        // the first token
	users   []metadata.MD // with users' tokens, which stay good
}

// TestExchanges runs two of each service on Postgres, with mutual TLS, and exchanges the
// master key, renews all certificates and rotates the signing key under live sessions at
// both gateways, without a restart: no session ends, every message comes back in order and
// is counted, and new sessions are served after each step.
func TestExchanges(t *testing.T) {
	f := startFleet(t, "postgres", local("TIDEGATE_SUBSCRIPTION_SIGNING_KEY_LEAD", "4s"))
	f.twins = true
	var twins []string
	for _, service := range services {
		twins = append(twins, service+"2")
		f.start(service + "2")
	}
	for _, twin := range twins {
		f.ready(twin)
	}
	started := map[string]int{}
	for process, cmd := range f.procs {
		started[process] = cmd.Process.Pid
	}
	x := &exchanged{world: newWorld(f)}
	x.first = x.token()
	admin := x.signsIn()
	talkers, stop := x.talk(4, "gateway", "gateway2")
	x.talkers = talkers
	x.goesOn("before anything")
	x.masterKey()
	x.certificates()
	x.signingKey(admin)
	sent, err := stop()
	if err != nil {
		t.Fatalf("a session did not live through it: %v", err)
	}
	x.wantUsage(sent)
	for process, pid := range started {
		if cmd := x.procs[process]; cmd == nil || cmd.Process.Pid != pid || cmd.ProcessState != nil {
			t.Errorf("%s was restarted, or has ended", process)
		}
	}
}

// goesOn shows that the sessions go on, and that each portal's new tokens, and the first
// token, open new ones at each gateway.
func (x *exchanged) goesOn(when string) {
	x.t.Helper()
	x.progress(x.talkers)
	for _, portal := range []string{"portal", "portal2"} {
		token := x.tokenAt(portal)
		for _, gateway := range []string{"gateway", "gateway2"} {
			for _, token := range []string{token, x.first} {
				conn, err := x.connectTo(gateway, token, true)
				if err != nil {
					x.t.Fatalf("%s: a session at %s with a token of %s: %v", when, gateway, portal, err)
				}
				must(x.t, conn.Close(websocket.StatusNormalClosure, ""))
			}
		}
	}
	for _, user := range x.users {
		x.calls(user, when)
	}
}

// calls shows that a user's token is good at both portals, and so at both catalogs.
func (x *exchanged) calls(user metadata.MD, when string) {
	x.t.Helper()
	for _, portal := range []string{"portal", "portal2"} {
		ctx := metadata.NewOutgoingContext(x.deadline(), user)
		if _, err := catalogv1.NewCatalogServiceClient(x.dial(portal+":9090", "")).ListApis(ctx, &catalogv1.ListApisRequest{}); err != nil {
			x.t.Errorf("%s: ListApis at %s: %v", when, portal, err)
		}
	}
}

// signsIn gets another token of a user.
func (x *exchanged) signsIn() metadata.MD {
	x.t.Helper()
	md, _ := metadata.FromOutgoingContext(x.signedIn())
	x.users = append(x.users, md)
	return md
}

// masterKey exchanges the master key through the three files of docs/deployment.md.
func (x *exchanged) masterKey() {
	x.t.Helper()
	path := filepath.Join(x.dir, "certs/master-key")
	old, err := os.ReadFile(path)
	must(x.t, err)
	before, err := seal.Load(path)
	must(x.t, err)
	next, err := seal.Create(filepath.Join(x.dir, "next-key"))
	must(x.t, err)
	fresh, err := os.ReadFile(filepath.Join(x.dir, "next-key"))
	must(x.t, err)
	for _, step := range []struct {
		file   string
		key    *seal.Key
		others int
	}{
		{string(old) + string(fresh), before, 1},
		{string(fresh) + string(old), next, 1},
		{string(fresh), next, 0},
	} {
		must(x.t, os.WriteFile(path+".new", []byte(step.file), 0o600))
		must(x.t, os.Rename(path+".new", path))
		for _, process := range sealing {
			said := fmt.Sprintf("service=%s key=%s", program(process), step.key.ID())
			x.logs(process, "is sealed with the first master key", said, fmt.Sprintf("other_keys=%d", step.others))
		}
		x.goesOn("with another file of the master key")
	}
	x.sealedWith(next)
}

// logs waits until a process has logged a line with all parts.
func (x *exchanged) logs(process string, parts ...string) {
	x.t.Helper()
	x.eventually(fmt.Sprintf("%s logs %q", process, parts), func() error {
		log, err := os.ReadFile(x.log(process))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(log)) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return nil
			}
		}
		return errors.New("it has not")
	})
}

// sealedWith checks that nothing is left in the databases that another key has sealed.
func (x *exchanged) sealedWith(key *seal.Key) {
	x.t.Helper()
	total := 0
	for _, q := range []struct{ service, query string }{
		{"subscription", `SELECT sealed FROM signing_key`},
		{"subscription", `SELECT canary FROM installation`},
		{"subscription", `SELECT refresh_key FROM installation`},
		{"catalog", `SELECT endpoints FROM version`},
		{"catalog", `SELECT events FROM change WHERE events IS NOT NULL`},
	} {
		rows, err := sqldb.All(x.t.Context(), testdb.Open(x.t, x.db[q.service]), func(row sqldb.Row) (sealed []byte, err error) {
			err = row.Scan(&sealed)
			return sealed, err
		}, q.query)
		must(x.t, err)
		total += len(rows)
		for _, sealed := range rows {
			if key.Stale(sealed) {
				x.t.Errorf("%s of %s still has what the old master key has sealed", q.query, q.service)
			}
		}
	}
	if total < 6 {
		x.t.Errorf("the databases have %d sealed values, want at least 6", total)
	}
}

// certificates renews all certificates: every listener shows its new one, callers may
// come with theirs, and new connections between services are made with them.
func (x *exchanged) certificates() {
	x.t.Helper()
	before := x.serial("gateway")
	x.tidegate("certs", "--renew", filepath.Join(x.dir, "certs"))
	if x.serial("gateway") == before {
		x.t.Fatal("the certificate of the gateway is the old one")
	}
	for _, l := range []struct{ listener, service string }{
		{"gateway:8099", "gateway"}, {"gateway:9193", "gateway"}, {"gateway:9293", "gateway"},
		{"portal:9443", "portal"}, {"portal:9090", "portal"},
		{"catalog:9191", "catalog"}, {"catalog:9291", "catalog"}, {"subscription:9192", "subscription"}, {"subscription:9292", "subscription"},
	} {
		for _, twin := range []string{"", "2"} {
			host, port, _ := strings.Cut(l.listener, ":")
			x.shows(host+twin+":"+port, l.service)
		}
	}
	for _, catalog := range []string{"catalog:9291", "catalog2:9291"} {
		_, err := backplanev1.NewDirectoryServiceClient(x.dial(catalog, "portal")).ListGateways(x.deadline(), &backplanev1.ListGatewaysRequest{})
		must(x.t, err)
	}
	x.goesOn("with new certificates")
}

// serial returns the serial number of a service's certificate.
func (x *exchanged) serial(service string) string {
	x.t.Helper()
	return x.pair(service).Leaf.SerialNumber.String()
}

func (x *exchanged) pair(service string) tls.Certificate {
	x.t.Helper()
	base := filepath.Join(x.dir, "certs", service)
	pair, err := tls.LoadX509KeyPair(base+".pem", base+"-key.pem")
	must(x.t, err)
	return pair
}

// shows checks that a listener shows the certificate that its service has now.
func (x *exchanged) shows(listener, service string) {
	x.t.Helper()
	var peer *x509.Certificate
	dialer := &tls.Dialer{Config: &tls.Config{
		RootCAs: x.roots, ServerName: service, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{x.pair("portal")},
		VerifyConnection: func(s tls.ConnectionState) error { peer = s.PeerCertificates[0]; return nil },
	}}
	conn, err := dialer.DialContext(x.deadline(), "tcp", x.port(listener))
	if err != nil {
		x.t.Fatalf("TLS with %s: %v", listener, err)
	}
	defer conn.Close()
	if got := peer.SerialNumber.String(); got != x.serial(service) {
		x.t.Errorf("%s shows the certificate %s, want the new one, %s", listener, got, x.serial(service))
	}
}

// signingKey rotates the signing key, and waits until both replicas sign with the new one.
func (x *exchanged) signingKey(admin metadata.MD) {
	x.t.Helper()
	ctx := metadata.NewOutgoingContext(x.deadline(), admin)
	made, err := oauth2v1.NewSigningKeyServiceClient(x.conn).RotateSigningKey(ctx, &oauth2v1.RotateSigningKeyRequest{})
	must(x.t, err)
	x.goesOn("with a new signing key that does not sign yet")
	for _, portal := range []string{"portal", "portal2"} {
		x.eventually("tokens of "+portal+" are signed with the new key", func() error {
			kid, err := kidOf(x.tokenAt(portal))
			if err == nil && kid != made.GetKid() {
				err = fmt.Errorf("it is %s, want %s", kid, made.GetKid())
			}
			return err
		})
	}
	if kid, err := kidOf(x.first); err != nil || kid == made.GetKid() {
		x.t.Errorf("the first token is signed with %s, %v, want the old key", kid, err)
	}
	x.signsIn()
	x.goesOn("with a new signing key that signs")
}

// kidOf returns the key id in a token's header.
func kidOf(token string) (string, error) {
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return "", err
	}
	var header struct {
		Kid string `json:"kid"`
	}
	err = json.Unmarshal(text, &header)
	return header.Kid, err
}

// tidegate runs a command of the command line.
func (x *exchanged) tidegate(args ...string) {
	x.t.Helper()
	if out, err := exec.Command(filepath.Join(x.bin, "tidegate"), args...).CombinedOutput(); err != nil {
		x.t.Fatalf("tidegate %q: %v\n%s", args, err, out)
	}
}
