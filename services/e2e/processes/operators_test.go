package processes

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// command runs the command line as an operator does, and returns what it prints.
func (w *world) command(stdin string, args ...string) (stdout, stderr string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.deadline(), filepath.Join(w.bin, "tidegate"), args...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"TIDEGATE_SERVER=" + w.port("portal:9090"), "TIDEGATE_CA=" + filepath.Join(w.dir, "certs/ca.pem"),
		"TIDEGATE_HOME=" + filepath.Join(w.dir, "operator"),
	}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("tidegate %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), errs.String()
}

// listed are the gateways and refs that session list prints.
func (w *world) listed() (gateways, refs []string, stderr string) {
	w.t.Helper()
	stdout, stderr := w.command("", "session", "list", "--output", "json")
	var list struct{ Sessions []struct{ Name string } }
	must(w.t, json.Unmarshal([]byte(stdout), &list))
	for _, s := range list.Sessions {
		gateway, ref, _ := strings.Cut(strings.TrimPrefix(s.Name, "gateways/"), "/sessions/")
		gateways, refs = append(gateways, gateway), append(refs, ref)
	}
	slices.Sort(gateways)
	return gateways, refs, stderr
}

// TestOperatorSeesAllGateways lists and closes the sessions of three gateways, of
// which one is killed in the end.
func TestOperatorSeesAllGateways(t *testing.T) {
	w := newWorld(startFleet(t, "sqlite", local()))
	instances := map[string]string{"gateway": "gateway-1", "gateway2": "gateway2", "gateway3": "gateway3"}
	for _, gateway := range []string{"gateway2", "gateway3"} {
		w.start(gateway)
		w.ready(gateway)
	}
	token := w.token()
	ends := make(chan websocket.StatusCode, 6)
	var want []string
	for range 2 {
		for gateway, instance := range instances {
			conn, err := w.connectTo(gateway, token, false)
			must(t, err)
			want = append(want, instance)
			go func() {
				_, _, err := conn.Read(t.Context())
				ends <- websocket.CloseStatus(err)
			}()
		}
	}
	slices.Sort(want)
	w.command(adminPassword+"\n", "login", "--username", "admin")
	if stdout, stderr := w.command("", "gateway", "list"); strings.Count(stdout, " yes ") != 3 || stderr != "" {
		t.Errorf("gateway list prints %s%s, want three that are ready", stdout, stderr)
	}
	gateways, refs, stderr := w.listed()
	if !slices.Equal(gateways, want) || stderr != "" {
		t.Fatalf("session list has sessions of %q (%s), want of %q", gateways, stderr, want)
	}
	for _, ref := range refs[:5] {
		w.command("", "session", "close", ref)
	}
	for range refs[:5] {
		if got := <-ends; got != 4010 {
			t.Errorf("a client saw the close code %d, want 4010", got)
		}
	}
	w.eventually("one session is left", func() error {
		if gateways, _, _ := w.listed(); len(gateways) != 1 {
			return fmt.Errorf("session list has sessions of %q, want one", gateways)
		}
		return nil
	})

	w.frozen("gateway2", token)
	w.kill("gateway3")
	gateways, _, stderr = w.listed()
	if note := "tidegate: gateways/gateway3 cannot be reached, its sessions are not shown\n"; stderr != note || slices.Contains(gateways, "gateway3") {
		t.Errorf("session list without gateway3 has sessions of %q and says %q, want %q", gateways, stderr, note)
	}
	sessions := gatewayv1.NewSessionServiceClient(w.conn)
	_, err := sessions.ListSessions(w.signedIn(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-"})
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "gateways/gateway3 cannot be reached, try again" {
		t.Errorf("ListSessions of all gateways without gateway3 = %v, want UNAVAILABLE that names it", err)
	}
	list, err := sessions.ListSessions(w.signedIn(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true})
	if err != nil || !slices.Equal(list.GetUnreachable(), []string{"gateways/gateway3"}) {
		t.Errorf("ListSessions of what is there = %v, %v, want gateways/gateway3 unreachable", list, err)
	}
}

// frozen freezes a gateway, whose connections stay: every list of sessions names it, and has what
// the others answer.
func (w *world) frozen(gateway, token string) {
	if err := freeze(w.procs[gateway].Process); errors.Is(err, errors.ErrUnsupported) {
		return
	} else if err != nil {
		w.t.Fatal(err)
	}
	defer func() { must(w.t, thaw(w.procs[gateway].Process)) }()
	name := "gateways/" + gateway
	if _, _, stderr := w.listed(); stderr != "tidegate: "+name+" cannot be reached, its sessions are not shown\n" {
		w.t.Errorf("session list beside a gateway that is frozen says %q, want that it is named", stderr)
	}
	if _, silent := w.refsAt("gateway", token); !slices.Equal(silent, []string{name}) {
		w.t.Errorf("GET /-/sessions beside a gateway that is frozen names %q, want %q", silent, name)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "https://"+w.port("portal:9443")+"/v1/gateways/-/sessions?returnPartialSuccess=true", http.NoBody)
	must(w.t, err)
	md, _ := metadata.FromOutgoingContext(w.signedIn())
	req.Header.Set("Authorization", md.Get("authorization")[0])
	res, err := w.http.Do(req)
	must(w.t, err)
	defer res.Body.Close()
	var list struct{ Unreachable []string }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || !slices.Equal(list.Unreachable, []string{name}) {
		w.t.Errorf("GET /v1/gateways/-/sessions = %d, %q, %v, want %q unreachable", res.StatusCode, list.Unreachable, err, name)
	}
	b := webtest.NewBrowser(w.t, "https://"+w.port("portal:9443"), &tls.Config{RootCAs: w.roots})
	b.SignIn("admin", adminPassword)
	if page := b.Open("/admin/sessions"); !page.Has("The gateway " + gateway + " does not answer: its sessions are not listed.") {
		w.t.Errorf("the page of sessions does not name the gateway that is frozen:\n%s", page.Text())
	}
}
