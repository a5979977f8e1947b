package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// applications are APIs in front of the servers of testdata/node/applications.mjs.
type applications struct {
	user     *user
	backends map[string]string
	client   *product // an application
}

// newApplications starts the servers.
func newApplications(t *testing.T, p *user) *applications {
	t.Helper()
	a := &applications{user: p, backends: map[string]string{}}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "node", "applications.mjs")
	cmd.Dir, cmd.Stderr = node(t), os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node applications.mjs: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("node applications.mjs: %v", err)
	}
	ports := map[string]int{}
	if err := json.Unmarshal([]byte(line), &ports); err != nil {
		t.Fatalf("node applications.mjs says %q: %v", line, err)
	}
	for name, port := range ports {
		a.backends[name] = fmt.Sprintf("ws://127.0.0.1:%d", port)
	}
	return a
}

// version publishes a version of a new API in front of a server.
func (a *applications) version(t *testing.T, name, context, backend string, security ...*catalogv1.SecurityScheme) *catalogv1.Version {
	t.Helper()
	p := a.user
	api, err := p.catalog.CreateApi(p.ctx(t), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: context}})
	if err != nil {
		t.Fatal(err)
	}
	version, err := p.catalog.CreateVersion(p.ctx(t), &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(backend)}, Plans: []string{p.plan(t, "Gold")}, Security: security,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p.publishVersion(t, version.GetName())
}

// publish publishes an API in front of a server, and returns its address and, unless
// it needs none, a token of an application that is subscribed to it.
func (a *applications) publish(t *testing.T, name, context, backend string, security ...*catalogv1.SecurityScheme) (address, token string) {
	t.Helper()
	version := a.version(t, name, context, backend, security...)
	if len(security) > 0 {
		return a.user.stack.WS + context + "/1.0.0", ""
	}
	return a.user.stack.WS + context + "/1.0.0", a.admit(t, version)
}

// admit subscribes an application to a version, and returns a token of it.
func (a *applications) admit(t *testing.T, version *catalogv1.Version) (token string) {
	t.Helper()
	p := a.user
	if a.client == nil {
		a.client = p.application(t, "Clients")
	}
	p.subscribe(t, a.client.app.GetName(), version.GetName())
	return p.accessToken(t, a.client)
}

// publishHTTP is publish for a server that also gets the HTTP beside the socket.
func (a *applications) publishHTTP(t *testing.T, name, context, backend string) (address, token string) {
	t.Helper()
	p, version := a.user, a.version(t, name, context, backend)
	var header metadata.MD
	updated, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{
			Name: version.GetName(), Http: &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: endpoint("http" + strings.TrimPrefix(backend, "ws"))}},
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"http"}},
	}, grpc.Header(&header))
	p.moved(t, updated, header, err)
	return p.stack.WS + context + "/1.0.0", a.admit(t, updated)
}

// publishAll publishes an API that needs no token, and whose default version gets all
// paths below the context.
func (a *applications) publishAll(t *testing.T, name, context, backend string) {
	t.Helper()
	p, version := a.user, a.version(t, name, context, backend, anonymous())
	api, _, _ := strings.Cut(version.GetName(), "/versions/")
	var header metadata.MD
	_, err := p.catalog.UpdateApi(p.ctx(t), &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{Name: api, DefaultVersion: version.GetName(), DefaultVersionPaths: true},
	}, grpc.Header(&header))
	p.moved(t, version, header, err)
}

// anonymous is the security scheme none.
func anonymous() *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
}

// TestApplications lets the clients of real applications talk to their servers: those
// from npm, and Debian's package of Python. A page in a browser is in the portal's browsertest.
func TestApplications(t *testing.T) {
	t.Parallel()
	node(t)
	a := newApplications(t, onSQLite(t).admin(t))
	t.Run("node", a.nodeClients)
	t.Run("python", a.pythonClient)
}

// nodeClients runs testdata/node/clients.mjs.
func (a *applications) nodeClients(t *testing.T) {
	type to struct {
		URL     string `json:"url"`
		Token   string `json:"token,omitempty"`
		Path    string `json:"path,omitempty"`
		Foreign string `json:"foreign,omitempty"`
	}
	addresses := map[string]to{}
	for name, backend := range map[string]string{
		"graphql-ws": "graphql", "mqtt": "mqtt", "actioncable": "actioncable", "node WebSocket": "echo",
	} {
		url, token := a.publish(t, backend, "/"+backend, a.backends[backend])
		addresses[name] = to{URL: url, Token: token}
	}
	hub, _ := a.publish(t, "signalr", "/signalr", a.backends["signalr"], anonymous())
	addresses["signalr"] = to{URL: hub}
	addresses["signalr, token of its own"] = to{URL: hub, Foreign: "a token of the hub's own"}
	url, token := a.publish(t, "socketio", "/socketio", a.backends["socketio"])
	addresses["socket.io"] = to{URL: url, Token: token}
	a.publishAll(t, "socket.io", "/socket.io", a.backends["socketio"]+"/socket.io")
	addresses["socket.io, default path"] = to{URL: a.user.stack.WS}
	a.publishAll(t, "Below", "/below", a.backends["socketio"])
	addresses["socket.io, default version"] = to{URL: a.user.stack.WS + "/below"}
	for server, clients := range map[string][]string{
		"socketio": {"socket.io, by default", "socket.io, polling"},
		"signalr":  {"signalr, by default", "signalr, server-sent events", "signalr, long polling"},
	} {
		url, token := a.publishHTTP(t, "Beside "+server, "/beside-"+server, a.backends[server])
		for _, name := range clients {
			addresses[name] = to{URL: url, Token: token}
		}
	}
	text, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	cmd := exec.CommandContext(within(t), "node", "clients.mjs")
	cmd.Dir = node(t)
	cmd.Env = append(os.Environ(), "ADDRESSES="+string(text))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node clients.mjs: %v", err)
	}
	for name := range addresses {
		if !strings.Contains("\n"+string(out), "\n"+name+": ok\n") {
			t.Errorf("%s is not ok:\n%s", name, out)
		}
	}
}

// pythonClient runs testdata/python/client.py.
func (a *applications) pythonClient(t *testing.T) {
	url, token := a.publish(t, "Python", "/python", a.backends["echo"])
	t.Parallel()
	out, err := exec.CommandContext(within(t), python(t), filepath.Join("testdata", "python", "client.py"), url, token).CombinedOutput()
	want := "protocol one\ntext hello\nbinary 00ff\nfragments one two three\npong\nclosed 4321 as you said\n"
	if err != nil || string(out) != want {
		t.Errorf("client.py: %v\n%s\nwant\n%s", err, out, want)
	}
}

// python returns a Python that has websockets.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(within(t), p, "-c", "import websockets").Run() == nil {
			return p
		}
	}
	missing(t, "TIDEGATE_REQUIRE_PYTHON", "no Python with websockets: install python3-websockets")
	return ""
}
