package snippet_test

import (
	"go/format"
	"os/exec"
	"strings"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
)

// TestPlaces renders the programs for all ways to show a token.
func TestPlaces(t *testing.T) {
	header := func(name string) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: name}}}
	}
	query := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: "key"}}}
	pair := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Subprotocol{Subprotocol: &catalogv1.SubprotocolPlace{}}}
	base64 := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: "auth", Encoding: catalogv1.QueryPlace_ENCODING_BASE64}}}
	programs := snippet.Parse()
	none := &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
	oauth2 := func(places ...*catalogv1.CredentialPlace) *catalogv1.SecurityScheme {
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}}
	}
	for name, c := range map[string]struct {
		security []*catalogv1.SecurityScheme
		has, not string
		pages    bool
	}{
		"usual":           {nil, "gateway.test", "?key=", true},
		"header":          {[]*catalogv1.SecurityScheme{oauth2(header("X-Token"))}, "X-Token", "Authorization", false},
		"query":           {[]*catalogv1.SecurityScheme{oauth2(query)}, "key", "Authorization", true},
		"sub-protocol":    {[]*catalogv1.SecurityScheme{oauth2(pair)}, "", "=$TOKEN\"", true},
		"base64":          {[]*catalogv1.SecurityScheme{oauth2(base64)}, "auth", "Authorization", true},
		"none":            {[]*catalogv1.SecurityScheme{none}, "gateway.test", "oauth2/token", true},
		"a token or none": {[]*catalogv1.SecurityScheme{oauth2(query), none}, "gateway.test", "?key=", true},
	} {
		t.Run(name, func(t *testing.T) {
			v := &catalogv1.Version{Addresses: []string{"ws://gateway.test/a'b/1", "wss://gateway.test/a'b/1"}, Security: c.security}
			view := programs.Of(v, "https://portal.test/oauth2/token", "/etc/ca file.pem")
			if view.Pages != c.pages || len(view.Programs) != map[bool]int{true: 6, false: 5}[c.pages] {
				t.Errorf("pages = %t with %d programs", view.Pages, len(view.Programs))
			}
			for _, p := range view.Programs {
				if page := p.ID == "in-browser"; !page && !strings.Contains(p.Value, c.has) || strings.Contains(p.Value, c.not) || !strings.Contains(p.Value, "wss://") {
					t.Errorf("%s:\n%s", p.Title, p.Value)
				}
				switch p.ID {
				case "in-go":
					if formatted, err := format.Source([]byte(p.Value + "\n")); err != nil || string(formatted) != p.Value+"\n" {
						t.Errorf("not as gofmt writes it, %v:\n%s", err, p.Value)
					}
				case "in-wscat", "in-tidegate":
					check := exec.CommandContext(t.Context(), "bash", "-n")
					check.Stdin = strings.NewReader(p.Value)
					if out, err := check.CombinedOutput(); err != nil {
						t.Errorf("no script of bash, %v: %s\n%s", err, out, p.Value)
					}
				}
			}
		})
	}
	if view := programs.Of(&catalogv1.Version{}, "", ""); len(view.Programs) > 0 {
		t.Errorf("without an address there are %d programs", len(view.Programs))
	}
	ticket := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}}
	for want, places := range map[int][]*catalogv1.CredentialPlace{1: {ticket}, 6: {ticket, query}} { // only pages have somebody to buy tickets
		view := programs.Of(&catalogv1.Version{Addresses: []string{"wss://gateway.test/a/1"}, Security: []*catalogv1.SecurityScheme{oauth2(places...)}}, "https://portal.test/oauth2/token", "")
		if !view.Pages || len(view.Programs) != want || !strings.Contains(view.Programs[0].Value, `"?ticket=" + `) || strings.Contains(view.Programs[0].Value, "newToken") {
			t.Errorf("with tickets there are %d programs, want %d:\n%+v", len(view.Programs), want, view.Programs)
		}
	}
	// A first message is in all but wscat, where a person would have to type it.
	first := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: &catalogv1.FirstMessagePlace{
		Pointer: "/token", Condition: &catalogv1.FirstMessagePlace_Condition{Pointer: "/method", Value: "TOKEN_AUTH"},
	}}}
	view := programs.Of(&catalogv1.Version{Addresses: []string{"wss://gateway.test/a/1"}, Security: []*catalogv1.SecurityScheme{oauth2(first)}}, "https://portal.test/oauth2/token", "")
	if len(view.Programs) != 5 || !view.Pages {
		t.Errorf("with a first message there are %d programs, want 5", len(view.Programs))
	}
	for _, p := range view.Programs {
		if !strings.Contains(p.Value, `{\"method\":\"TOKEN_AUTH\",\"token\":\"" + token + "\"}`) && p.ID != "in-tidegate" || !strings.Contains(p.Value, "TOKEN_AUTH") {
			t.Errorf("%s sends no first message:\n%s", p.Title, p.Value)
		}
		if formatted, err := format.Source([]byte(p.Value + "\n")); p.ID == "in-go" && (err != nil || string(formatted) != p.Value+"\n") {
			t.Errorf("not as gofmt writes it, %v:\n%s", err, p.Value)
		}
	}
	// Of what has no programs the reason is told.
	cookie := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: "sid"}}}
	keys := &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: []*catalogv1.CredentialPlace{header("X-Key")}}}}
	for word, scheme := range map[string]*catalogv1.SecurityScheme{"the cookie sid": oauth2(cookie), "the header X-Key": keys} {
		view := programs.Of(&catalogv1.Version{Addresses: []string{"wss://gateway.test/a/1"}, Security: []*catalogv1.SecurityScheme{scheme}}, "https://portal.test/oauth2/token", "")
		if len(view.Programs) > 0 || !strings.Contains(view.Why, word) {
			t.Errorf("of %s there are %d programs, and the reason %q", word, len(view.Programs), view.Why)
		}
	}
	for _, address := range []string{"wss://gateway.test:8099/a/1", "ws://gateway.test:8099/a/1"} {
		why := programs.Of(&catalogv1.Version{Addresses: []string{address}, Security: []*catalogv1.SecurityScheme{keys}}, "", "").Why
		at := strings.Replace(strings.TrimSuffix(address, "/a/1"), "ws", "http", 1) + "/-/sessions/REF/credential"
		for _, word := range []string{"When a key is rotated, a live session goes on", "before the overlap ends", "a POST to " + at + " with the new value in the header apikey", "X-Tidegate-Ref"} {
			if !strings.Contains(why, word) {
				t.Errorf("of API keys alone at %s it is said %q, want %q in it", address, why, word)
			}
		}
	}
	local := programs.Of(&catalogv1.Version{Addresses: []string{"ws://localhost:1/a"}, Security: []*catalogv1.SecurityScheme{none}}, "", "/ca.pem")
	if local.Settings.Value != "" {
		t.Errorf("programs without a token and without TLS need %q", local.Settings.Value)
	}
}
