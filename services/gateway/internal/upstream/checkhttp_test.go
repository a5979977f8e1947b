package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestCheckHTTP checks endpoints of plain requests, by a path for checks and by their own: what
// is good, what is not, and what the owner is told, which has nothing of the answer but its status.
func TestCheckHTTP(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }() // Accept is never called: the kernel connects
	answers := func(text string) string {
		return "http://" + backend(t, func(string, *http.Request, string) string { return text }).Addr
	}
	status := func(line string) string {
		return answers("HTTP/1.1 " + line + " s3cret\r\nX-Key: s3cret\r\n\r\ns3cret")
	}
	for _, tt := range []struct {
		name, url, path string
		authorization   string
		step            Step
		status          int
		want            string
	}{
		{"good", status("204"), "/healthz", "", Done, 204, ""},
		{"good behind a hint", answers("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "/healthz", "", Done, 200, ""},
		{"moved", status("301"), "/healthz", "", Answer, 301, "the backend answered 301, not 2xx"},
		{"not there", status("404"), "/healthz", "", Answer, 404, "the backend answered 404, not 2xx"},
		{"its own path, good", status("200"), "", "", Done, 200, ""},
		{"its own path, for clients with a credential", status("401"), "", "", Done, 401, ""},
		{"its own path, not there", status("404"), "", "", Done, 404, ""},
		{"its own path, busy", status("503"), "", "", Answer, 503, "the backend answered 503 Service Unavailable"},
		{"the version's credential is refused", status("401"), "", "Basic x", Answer, 401, "the backend did not take the credential that the version has for it"},
		{"a socket", status("101"), "", "", Answer, 0, "the backend answered 101, though it was not asked to switch protocols"},
		{"nonsense", answers("s3cret\r\n\r\n"), "", "", Answer, 0, "the backend's answer is not correct: it is malformed"},
		{"hangs up", answers(""), "/healthz", "", Answer, 0, "the backend closed the connection before its answer"},
		{"nobody listens", "http://127.0.0.1:1", "/healthz", "", Connect, 0, "the backend refused the connection: nothing listens at this port"},
		{"silence", "http://" + silent.Addr().String(), "/healthz", "", Answer, 0, "the backend did not answer the request in time"},
		{"a path that clients fill in", status("200") + "/{uri.path.1}", "", "", Answer, 0, "it can be connected to; only a client's request says which path and query it asks for"},
		{"a path that clients fill in, with one for checks", status("200") + "/{uri.path.1}", "/healthz", "", Done, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if strings.HasSuffix(tt.want, "in time") {
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			r := &Request{Endpoint: endpoint(t, tt.url), Host: "h"}
			if tt.authorization != "" {
				r.Endpoint.Connection = &routes.Connection{Authorization: tt.authorization}
			}
			got := dialer(t, Default()).CheckHTTP(ctx, r, tt.path)
			if got.Step != tt.step || got.Status != tt.status || got.Error != tt.want || got.Elapsed <= 0 {
				t.Errorf("CheckHTTP = step %d, %d, %q after %v, want %d, %d, %q", got.Step, got.Status, got.Error, got.Elapsed, tt.step, tt.status, tt.want)
			}
		})
	}
}

// TestCheckHTTPAsksAsForAClient looks at what a backend gets: the path, and the headers that
// the version has rules for.
func TestCheckHTTPAsksAsForAClient(t *testing.T) {
	for path, target := range map[string]string{"": "/own?a=b", "/healthz?deep": "/healthz?deep"} {
		asked := make(chan *http.Request, 1)
		e := backend(t, func(_ string, r *http.Request, _ string) string {
			_, _ = io.Copy(io.Discard, r.Body)
			asked <- r
			return "HTTP/1.1 200 OK\r\n\r\n"
		})
		r := &Request{Endpoint: endpoint(t, "http://"+e.Addr+"/own?a=b"), Host: "client.example"}
		r.Backends.Headers = []routes.HeaderRule{{Name: "X-Key", Key: "X-Key", Value: "v"}}
		r.Own = []head.Field{{Name: "X-Own", Value: "o"}}
		if c := dialer(t, Default()).CheckHTTP(t.Context(), r, path); c.Step != Done {
			t.Fatalf("CheckHTTP = %+v, want that it is done", c)
		}
		got := <-asked
		if got.Method != http.MethodGet || got.RequestURI != target || got.Header.Get("X-Key") != "v" || got.Header.Get("X-Own") != "o" ||
			got.Header.Get("X-Forwarded-Host") != "client.example" || got.Header.Get("Upgrade") != "" || !got.Close {
			t.Errorf("the backend got %s %s %v, want a GET of %s with the headers of the version", got.Method, got.RequestURI, got.Header, target)
		}
	}
}
