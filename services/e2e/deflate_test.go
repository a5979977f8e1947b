package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestCompression has clients and backends of users agree on permessage-deflate through a
// version that allows it, while a limit drops some of the messages in either direction: what
// follows is read as it was sent. A message is larger than the version's greatest, unless it
// is compressed.
func TestCompression(t *testing.T) {
	t.Parallel()
	dir := node(t)
	interpreter := python(t)
	programs := map[string][]string{
		"ws":                 {"node", filepath.Join(dir, "deflate.mjs")},
		"python3-websockets": {interpreter, filepath.Join("testdata", "python", "deflate.py")},
	}
	p := onSQLite(t).admin(t)
	plan, err := p.catalog.CreatePlan(p.ctx(t), &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{
		DisplayName: "Drops", Limits: []*catalogv1.Limit{{Name: "drops", Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Rate{
			Rate: &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 150, Per: durationpb.New(time.Second), Burst: 4},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for backend, program := range programs {
		echo := startEcho(t, append(program, "serve")...)
		api, err := p.catalog.CreateApi(p.ctx(t), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Compressed by " + backend, Context: "/deflate-" + backend}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.catalog.CreateVersion(p.ctx(t), &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
			Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(echo)}, Security: []*catalogv1.SecurityScheme{anonymous()},
			Deflate: true, MaxMessageBytes: 1000, TrafficPlan: plan.GetName(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.publishVersion(t, v.GetName())
		for client, program := range programs {
			t.Run(client+" to "+backend, func(t *testing.T) {
				cmd := exec.CommandContext(within(t), program[0], append(program[1:], p.stack.WS+"/deflate-"+backend+"/1.0.0")...)
				cmd.Stderr = os.Stderr
				out, err := cmd.Output()
				if want := "permessage-deflate: some dropped, others as they were sent, closed 1000\n"; err != nil || string(out) != want {
					t.Errorf("the client says %q, %v, want %q", out, err, want)
				}
			})
		}
	}
}

// startEcho starts a program that prints its port and ends with its input, and returns its
// address.
func startEcho(t *testing.T, program ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program[0], program[1:]...)
	cmd.Stderr = os.Stderr
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
			t.Errorf("%q: %v", program, err)
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", program, err)
	}
	return "ws://127.0.0.1:" + strings.TrimSpace(port)
}
