package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDocument(t *testing.T) {
	text := bytes.Repeat([]byte("text "), 1000)
	made := New("text/plain", Fresh, text)
	embedded, err := Compressed("text/plain", Forever, made.compressed())
	if err != nil {
		t.Fatal(err)
	}
	for d, cache := range map[*Document]string{made: Fresh, embedded: Forever} {
		for accept, encoding := range map[string]string{
			"": "", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.0": "", "identity": "", "deflate,gzip": "gzip",
		} {
			ask := func(method, etag string) *httptest.ResponseRecorder {
				r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
				r.Header.Set("Accept-Encoding", accept)
				r.Header.Set("If-None-Match", etag)
				w := httptest.NewRecorder()
				d.ServeHTTP(w, r)
				return w
			}
			got := ask("GET", "")
			body := io.Reader(got.Body)
			if encoding == "gzip" {
				if body, err = gzip.NewReader(got.Body); err != nil {
					t.Fatal(err)
				}
			}
			read, err := io.ReadAll(body)
			h := got.Result().Header
			if got.Code != 200 || err != nil || !bytes.Equal(read, text) || h.Get("Content-Encoding") != encoding || h.Get("Vary") != "Accept-Encoding" || h.Get("Cache-Control") != cache {
				t.Errorf("GET with %q = %d %v, %v, want the text as %q", accept, got.Code, h, err, encoding)
			}
			if again := ask("GET", h.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
				t.Errorf("GET with %q again = %d with %d bytes, want 304", accept, again.Code, again.Body.Len())
			}
			if head := ask("HEAD", ""); head.Code != 200 || head.Body.Len() > 0 {
				t.Errorf("HEAD with %q = %d with %d bytes, want none", accept, head.Code, head.Body.Len())
			}
			if post := ask("POST", ""); post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST = %d %v, want 405", post.Code, post.Header())
			}
		}
	}
	if _, err := Compressed("text/plain", Fresh, []byte("no gzip")); err == nil {
		t.Error("Compressed takes what is not compressed")
	}
}
