// Package snippet has small programs that use a version, in several languages, for pages to
// show. They connect again as the gateway's close codes ask for:
//
//	1006  the connection broke, or the handshake was refused: a wait of up to 1 s, then up
//	      to 2 s, at last up to 60 s, each drawn anew (full jitter)
//	4001  a new token, then as 1006
//	4003, 1012  the wait that the reason has as retry=MS
//	4003 without one, 4006, 1000  no further attempt
//
// What pages show is what package e2e/snippets runs.
package snippet

import (
	"bytes"
	"embed"
	"encoding/json"
	"slices"
	"strings"
	"text/template"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

//go:embed programs
var files embed.FS

// View is what the component "snippets" of pages takes.
type View struct {
	// Settings puts what the programs need into variables; it is empty where they need
	// nothing.
	Settings ui.Copy
	Programs []Program
	// Pages says that a web page can connect.
	Pages bool
	// Why says why there are no programs of a version that has an address.
	Why string
}

// Program is a program that uses a version.
type Program struct {
	// Title says what it is written in.
	Title string
	ui.Copy
}

// data is what the programs are made of.
type data struct {
	// Address is the version's, Tokens the token endpoint.
	Address, Tokens string
	// Needs says that clients show a token: in the Header, after Word, or the parameter
	// Query, in Base64 or as it is. One of them may be empty, or both: then it is a
	// sub-protocol or, where First is a place, in the first message between Before and After.
	Needs               bool
	Header, Word, Query string
	Base64              bool
	First               string
	Before, After       string
	// Ticket says that the version takes tickets, which pages are to show.
	Ticket bool
}

// Templates are those of the programs, parsed.
type Templates struct{ *template.Template }

// Parse parses the programs. It panics on a file that is no template, which tests find.
func Parse() Templates {
	t := template.New("").Funcs(template.FuncMap{"quoted": quoted, "word": quote.Word})
	return Templates{template.Must(t.ParseFS(files, "programs/*"))}
}

// Of returns the programs for a version, and none where it has no address. Where it takes
// no tokens, or only in a cookie, there are none either, but the reason. tokens is the URL of the token endpoint; authority is the file with the certificate of the gateways'
// authority, empty where programs trust it already.
func (t Templates) Of(v *catalogv1.Version, tokens, authority string) View {
	d := data{Address: Best(v.GetAddresses()), Tokens: tokens}
	if d.Address == "" {
		return View{}
	}
	pair := false // "bearer" and a token can be sub-protocols
	var first *catalogv1.CredentialPlace
	d.Needs = TakesKeys(v)
	for _, place := range tokenPlaces(v) {
		d.Needs = true
		if h := place.GetHeader(); h != nil && d.Header == "" {
			if d.Header = h.GetName(); credentialplace.HasBearer(h) {
				d.Word = "Bearer "
			}
		}
		if q := place.GetQuery(); q != nil && (d.Query == "" || d.Base64) {
			if encoded := q.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64; d.Query == "" || !encoded {
				d.Query, d.Base64 = q.GetName(), encoded
			}
		}
		if m := place.GetFirstMessage(); m != nil && first == nil {
			first = place
		}
		pair = pair || place.GetSubprotocol() != nil
		d.Ticket = d.Ticket || place.GetTicket() != nil
	}
	for _, s := range v.GetSecurity() {
		d.Needs = d.Needs && s.GetNone() == nil
	}
	if first != nil && d.Query == "" && !pair { // nothing else that pages can send, either
		d.First = credentialplace.Text(first)
		d.Before, d.After = around(first.GetFirstMessage())
	}
	programs := !d.Needs || d.Header != "" || d.Query != "" || pair || d.First != ""
	view := View{Pages: !d.Needs || d.Query != "" || d.Ticket || pair || d.First != ""}
	if !programs && !view.Pages {
		return View{Why: why(v, d.Address)}
	}
	for _, p := range []struct{ file, id, title, what string }{
		{"browser.js", "in-browser", "A web page", "the program for a web page"},
		{"node.mjs", "in-node", "Node, with ws", "the program for Node"},
		{"client.py", "in-python", "Python, with websockets", "the program in Python"},
		{"main.go.txt", "in-go", "Go, with github.com/coder/websocket", "the program in Go"},
		{"wscat.bash", "in-wscat", "A shell, with wscat", "the script with wscat"},
		{"tidegate.bash", "in-tidegate", "A shell, with tidegate connect", "the script with tidegate"},
	} {
		if p.id == "in-wscat" && d.First != "" && d.Header == "" {
			continue // a person would have to type the token
		}
		if p.id == "in-browser" && view.Pages || p.id != "in-browser" && programs {
			view.Programs = append(view.Programs, Program{p.title, ui.Copy{ID: p.id, What: p.what, Value: t.render(p.file, d), Wrap: true}})
		}
	}
	var settings []string
	if d.Needs {
		settings = append(settings, "export CLIENT_ID=… CLIENT_SECRET=…")
	}
	if authority != "" && (d.Needs || strings.HasPrefix(d.Address, "wss:")) {
		file := quote.Word(authority)
		settings = append(settings, "export NODE_EXTRA_CA_CERTS="+file+" SSL_CERT_FILE="+file+" TIDEGATE_CA="+file)
	}
	view.Settings = ui.Copy{ID: "settings", What: "the settings", Value: strings.Join(settings, "\n"), Wrap: true}
	return view
}

// around returns what a first message has before and after the token.
func around(m *catalogv1.FirstMessagePlace) (before, after string) {
	mark := "TOKEN"
	for strings.Contains(credentialplace.Message(m, ""), mark) { // as TOKEN_AUTH does
		mark += "."
	}
	before, after, _ = strings.Cut(credentialplace.Message(m, mark), mark)
	return before, after
}

// why says why there are no programs for a version at an address, and what clients do there.
func why(v *catalogv1.Version, address string) string {
	if !TakesTokens(v) {
		return "There are no programs here, as they fetch access tokens, and this version takes API keys alone. " + shows("an API key", Places(v)) + " " + renews(address)
	}
	return "There are no programs here: a browser sends the cookie by itself, and only from pages of the version's origins. " + shows("its access token", tokenPlaces(v))
}

// renews says how a session at an address goes on when its API key is rotated.
func renews(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	at := strings.Replace(scheme, "ws", "http", 1) + "://" + host + "/-/sessions/REF/credential"
	return "When a key is rotated, a live session goes on if it is renewed before the overlap ends: a POST to " + at +
		" with the new value in the header apikey. REF is what the header X-Tidegate-Ref of the handshake's answer says; the socket stays open."
}

// shows says where a client shows a credential.
func shows(what string, places []*catalogv1.CredentialPlace) string {
	var words []string
	for _, p := range places {
		words = append(words, credentialplace.Words(p))
	}
	return "A client shows " + what + " in " + strings.Join(words, ", or in ") + ". tidegate connect --place does, and so does the console."
}

// render makes the text of a program. It panics on a file that is no template of data:
// tests render all.
func (t Templates) render(file string, d data) string {
	var out bytes.Buffer
	if err := t.ExecuteTemplate(&out, file, d); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

// quoted is a text as JavaScript, Python and Go write it.
func quoted(text string) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return strings.TrimSpace(out.String()), err
}

// Best is one of several addresses: one with TLS where there is one.
func Best(addresses []string) string {
	for _, address := range addresses {
		if strings.HasPrefix(address, "wss:") {
			return address
		}
	}
	for _, address := range addresses {
		return address
	}
	return ""
}

// Places are where clients of a version can show a token, and then those where they can show
// an API key; none where they need none.
func Places(v *catalogv1.Version) []*catalogv1.CredentialPlace {
	all := tokenPlaces(v)
	for _, s := range v.GetSecurity() {
		all = append(all, s.GetApiKey().GetPlaces()...)
	}
	return all
}

// TakesKeys reports whether a version takes API keys.
func TakesKeys(v *catalogv1.Version) bool {
	return slices.ContainsFunc(v.GetSecurity(), func(s *catalogv1.SecurityScheme) bool { return s.GetApiKey() != nil })
}

// TakesTokens reports whether a version takes access tokens.
func TakesTokens(v *catalogv1.Version) bool {
	return len(v.GetSecurity()) == 0 || slices.ContainsFunc(v.GetSecurity(), func(s *catalogv1.SecurityScheme) bool { return s.GetOauth2() != nil })
}

// tokenPlaces are where clients of a version can show a token.
func tokenPlaces(v *catalogv1.Version) []*catalogv1.CredentialPlace {
	header := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "Authorization"}}}
	query := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: "access_token"}}}
	usual := []*catalogv1.CredentialPlace{header, query}
	if len(v.GetSecurity()) == 0 {
		return usual
	}
	var all []*catalogv1.CredentialPlace
	for _, s := range v.GetSecurity() {
		switch {
		case s.GetOauth2() == nil:
		case len(s.GetOauth2().GetPlaces()) == 0:
			all = append(all, usual...)
		default:
			all = append(all, s.GetOauth2().GetPlaces()...)
		}
	}
	return all
}
