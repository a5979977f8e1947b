package credentialplace

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for text, words := range map[string]string{
		"header:Authorization":     "the header Authorization",
		"header:Authorization:raw": "the header Authorization",
		"header:X-Api-Key":         "the header X-Api-Key",
		"header:X-Api-Key:bearer":  "the header X-Api-Key",
		"query:access_token":       "the parameter access_token",
		"query:access_token:plain": "the parameter access_token",
		"query:auth:base64":        "the parameter auth, in base64",
		"cookie:session":           "the cookie session",
		"subprotocol":              "the sub-protocol after bearer",
		"ticket":                   "a ticket in the parameter ticket",
		"first-message":            "the first message",
		"first-message,at=/token,if=/method=TOKEN_AUTH,protocol=mqtt,protocol=stomp,pass-on": "the first message, at /token",
		"first-message,at=/a%2Cb,if=/x%3Dy=%25%20z":                                          "the first message, at /a,b",
	} {
		p, err := Parse(text)
		if err != nil || Text(p) != text || Words(p) != words {
			t.Errorf("Parse(%q) = %v, %v: Text %q, Words %q, want itself and %q", text, p, err, Text(p), Words(p), words)
		}
	}
	for _, text := range []string{
		"", "header", "header:", "query:", "cookie:", "header:A:base64", "header:A:", "query:a:bearer", "query:a:", "cookie:a:raw",
		"subprotocol:a", "ticket:a", "body:a", "Header:A",
		"first-message:/token", "first-message,", "first-message,at", "first-message,at=", "first-message,at=%zz", "first-message,at=/a,at=/b", "first-message,if=/a",
		"first-message,pass-on=yes", "first-message,to=/a", "first-messages",
	} {
		if p, err := Parse(text); !errors.Is(err, ErrForm) {
			t.Errorf("Parse(%q) = %v, %v, want ErrForm", text, p, err)
		}
	}
	if got := Text(nil) + Words(nil); got != "a place that this program does not know" {
		t.Errorf("of no place: %q", got)
	}
}

func TestHasBearer(t *testing.T) {
	for text, want := range map[string]bool{
		"header:authorization": true, "header:Authorization:raw": false, "header:X": false, "header:X:bearer": true,
	} {
		p, err := Parse(text)
		if got := HasBearer(p.GetHeader()); err != nil || got != want {
			t.Errorf("HasBearer(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestMessage(t *testing.T) {
	for text, want := range map[string]string{
		"first-message":                             "t",
		"first-message,at=/token":                   `{"token":"t"}`,
		"first-message,at=/a/t~1~0,if=/a/m=x":       `{"a":{"m":"x","t/~":"t"}}`,
		"first-message,at=/0,if=/method=TOKEN_AUTH": `{"0":"t","method":"TOKEN_AUTH"}`,
	} {
		p, err := Parse(text)
		if got := Message(p.GetFirstMessage(), "t"); err != nil || got != want {
			t.Errorf("Message(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
}
