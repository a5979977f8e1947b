package e2e

import (
	"os"
	"regexp"
	"testing"
)

// TestGeneratorsNeedNoContainerEngine reads what the generators are built from: buf,
// built from its source, would bring the modules of a container engine.
func TestGeneratorsNeedNoContainerEngine(t *testing.T) {
	for _, file := range []string{"../../tools/go.mod", "../../tools/go.sum"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`\S*(docker|moby|containerd|opencontainers)\S*`).Find(text); found != nil {
			t.Errorf("%s has the module %s, want no part of a container engine", file, found)
		}
	}
}
