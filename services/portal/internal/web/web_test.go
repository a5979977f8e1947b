package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestPanic answers 500 for a handler that panics, and logs why.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	var with any
	h, err := New(Parts{Pages: http.NotFoundHandler(), REST: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(with) })},
		slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	with = "oops"
	const info = `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INTERNAL","domain":"tidegate","metadata":{}}`
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/x", nil))
	if body := strings.ReplaceAll(w.Body.String(), " ", ""); w.Code != 500 || body != `{"code":13,"message":"internalerror","details":[`+info+`]}` {
		t.Errorf("answer = %d %s, want 500 and an internal error", w.Code, body)
	}
	if !strings.Contains(log.String(), "panic=oops") {
		t.Errorf("log = %s, want the panic", log.String())
	}
	with = http.ErrAbortHandler
	defer func() {
		if p := recover(); p != with {
			t.Errorf("panic = %v, want %v to pass", p, with)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/v1/x", nil))
}

// TestMetricsOnce refuses a registry that has a portal already.
func TestMetricsOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	parts := Parts{REST: http.NotFoundHandler(), Pages: http.NotFoundHandler()}
	if _, err := New(parts, slog.New(slog.DiscardHandler), reg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(parts, slog.New(slog.DiscardHandler), reg); err == nil || !strings.HasPrefix(err.Error(), "register HTTP metrics: ") {
		t.Errorf("New = %v, want that the metrics are there already", err)
	}
}
