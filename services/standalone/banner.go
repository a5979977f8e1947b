package standalone

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone/internal/sample"
)

// banner is what is printed once everything is served.
type banner struct {
	program  string // how the command line is called
	data     string // folder, as it was given
	again    bool   // the folder already had data
	at       Addresses
	password string // path of the file, or empty when it is gone
	ca       string // path of the authority's certificate
	sample   *sample.Result
	noSample string // why there is no sample, or empty when -no-sample is set
}

// print writes the banner.
func (b *banner) print(w io.Writer) error {
	var t strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&t, format+"\n", a...) }
	if b.again {
		say("Tidegate %s found its data again in %s.", run.Version(), b.data)
	} else {
		say("Tidegate %s has made its data folder, %s.", run.Version(), b.data)
	}
	say("")
	say("  portal, REST, OAuth2  %s", b.at.Portal)
	say("  WebSocket             %s", b.at.WS)
	say("  WebSocket over TLS    %s", b.at.WSS)
	say("  gRPC                  %s", b.at.GRPC)
	if b.at.Ops != "" {
		say("  metrics, health       %s", b.at.Ops)
	}
	if b.at.Pprof != "" {
		say("  profiles              %s/debug/pprof/", b.at.Pprof)
	}
	say("")
	if b.password != "" {
		say("The first administrator is admin, the password is in %s. Sign in:", b.password)
		say("")
		say("    %s", b.login())
		say("")
	}
	say("Other programs trust the certificates with %s, as curl --cacert.", quote.Word(b.ca))
	switch {
	case b.sample != nil:
		b.lines(say)
	case b.noSample != "":
		say("")
		say("There is no sample to try: %s.", b.noSample)
	}
	say("")
	say("Ctrl-C stops.")
	_, err := io.WriteString(w, t.String())
	return err
}

// login returns the command that signs in.
func (b *banner) login() string {
	line := quote.Word(b.program) + " login --password-file " + quote.Word(b.password)
	if b.at.GRPC != "localhost:9090" {
		line += " --server " + quote.Word(b.at.GRPC)
	}
	if b.data != "tidegate-data" && b.data != "./tidegate-data" {
		line += " --ca " + quote.Word(b.ca)
	}
	return line
}

// lines returns the commands that reach the sample through the gateway.
func (b *banner) lines(say func(string, ...any)) {
	path, token := sample.APIContext+"/"+sample.APIVersion, b.sample.Token
	say("")
	say("The sample API %s is published. Talk to it, with a token that ends at %s:", sample.APIName, b.sample.Expires.Format(time.RFC3339))
	say("")
	say(`    wscat -c %s -H "Authorization: Bearer %s"`, quote.Word(b.at.WS+path), token)
	say(`    wscat -n -c %s -H "Authorization: Bearer %s"`, quote.Word(b.at.WSS+path), token)
	say(`    wscat -c "%s%s?access_token=%s"`, b.at.WS, path, token)
	say(`    wscat -n -c "%s%s?access_token=%s"`, b.at.WSS, path, token)
	say("")
	say("These are for trials: every user of this machine can read the command line of wscat,")
	say("and the token in it. Without wscat the token stays in the environment:")
	say("")
	say("    TIDEGATE_TOKEN=%s %s connect %s", token, quote.Word(b.program), quote.Word(b.at.WS+path))
}
