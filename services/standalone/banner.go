package standalone

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone/internal/sample"
)

// banner is what is printed once everything is served: at most 20 lines, which fit a
// terminal of 80 columns while names and paths are short.
type banner struct {
	program  string // how the command line is called
	data     string // folder, as it was given
	again    bool   // the folder already had data
	at       Addresses
	password string // path of the file, or empty when its password is no longer good
	ca       string // path of the authority's certificate
	sample   bool   // there is a sample to try
	noSample string // why there is none, or empty when -no-sample is set
}

// print writes the banner.
func (b *banner) print(w io.Writer) error {
	var t strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&t, format+"\n", a...) }
	say("Tidegate %s", run.Version())
	say("  portal     %s (pages, REST, OAuth2)", b.at.Portal)
	say("  WebSocket  %s, %s", b.at.WS, b.at.WSS)
	say("  gRPC       %s", b.at.GRPC)
	if b.at.Ops != "" {
		say("  metrics    %s", b.at.Ops)
	}
	if b.at.Pprof != "" {
		say("  profiles   %s/debug/pprof/", b.at.Pprof)
	}
	if b.again {
		say("  data       %s, found again", b.data)
	} else {
		say("  data       %s, made now", b.data)
	}
	say("")
	if b.password != "" {
		say("Sign in as admin, with the password in %s:", b.password)
		say("  %s", b.command("login --password-file "+quote.Word(b.password)))
	}
	switch {
	case b.sample:
		b.lines(say)
	case b.noSample != "":
		say("There is no sample to try: %s.", b.noSample)
	}
	say("Ctrl-C stops.")
	_, err := io.WriteString(w, t.String())
	return err
}

// command returns a command with what it needs to find this server.
func (b *banner) command(line string) string {
	line = quote.Word(b.program) + " " + line
	if b.at.GRPC != "localhost:9090" {
		line += " --server " + quote.Word(b.at.GRPC)
	}
	if b.data != "tidegate-data" && b.data != "./tidegate-data" {
		line += " --ca " + quote.Word(b.ca)
	}
	return line
}

// lines says how to talk to the sample. None of them has a token in it: the output may
// be kept in a file.
func (b *banner) lines(say func(string, ...any)) {
	path := sample.APIContext + "/" + sample.APIVersion
	token := b.command("token " + sample.AppName)
	say("Talk to the sample API, in another terminal:")
	say("  %s", b.command("connect "+sample.APIName+"/"+sample.APIVersion+" --app "+sample.AppName))
	say("with wscat, for trials: everybody on this machine can read its command line:")
	say("  wscat --ca %s -c %s \\", quote.Word(b.ca), quote.Word(b.at.WSS+path))
	say(`  -H "Authorization: Bearer $(%s)"`, token)
	say("or in a browser's console, with the token that this prints:")
	say("  %s", token)
	say(`  w = new WebSocket("%s%s?access_token=" +`, b.at.WS, path)
	say(`  prompt("token")); w.onopen = () => w.send("hello"); w.onmessage = console.log`)
}
