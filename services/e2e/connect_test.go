package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/cli"
)

// TestConnectOnATerminal sends a line to an echo: the terminal tells what was sent from
// what came back.
func TestConnectOnATerminal(t *testing.T) {
	t.Parallel()
	screen, shows := terminal(t)
	var stderr bytes.Buffer
	code := cli.Main(within(t), cli.Program{
		Args: []string{"connect", newBackend(t)}, Env: []string{"TIDEGATE_HOME=" + t.TempDir()},
		Stdin: strings.NewReader("hello\n"), Stdout: screen, Stderr: &stderr,
	})
	screen.Close()
	if got := strings.ReplaceAll(shows(), "\r\n", "\n"); got != "> hello\n< hello\n" || code != 0 {
		t.Errorf("connect shows %q, %q, %d, want what was sent and what was received", got, stderr.String(), code)
	}
}
