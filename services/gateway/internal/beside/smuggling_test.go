package beside

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// smuggled is a request that must never reach the backend: it stands inside of others' bodies.
const smuggled = "GET /echo/1.0.0/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

// TestSmuggling sends requests whose end those before the gateway may see elsewhere, as the
// first ones on their connection and as later ones: each is refused, the connection closed, and
// nothing that follows is taken for a request.
func TestSmuggling(t *testing.T) {
	w := newWorld(t, nil)
	var reached atomic.Int64
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "smuggled") {
			reached.Add(1)
		}
		echo(rw, r)
	}))))
	host := "Host: h\r\n"
	for name, head := range map[string]string{
		"both lengths":                      "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both, the other way":               "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two lengths":                       "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 4\r\n\r\n",
		"the same length twice":             "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"a list of lengths":                 "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 0, 4\r\n\r\n",
		"a signed length":                   "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\n",
		"a negative length":                 "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
		"a length in hex":                   "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 0x4\r\n\r\n",
		"a length too great":                "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
		"another coding":                    "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n",
		"a coding more":                     "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"chunked twice":                     "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"chunked twice in one line":         "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n",
		"identity":                          "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n",
		"chunked in quotes":                 "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n",
		"chunked with a tab before":         "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding:\x0bchunked\r\n\r\n",
		"chunked in HTTP/1.0":               "POST /echo/1.0.0 HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":          "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length : 4\r\n\r\n",
		"a folded line":                     "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A: b\r\n Content-Length: 4\r\n\r\n",
		"a folded coding":                   "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n",
		"a header line before the first":    "POST /echo/1.0.0 HTTP/1.1\r\n X: y\r\n" + host + "\r\n",
		"bare LF":                           "POST /echo/1.0.0 HTTP/1.1\n" + host + "\r\n",
		"bare LF between lines":             "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A: b\nContent-Length: 4\r\n\r\n",
		"bare LF at the end":                "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A: b\r\n\n",
		"bare CR in a value":                "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A: b\rContent-Length: 4\r\n\r\n",
		"NUL in a value":                    "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A: b\x00c\r\n\r\n",
		"NUL in a name":                     "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "X-A\x00: b\r\n\r\n",
		"no name":                           "POST /echo/1.0.0 HTTP/1.1\r\n" + host + ": b\r\n\r\n",
		"no colon":                          "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Content-Length\r\n\r\n",
		"no Host":                           "POST /echo/1.0.0 HTTP/1.1\r\nX-A: b\r\n\r\n",
		"two Hosts":                         "POST /echo/1.0.0 HTTP/1.1\r\n" + host + "Host: i\r\n\r\n",
		"an odd Host":                       "POST /echo/1.0.0 HTTP/1.1\r\nHost: h/x\r\n\r\n",
		"HTTP/2 in HTTP/1":                  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/3.1":                          "POST /echo/1.0.0 HTTP/3.1\r\n" + host + "\r\n",
		"no version":                        "POST /echo/1.0.0\r\n" + host + "\r\n",
		"a space in the target":             "POST /echo/1.0.0 /x HTTP/1.1\r\n" + host + "\r\n",
		"a fragment in the target":          "POST /echo/1.0.0#x HTTP/1.1\r\n" + host + "\r\n",
		"a control character in the target": "POST /echo/1.0.0\x01 HTTP/1.1\r\n" + host + "\r\n",
		"a method that is no token":         "PO(ST /echo/1.0.0 HTTP/1.1\r\n" + host + "\r\n",
		"bytes of no head":                  "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
	} {
		for _, first := range []bool{true, false} {
			c := w.dial()
			if !first {
				if a := c.ask("POST", "/echo/1.0.0", "Content-Length: 2\r\n\r\nok"); a.StatusCode != 200 || a.text != "ok" || a.Close {
					t.Fatalf("the request before: %s %q", a.Status, a.text)
				}
			}
			c.send(head + smuggled)
			a := c.receive("POST")
			if a.StatusCode != http.StatusBadRequest || a.Code != "BAD_REQUEST" || !a.Close {
				t.Errorf("%s, first %t: %s %s, want 400 and the end", name, first, a.Status, a.text)
			}
			c.ends()
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d smuggled requests have reached the backend", n)
	}
}

// TestMalformedBodies sends chunks that are none: the request is refused or cut, and nothing
// after it is taken for another one.
func TestMalformedBodies(t *testing.T) {
	w := newWorld(t, nil)
	var reached atomic.Int64
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "smuggled") {
			reached.Add(1)
		}
		echo(rw, r)
	}))))
	for name, body := range map[string]string{
		"no number":                "x\r\nab\r\n0\r\n\r\n",
		"a negative number":        "-2\r\nab\r\n0\r\n\r\n",
		"a number too great":       "fffffffffffffffff\r\nab\r\n0\r\n\r\n",
		"a number in quotes":       "\"2\"\r\nab\r\n0\r\n\r\n",
		"0x":                       "0x2\r\nab\r\n0\r\n\r\n",
		"more bytes than it says":  "2\r\nabc\r\n0\r\n\r\n",
		"fewer bytes than it says": "4\r\nab\r\n0\r\n\r\n",
		"bare LF after the number": "2\nab\r\n0\r\n\r\n",
		"bare LF after the bytes":  "2\r\nab\n0\r\n\r\n",
		"bare LF in the extension": "2;x=\ny\r\nab\r\n0\r\n\r\n",
		"a malformed trailer":      "2\r\nab\r\n0\r\nno colon\r\n\r\n",
	} {
		for _, first := range []bool{true, false} {
			c := w.dial()
			if !first {
				c.ask("GET", "/echo/1.0.0", "\r\n")
			}
			c.send("POST /echo/1.0.0 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body + smuggled)
			_ = c.CloseWriteOf()
			rest := c.rest()
			if strings.Count(rest, "HTTP/1.1 ") > 1 || strings.Contains(rest, "HTTP/1.1 200") && strings.Contains(rest, "\r\n0\r\n\r\n") {
				t.Errorf("%s, first %t: the answer is %q", name, first, rest)
			}
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d smuggled requests have reached the backend", n)
	}
}

// TestAnswersAreFramedAnew has a backend frame its answers in all ways: the client finds the
// end of each, whatever the backend's headers say.
func TestAnswersAreFramedAnew(t *testing.T) {
	w := newWorld(t, nil)
	aboutHost := []string{"Server", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "NEL", "Report-To", "Service-Worker-Allowed"}
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Tidegate-Stage", "forged")
		rw.Header().Add("Set-Cookie", "a=1")
		rw.Header().Add("Set-Cookie", "tidegate_session=2")
		for _, name := range aboutHost {
			rw.Header().Set(name, "theirs")
		}
		switch r.URL.Path {
		case "/length":
			rw.Header().Set("Content-Length", "5")
			fmt.Fprint(rw, "hello")
		case "/flushed":
			_ = http.NewResponseController(rw).Flush()
			fmt.Fprint(rw, "hello")
		case "/none":
			rw.WriteHeader(http.StatusNoContent)
		case "/unchanged":
			rw.Header().Set("Etag", `"x"`)
			rw.WriteHeader(http.StatusNotModified)
		case "/early":
			rw.Header().Set("Link", "</x>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
			rw.WriteHeader(http.StatusTeapot)
		case "/trailer":
			rw.Header().Set("Trailer", "X-T")
			fmt.Fprint(rw, "hello")
			rw.Header().Set("X-T", "1")
		}
	}))))
	c := w.dial()
	for _, tt := range []struct {
		method, path, text string
		status             int
	}{
		{"GET", "length", "hello", 200}, {"HEAD", "length", "", 200}, {"GET", "flushed", "hello", 200}, {"HEAD", "flushed", "", 200},
		{"GET", "none", "", 204}, {"GET", "unchanged", "", 304}, {"GET", "early", "", 418}, {"GET", "trailer", "hello", 200}, {"GET", "empty", "", 200},
	} {
		a := c.ask(tt.method, "/echo/1.0.0/"+tt.path, "\r\n")
		if a.StatusCode != tt.status || a.text != tt.text || a.Close || a.Header.Get("X-Tidegate-Stage") != "" {
			t.Errorf("%s %s: %s %q %v, want %d %q", tt.method, tt.path, a.Status, a.text, a.Header, tt.status, tt.text)
		}
		for _, name := range aboutHost {
			if got := a.Header.Get(name); got != "" {
				t.Errorf("%s %s: the answer has %s: %s", tt.method, tt.path, name, got)
			}
		}
		if got := strings.Join(a.Header["Set-Cookie"], "|"); got != "a=1" {
			t.Errorf("%s %s: the cookies are %q", tt.method, tt.path, got)
		}
	}
}
