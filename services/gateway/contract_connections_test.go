package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// fileText returns what is in a file.
func fileText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// echoing is a backend that sends back what it gets from whoever has this Authorization, with
// TLS where cfg is not nil.
func echoing(t *testing.T, cfg *tls.Config, authorization string) (url string) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if got := r.Header["Authorization"]; len(got) != 1 || got[0] != authorization {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		for {
			kind, text, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, text) != nil {
				return
			}
		}
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	if srv.TLS = cfg; cfg == nil {
		srv.Start()
	} else {
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// tunnelling is a proxy that opens connections by CONNECT, with TLS where cfg is not nil.
func tunnelling(t *testing.T, cfg *tls.Config) (url string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + ln.Addr().String()
	if cfg != nil {
		url = "https://" + ln.Addr().String()
		ln = tls.NewListener(ln, cfg)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	serve := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil || r.Method != http.MethodConnect {
			return
		}
		far, err := net.Dial("tcp", r.RequestURI)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		all.Go(func() { _, _ = io.Copy(far, in); _ = far.Close() })
		_, _ = io.Copy(conn, far)
	}
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(conn) })
		}
	})
	return url
}

// TestSessionsOfConnections has sessions with backends of every kind through proxies of every
// kind: those with TLS demand a certificate, and all of them a credential.
func TestSessionsOfConnections(t *testing.T) {
	w := newWorld(t)
	ca, clients := certtest.NewCA(t), certtest.NewCA(t)
	pair := func(files certs.Files) tls.Certificate {
		c, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(fileText(t, clients.File)))
	demanding := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{pair(ca.Issue(t, "inside.example"))}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	}
	own := clients.Issue(t, "gateway")
	const authorization = "Basic Z2F0ZTp3YXk="
	backends := map[string]string{"ws": echoing(t, nil, authorization), "wss": echoing(t, demanding(), authorization)}
	proxies := map[string]string{"none": "", "http": tunnelling(t, nil), "https": tunnelling(t, &tls.Config{Certificates: []tls.Certificate{pair(ca.Issue(t))}})}
	for kind, url := range backends {
		for through, proxy := range proxies {
			w.balanced(kind+through, func(e *catalogv1.Endpoints) {
				e.ProductionConnection = &catalogv1.Connection{
					Tls: &catalogv1.BackendTLS{
						RootCertificates: fileText(t, ca.File), ClientCertificate: fileText(t, own.Cert), ClientKey: &catalogv1.PrivateKey{Pem: fileText(t, own.Key)}, ServerName: "inside.example",
					},
					Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: "gate", Password: &catalogv1.Secret{Value: "way"}}},
				}
				if proxy != "" {
					e.ProductionConnection.Proxy = &catalogv1.ConnectProxy{Url: proxy}
				}
			}, url)
		}
	}
	w.start()
	for kind := range backends {
		for through := range proxies {
			c, got := w.ask(w.plain+"/x/"+kind+through, http.Header{"Authorization": {"Bearer forged"}})
			if c == nil {
				t.Errorf("%s, proxy %s: %d %s", kind, through, got.status, got.body)
				continue
			}
			c.SetReadLimit(1 << 20)
			for _, size := range []int{1, 300 << 10, 5} {
				text := bytes.Repeat([]byte("x"), size)
				if err := c.Write(t.Context(), websocket.MessageBinary, text); err != nil {
					t.Fatalf("%s, proxy %s: %v", kind, through, err)
				}
				if _, echo, err := c.Read(t.Context()); err != nil || !bytes.Equal(echo, text) {
					t.Errorf("%s, proxy %s: %d bytes come back as %d, %v", kind, through, size, len(echo), err)
				}
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("%s, proxy %s: close: %v", kind, through, err)
			}
		}
	}
}

// TestNoTokenSaysNothingOfEndpoints refuses handshakes while there is no token, and for a
// credential that is not taken, with a code of its own; no endpoint is suspended for it.
func TestNoTokenSaysNothingOfEndpoints(t *testing.T) {
	w := newWorld(t)
	backend := newAnswering(t, 101)
	picky := newAnswering(t, 401)
	w.balanced("none", func(e *catalogv1.Endpoints) {
		lasting(e)
		e.ProductionConnection = &catalogv1.Connection{Credential: &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
			TokenUrl: "http://127.0.0.1:1/", ClientId: "c", ClientSecret: &catalogv1.Secret{Value: "s3cret"},
		}}}
	}, backend.url)
	w.balanced("picky", func(e *catalogv1.Endpoints) {
		lasting(e)
		e.ProductionConnection = &catalogv1.Connection{Credential: &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: &catalogv1.Secret{Value: "s3cret"}}}}
	}, picky.url, backend.url)
	w.start()
	for version, detail := range map[string]string{"none": "there is no access token for the backend", "picky": "the backend did not take the credential that the version has for it"} {
		for range 2 {
			_, got := w.ask(w.plain+"/x/"+version, nil)
			if got.status != http.StatusBadGateway || !strings.Contains(got.body, "BACKEND_CREDENTIAL") || !strings.Contains(got.body, detail) || strings.Contains(got.body, "s3cret") {
				t.Errorf("%s: the answer is %d %s", version, got.status, got.body)
			}
			if version == "picky" {
				break // the next one goes to the other endpoint
			}
		}
		for _, e := range w.described(version) {
			if e.GetState() != gatewayv1.EndpointStatus_STATE_HEALTHY {
				t.Errorf("%s: the endpoint is %v", version, e)
			}
		}
	}
	if n := backend.asked.Load(); n != 0 {
		t.Errorf("a backend was asked %d times without a token, want 0", n)
	}
}
