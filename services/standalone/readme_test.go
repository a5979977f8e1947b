package standalone_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// readmeBlock returns the commands of the README's block that is marked
// <!-- run: name -->.
func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- run: " + name + " -->\n```sh\n(.*?)```").FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("the README has no block that is marked %q", name)
	}
	return m[1]
}

// readmeScript is a block of the README with the addresses of a stack.
func (s *Stack) readmeScript(block, sample string) string {
	return strings.NewReplacer(
		"https://localhost:9443", s.Portal, "ws://localhost:9099", s.WS, "wss://localhost:8099", s.WSS,
		"ws://localhost:9098", sample, "localhost:9090", s.GRPC,
	).Replace(block)
}

// TestReadme runs the commands of the README's journeys as they stand there,
// but for the ports.
func TestReadme(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	buildTidegate(t, filepath.Join(dir, ".bin"))
	s := start(t, filepath.Join(dir, "tidegate-data"), quick()...)
	for _, name := range []string{"cli", "curl"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("curl"); err != nil && name == "curl" {
				missing(t, "TIDEGATE_REQUIRE_CURL", "no curl on the path")
			}
			script := s.readmeScript(readmeBlock(t, name), s.sample)
			cmd := exec.CommandContext(within(t), "sh", "-eu", "-c", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "TIDEGATE_SERVER="+s.GRPC, "TIDEGATE_CONFIG="+filepath.Join(t.TempDir(), "config"))
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "\nhello\n") {
				t.Errorf("%s\n%v\n%s", script, err, out)
			}
		})
	}
}

// loopback returns an address for a server that is to be started. It is from
// below the range that outgoing connections use.
func loopback(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if lis, err := net.Listen("tcp", addr); err == nil {
			lis.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestReadmeAlone starts the four services with the README's commands, on other
// ports, and asks the portal for what it has from behind.
func TestReadmeAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, ".bin")+"/", "./cmd/tidegate",
		"../catalog/cmd/catalog", "../subscription/cmd/subscription", "../gateway/cmd/gateway", "../portal/cmd/portal").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	at := map[string]string{}
	for _, name := range []string{
		"CATALOG_GRPC", "CATALOG_GRPC_INTERNAL", "SUBSCRIPTION_GRPC", "SUBSCRIPTION_GRPC_INTERNAL",
		"GATEWAY_GRPC", "GATEWAY_GRPC_INTERNAL", "GATEWAY_WS", "GATEWAY_WSS", "PORTAL_LISTEN", "PORTAL_GRPC",
	} {
		at[name] = loopback(t)
	}
	for _, from := range []string{"SUBSCRIPTION", "GATEWAY", "PORTAL"} {
		at[from+"_CATALOG"] = at["CATALOG_GRPC_INTERNAL"]
	}
	for _, from := range []string{"CATALOG", "GATEWAY", "PORTAL"} {
		at[from+"_SUBSCRIPTION"] = at["SUBSCRIPTION_GRPC_INTERNAL"]
	}
	at["PORTAL_GATEWAY"] = at["GATEWAY_GRPC_INTERNAL"]
	env := os.Environ()
	for name, addr := range at {
		env = append(env, "TIDEGATE_"+name+"="+addr)
	}
	script := regexp.MustCompile(`-ops 127\.0\.0\.1:\d+`).ReplaceAllString(readmeBlock(t, "alone"), "-ops ''")
	script = strings.Replace(script, "../.bin/subscription ", "../.bin/subscription -ops '' ", 1)
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script+"\nwait\n")
	cmd.Dir, cmd.Env = dir, env
	// The services are the shell's children: a signal goes to all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	log := newLineBuffer()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Errorf("stop: %v", err)
		}
		_ = cmd.Wait() // the shell ends by the signal
		if t.Failed() {
			t.Log(log.String())
		}
	})
	s := &Stack{CA: filepath.Join(dir, "alone", "certs", "ca.pem"), PasswordFile: filepath.Join(dir, "alone", "password")}
	s.GRPC = at["PORTAL_GRPC"]
	s.WS, s.WSS = "ws://"+at["GATEWAY_WS"], "wss://"+at["GATEWAY_WSS"]
	eventually(t, func() error {
		text, err := os.ReadFile(s.CA)
		if err != nil || len(text) == 0 {
			return fmt.Errorf("read the authority: %w", err)
		}
		return readyz(t.Context(), s.WS)
	})
	eventually(t, func() error { return listens(at["PORTAL_GRPC"]) })
	p := s.admin(t)
	if _, err := p.oauth.GetSigningKeys(within(t), nil); err != nil {
		t.Errorf("GetSigningKeys: %v", err)
	}
	if got := s.refused(t, s.WS+"/nothing/1.0.0", ""); got != http.StatusNotFound {
		t.Errorf("the gateway answers %d, want 404", got)
	}
	if got := p.plan(t, "Gold"); got == "" {
		t.Error("there is no plan Gold")
	}
}

// readyz reports why a gateway is not ready.
func readyz(ctx context.Context, ws string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http"+strings.TrimPrefix(ws, "ws")+"/-/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return nil
}

// listens reports why nobody answers at an address.
func listens(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
