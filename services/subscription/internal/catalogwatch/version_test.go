package catalogwatch

import (
	"testing"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// A version has a stage that its socket has an endpoint of, or its HTTP.
func TestStagesOfAVersion(t *testing.T) {
	one := []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "http://b"}}}
	for name, tt := range map[string]struct {
		route               *backplanev1.Route
		production, sandbox bool
	}{
		"the socket's": {&backplanev1.Route{Endpoints: &catalogv1.Endpoints{Production: one}}, true, false},
		"of both": {&backplanev1.Route{
			Endpoints: &catalogv1.Endpoints{Production: one}, Http: &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Sandbox: one}},
		}, true, true},
		"the other way round": {&backplanev1.Route{
			Endpoints: &catalogv1.Endpoints{Sandbox: one}, Http: &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: one}},
		}, true, true},
	} {
		if v := version(tt.route); v.Production != tt.production || v.Sandbox != tt.sandbox {
			t.Errorf("%s: production %t, sandbox %t", name, v.Production, v.Sandbox)
		}
	}
}
