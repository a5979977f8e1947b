package e2e

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// proxyFor is an HTTP proxy that opens connections by CONNECT for one user.
func proxyFor(t *testing.T, user, password string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	serve := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil || r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != want {
			_, _ = io.WriteString(conn, "HTTP/1.1 407 No\r\n\r\n")
			return
		}
		far, err := net.Dial("tcp", r.RequestURI)
		if err != nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 502 No\r\n\r\n")
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
	return "http://" + ln.Addr().String()
}

// connections has a version whose gateways show a token of their own to its backend, which
// they get from a token endpoint and through a proxy: the backend gets the token, and nobody
// gets the secrets, also where the proxy or the token endpoint refuses them.
func (l *leakRun) connections() {
	l.t.Helper()
	const token, secret, password = "Kx7-token-for-the-backend-Wp2nQ9", "Jm4-secret-of-the-client-Rt6vB8", "Hd3-password-of-the-proxy-Ys5zL1"
	wrong := strings.Replace(secret, "secret", "SECRET", 1)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != secret {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"not `+got+`"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"`+token+`","token_type":"Bearer","expires_in":3600}`)
	}))
	l.t.Cleanup(issuer.Close)
	authority, _, err := certs.NewAuthority("backends", time.Now())
	if err != nil {
		l.t.Fatal(err)
	}
	pair, err := authority.Issue(certs.Leaf{Names: []string{"gateway"}, Life: time.Hour, Client: true}, time.Now())
	if err != nil {
		l.t.Fatal(err)
	}
	proxy := proxyFor(l.t, "gate", password)
	version := func(name, secret, password string) *product {
		l.secrets.Add("the secret of an OAuth client for the backend", secret)
		l.secrets.Add("the password of a proxy", password)
		return l.versionAt(l.trusted, name, func(v *catalogv1.Version) {
			v.Endpoints.ProductionConnection = &catalogv1.Connection{
				Tls: &catalogv1.BackendTLS{ClientCertificate: string(pair.Cert), ClientKey: &catalogv1.PrivateKey{Pem: string(pair.Key)}},
				Credential: &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
					TokenUrl: issuer.URL, ClientId: "tidegate", ClientSecret: &catalogv1.Secret{Value: secret},
				}},
				Proxy: &catalogv1.ConnectProxy{Url: proxy, User: "gate", Password: &catalogv1.Secret{Value: password}},
			}
		}, &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}})
	}
	l.secrets.Add("a private key", strings.Split(string(pair.Key), "\n")[1][48:]) // what comes before is the same in all of its kind
	l.given.Add("a token for the backend", token)
	l.meant["the trusted backend"]["a token for the backend"] = true
	for _, tt := range []struct {
		name, secret, password string
		want                   int
	}{{"Connected", secret, password, 101}, {"BadlyConnected", wrong, password, 502}, {"NotConnected", secret, password + "-not", 502}} {
		v := version(tt.name, tt.secret, tt.password)
		if got := l.shakes(v.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+marker) }); got != tt.want {
			l.t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
