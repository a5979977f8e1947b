package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// buildExamples builds the examples of the Go SDK's package page, and returns the path
// of the program that runs them.
func buildExamples(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "examples")
	args := []string{"test", "-c", "-o", path}
	// As this program was built, so that nothing is compiled twice.
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "github.com/tidegatehq/tidegate/gen")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the examples: %v\n%s", err, out)
	}
	return path
}

// storyGo runs the examples of the Go SDK's package page.
func storyGo(t *testing.T, s *Stack, examples string) {
	cmd := exec.CommandContext(within(t), examples, "-test.run", "^Example", "-test.v")
	cmd.Env = append(os.Environ(), "TIDEGATE_EXAMPLES=1",
		"TIDEGATE_SERVER="+s.GRPC, "TIDEGATE_CA="+s.CA, "PASSWORD_FILE="+s.PasswordFile, "BACKEND="+newBackend(t))
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"--- PASS: Example ", "--- PASS: Example_errors "} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("the examples end with %v, want %q:\n%s", err, want, out)
		}
	}
}
