package cookiename_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/cookiename"
)

func TestReserved(t *testing.T) {
	for name, want := range map[string]bool{
		"tidegate": true, "__Host-tidegate": true, "__Secure-tidegate": true, "__Http-tidegate": true, "__Host-Http-tidegate": true,
		"tidegate-theme": true, "tidegate_device": true, "tidegates": true,
		"TIDEGATE": true, "__host-Tidegate": true, "__SECURE-tidegate": true, "__HOST-HTTP-TideGate": true,
		"": false, "tide": false, "__Host-": false, "__Host-tide": false, "my-tidegate": false, "__Host-session": false,
		"__Host-__Secure-tidegate": false,
	} {
		if got := cookiename.Reserved(name); got != want {
			t.Errorf("Reserved(%q) = %v, want %v", name, got, want)
		}
	}
}
