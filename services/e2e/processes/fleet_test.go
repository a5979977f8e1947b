package processes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// adminPassword is what the fleets' administrator signs in with.
const adminPassword = "correct horse battery"

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// binaries is the folder that built fills.
var binaries string

// built builds the binaries once and returns their folder.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tidegate-processes-")
	if err != nil {
		return "", err
	}
	binaries = dir
	cmd := exec.Command("../../../deploy/build", dir)
	cmd.Env = append(os.Environ(), "VERSION=v0.0.0-test")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("deploy/build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries != "" {
		os.RemoveAll(binaries)
	}
	os.Exit(code)
}

// services are the binaries in the order of their dependence. A process is called
// by its binary; further ones of a binary have a number behind it, as gateway2.
var services = []string{"subscription", "catalog", "portal", "gateway"}

// fleet is the four services as processes.
type fleet struct {
	t     *testing.T
	dir   string
	bin   string
	ports map[string]string // what a listener is called → 127.0.0.1:port
	more  map[string]string // further environment
	twins bool              // whether each second process calls the second of other services
	db    map[string]string // service → database URL
	procs map[string]*exec.Cmd
	// started are the processes in the order of their first start.
	started []string
	roots   *x509.CertPool
	http    *http.Client
}

// startFleet starts all four on engine "sqlite" or "postgres" and waits until
// they are ready; more adds to the environment of the samples.
func startFleet(t *testing.T, engine string, more map[string]string) *fleet {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: t.TempDir(), bin: bin, ports: map[string]string{}, more: more, db: map[string]string{}, procs: map[string]*exec.Cmd{}}
	for _, s := range []string{"catalog", "subscription"} {
		f.db[s] = "sqlite:" + filepath.Join(f.dir, s+".db")
		if engine == "postgres" {
			f.db[s] = testdb.PostgresURL(t)
		}
	}
	out, err := exec.Command(filepath.Join(bin, "tidegate"), "certs", "--master-key", filepath.Join(f.dir, "certs")).CombinedOutput()
	if err != nil {
		t.Fatalf("tidegate certs: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "admin-password"), []byte(adminPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.trust()
	t.Cleanup(f.stopAll)
	for _, s := range services {
		f.start(s)
	}
	for _, s := range services {
		f.ready(s)
	}
	return f
}

// trust reads the fleet's authority.
func (f *fleet) trust() {
	pem, err := os.ReadFile(filepath.Join(f.dir, "certs/ca.pem"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.roots = x509.NewCertPool()
	f.roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.roots}}
	f.t.Cleanup(transport.CloseIdleConnections)
	f.http = &http.Client{Transport: transport}
}

// port returns the address of a listener, which stays the same over restarts.
// It is taken from below the range that outgoing connections use.
func (f *fleet) port(name string) string {
	if addr, ok := f.ports[name]; ok {
		return addr
	}
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if slices.Contains(slices.Collect(maps.Values(f.ports)), addr) {
			continue // kept for a listener that is not there yet
		}
		lis, err := net.Listen("tcp", addr)
		if err == nil {
			lis.Close()
			f.ports[name] = addr
			return addr
		}
	}
	f.t.Fatal("no free port")
	return ""
}

// program returns the binary of a process.
func program(process string) string { return strings.TrimRight(process, "0123456789") }

// environ reads the sample of a process's service and puts this machine in the
// place of the compose file's containers.
func (f *fleet) environ(process string) []string {
	service := program(process)
	sample, err := os.Open(filepath.Join("../../../deploy/env", service+".env"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer sample.Close()
	prefix := "TIDEGATE_" + strings.ToUpper(service) + "_"
	var env []string
	lines := bufio.NewScanner(sample)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(key, prefix) {
			f.t.Fatalf("deploy/env/%s.env has the line %q, want %sNAME=value", service, line, prefix)
		}
		env = append(env, key+"="+f.local(process, strings.TrimPrefix(key, prefix), value))
	}
	// What the samples name too comes last.
	env = append(env, prefix+"OPS="+f.port(process+" ops"), prefix+"LOG_FORMAT=text", prefix+"LOG_LEVEL=info")
	if process != service && (service == "catalog" || service == "subscription") { // others have one in the sample, or none
		env = append(env, prefix+"INSTANCE="+process)
	}
	for k, v := range f.more {
		if strings.HasPrefix(k, prefix) {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// local translates one value of a sample.
func (f *fleet) local(process, key, value string) string {
	switch {
	case key == "DB":
		return f.db[program(process)]
	case key == "INSTANCE" && process != program(process):
		return process
	case key == "GRPC_ADVERTISE":
		return f.port(process + ":9293")
	case strings.HasPrefix(value, "/certs/"):
		return filepath.Join(f.dir, value)
	case value == "/run/secrets/admin-password":
		return filepath.Join(f.dir, "admin-password")
	case strings.HasPrefix(value, "/data/"):
		return filepath.Join(f.dir, process+"-"+filepath.Base(value))
	case strings.HasPrefix(value, ":"): // a listener
		return f.port(process + value)
	case strings.Contains(value, ":9") && strings.HasPrefix(value, strings.ToLower(key)+":"): // another service
		host, port, _ := strings.Cut(value, ":")
		if f.twins {
			host += strings.TrimPrefix(process, program(process))
		}
		return f.port(host + ":" + port)
	case key == "GATEWAY_URLS":
		return "wss://" + f.port("gateway:8099") // the plain one, on loopback, would spare consoles TLS
	case key == "ISSUER":
		return "https://" + f.port("portal:9443")
	}
	return value
}

// start runs a service.
func (f *fleet) start(service string) {
	f.t.Helper()
	log, err := os.OpenFile(f.log(service), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(f.bin, program(service)))
	cmd.Dir = f.dir
	cmd.Env = f.environ(service)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = child()
	if err := cmd.Start(); err != nil {
		f.t.Fatalf("start %s: %v", service, err)
	}
	f.procs[service] = cmd
	if !slices.Contains(f.started, service) {
		f.started = append(f.started, service)
	}
}

func (f *fleet) log(service string) string { return filepath.Join(f.dir, service+".log") }

// ready waits until a service says that it is.
func (f *fleet) ready(service string) {
	f.t.Helper()
	f.eventually(service+" is ready", func() error {
		res, err := f.http.Get("http://" + f.port(service+" ops") + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(body))
		}
		return nil
	})
}

// kill ends a service at once, as kill -9 does.
func (f *fleet) kill(service string) {
	f.t.Helper()
	cmd := f.procs[service]
	if err := cmd.Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	_ = cmd.Wait()
	delete(f.procs, service)
}

// stop asks a service to end, waits for it and returns its error.
func (f *fleet) stop(service string) error {
	f.t.Helper()
	cmd := f.procs[service]
	delete(f.procs, service)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	return cmd.Wait()
}

// stopAll ends what still runs, and shows the logs of a failed test.
func (f *fleet) stopAll() {
	for _, s := range slices.Backward(f.started) {
		if f.procs[s] == nil {
			continue
		}
		if f.t.Failed() {
			f.kill(s)
		} else if err := f.stop(s); err != nil {
			f.t.Errorf("%s ended with %v, want exit code 0 after SIGTERM\n%s", s, err, f.tail(s))
		}
	}
	if f.t.Failed() {
		for _, s := range f.started {
			f.t.Logf("log of %s:\n%s", s, f.tail(s))
		}
	}
}

// tail returns the end of a service's log.
func (f *fleet) tail(service string) string {
	b, _ := os.ReadFile(f.log(service))
	return string(b[max(0, len(b)-4000):])
}

// eventually waits until check returns nil.
func (f *fleet) eventually(what string, check func() error) {
	f.t.Helper()
	f.within(patience, what, check)
}

// within waits for so long until check returns nil.
func (f *fleet) within(most time.Duration, what string, check func() error) {
	f.t.Helper()
	deadline := time.Now().Add(most)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("waited %v until %s: %v", most, what, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-f.t.Context().Done():
			f.t.FailNow()
		}
	}
}

// dial connects to a gRPC listener; service names whose certificate is shown,
// empty for none.
func (f *fleet) dial(listener, service string) *grpc.ClientConn {
	f.t.Helper()
	cfg := &tls.Config{RootCAs: f.roots}
	if service != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(f.dir, "certs", service+".pem"), filepath.Join(f.dir, "certs", service+"-key.pem"))
		if err != nil {
			f.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	conn, err := grpc.NewClient(f.port(listener), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

// deadline bounds one call.
func (f *fleet) deadline() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	f.t.Cleanup(cancel)
	return ctx
}
