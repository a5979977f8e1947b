package devportal

import (
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// The lines for curl show a token at the first place that a request has, at each address, and
// there are none where no token is taken or no request.
func TestCurl(t *testing.T) {
	at := func(texts ...string) []*catalogv1.SecurityScheme {
		var places []*catalogv1.CredentialPlace
		for _, text := range texts {
			p, err := credentialplace.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, p)
		}
		return []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}}}
	}
	none := []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
	keys := []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}}}
	p := &pages{authority: "/etc/the ca.pem"}
	for _, tt := range []struct {
		security, own []*catalogv1.SecurityScheme
		plain, secure string
	}{
		{at("ticket", "header:Authorization"), nil, `curl -H "Authorization: Bearer $TOKEN" http://gw/a/1/`, `curl --cacert '/etc/the ca.pem' -H "Authorization: Bearer $TOKEN" https://gw/a/1/`},
		{at("header:Authorization"), at("header:X-Key"), `curl -H "X-Key: $TOKEN" http://gw/a/1/`, `curl --cacert '/etc/the ca.pem' -H "X-Key: $TOKEN" https://gw/a/1/`},
		{at("query:t:base64"), nil, `curl -G --data-urlencode "t=$(printf %s "$TOKEN" | base64 -w0)" http://gw/a/1/`, `curl --cacert '/etc/the ca.pem' -G --data-urlencode "t=$(printf %s "$TOKEN" | base64 -w0)" https://gw/a/1/`},
		{keys, none, `curl http://gw/a/1/`, `curl --cacert '/etc/the ca.pem' https://gw/a/1/`},
		{keys, nil, "", ""},
		{at("cookie:sid"), nil, "", ""},
	} {
		v := &catalogv1.Version{Security: tt.security, Http: &catalogv1.HTTPOptions{Security: tt.own, Addresses: []string{"http://gw/a/1", "https://gw/a/1"}}}
		var got [2]string
		for i, line := range p.curl(v) {
			got[i] = line.Value
		}
		if got != [2]string{tt.plain, tt.secure} {
			t.Errorf("the lines are %q, want %q and %q", got, tt.plain, tt.secure)
		}
		v.Http = nil
		if lines := p.curl(v); len(lines) > 0 {
			t.Errorf("without HTTP there is %q", lines[0].Value)
		}
	}
}
