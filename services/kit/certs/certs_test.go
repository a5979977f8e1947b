package certs_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func open(t *testing.T, files certs.Files) *certs.Source {
	t.Helper()
	s, err := certs.Open(files, nil)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// shake does a handshake and returns the names that each side sees.
func shake(t *testing.T, server, client *tls.Config) (serverNames, clientNames []string, err error) {
	t.Helper()
	lis := memnet.Listen("server")
	defer lis.Close()
	var srv *tls.Conn
	done := make(chan error, 1)
	go func() {
		a, err := lis.Accept()
		if err != nil {
			done <- err
			return
		}
		srv = tls.Server(a, server)
		err = srv.Handshake()
		if err == nil {
			_, err = srv.Write([]byte("x"))
		}
		a.Close()
		done <- err
	}()
	b, err := lis.DialContext(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "127.0.0.1"
	c := tls.Client(b, client)
	_, err = c.Read(make([]byte, 1)) // TLS 1.3 tells a refused client at its first read
	b.Close()
	if serr := <-done; err == nil {
		err = serr
	}
	if err != nil {
		return nil, nil, err
	}
	serverNames = c.ConnectionState().PeerCertificates[0].DNSNames
	if certs := srv.ConnectionState().PeerCertificates; len(certs) > 0 {
		clientNames = certs[0].DNSNames
	}
	return serverNames, clientNames, nil
}

func TestMutualTLS(t *testing.T) {
	ca, other := certtest.NewCA(t), certtest.NewCA(t)
	server := open(t, ca.Issue(t, "catalog"))
	client := open(t, ca.Issue(t, "gateway"))
	s, c, err := shake(t, server.Server(true, "h2"), client.Client())
	if err != nil || len(s) != 1 || s[0] != "catalog" || len(c) != 1 || c[0] != "gateway" {
		t.Errorf("handshake = %v, %v, %v, want catalog, gateway", s, c, err)
	}
	stranger := other.Issue(t, "gateway")
	stranger.CA = ca.File
	if _, _, err := shake(t, server.Server(true), open(t, stranger).Client()); err == nil {
		t.Error("a certificate of another authority is admitted")
	}
	nobody := open(t, certs.Files{CA: ca.File})
	if _, _, err := shake(t, server.Server(true), nobody.Client()); err == nil {
		t.Error("a client without a certificate is admitted")
	}
	if _, _, err := shake(t, server.Server(false), nobody.Client()); err != nil {
		t.Errorf("a client without a certificate on a server for all: %v", err)
	}
	if _, _, err := shake(t, server.Server(false), open(t, certs.Files{CA: other.File}).Client()); err == nil {
		t.Error("a client trusts a server of another authority")
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	ca := certtest.NewCA(t)
	files := ca.Issue(t, "old")
	var log bytes.Buffer
	server, err := certs.Open(files, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Server(false)
	client := open(t, certs.Files{CA: ca.File})
	names := func() string {
		s, _, err := shake(t, cfg, client.Client())
		if err != nil {
			t.Fatalf("handshake: %v", err)
		}
		return s[0]
	}
	if got := names(); got != "old" {
		t.Errorf("server is %q, want old", got)
	}
	ca.IssueTo(t, files, "new")
	later(t, files.Cert)
	for range 3 {
		if got := names(); got != "new" {
			t.Errorf("server is %q, want new", got)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=INFO msg=\"TLS files read again\" certificate="+files.Cert) {
		t.Errorf("log is %q, want one line that the files were read again", &log)
	}
	log.Reset()
	if err := os.WriteFile(files.Key, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := names(); got != "new" {
			t.Errorf("with half a key the server is %q, want new", got)
		}
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 1 || !strings.Contains(log.String(), files.Key) {
		t.Errorf("with half a key the log is %q, want the key file's name once", &log)
	}
	ca.IssueTo(t, files, "newer")
	later(t, files.Cert)
	if got := names(); got != "newer" {
		t.Errorf("server is %q, want newer", got)
	}
	other := certtest.NewCA(t).Issue(t, "other") // its key is still to come
	if err := os.Rename(other.Cert, files.Cert); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "newer" {
		t.Errorf("with a certificate without its key the server is %q, want newer", got)
	}
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "newer" {
		t.Errorf("without its file the server is %q, want newer", got)
	}
}

// TestReload reads files again that look as they did before.
func TestReload(t *testing.T) {
	ca := certtest.NewCA(t)
	files := ca.Issue(t, "old")
	server := open(t, files)
	info, err := os.Stat(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	ca.IssueTo(t, files, "new")
	for _, path := range []string{files.Cert, files.Key} {
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	names, _, err := shake(t, server.Server(false), open(t, certs.Files{CA: ca.File}).Client())
	if err != nil || names[0] != "new" {
		t.Errorf("server is %q, %v, want new", names, err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if err := server.Reload(); err == nil {
		t.Error("Reload without a key = nil, want an error")
	}
}

// An authority is replaced as certificates are, for clients and for servers.
func TestAuthorityIsReadAgain(t *testing.T) {
	old, new := certtest.NewCA(t), certtest.NewCA(t)
	server := open(t, old.Issue(t, "catalog")).Server(true)
	file := old.File
	client := open(t, old.Issue(t, "gateway"))
	stranger := new.Issue(t, "gateway")
	stranger.CA = file
	if _, _, err := shake(t, server, open(t, stranger).Client()); err == nil {
		t.Error("a certificate of another authority is admitted")
	}
	if err := os.Rename(new.File, file); err != nil {
		t.Fatal(err)
	}
	later(t, file)
	if _, _, err := shake(t, server, client.Client()); err == nil {
		t.Error("a certificate of the authority before is admitted, or one trusted")
	}
	renewed := new.Issue(t, "catalog")
	renewed.CA = file
	if _, _, err := shake(t, open(t, renewed).Server(true), open(t, stranger).Client()); err != nil {
		t.Errorf("both with the new authority: %v", err)
	}
}

// later makes a file newer than it can have been before.
func later(t *testing.T, path string) {
	t.Helper()
	at := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ca := certtest.NewCA(t)
	a, b := ca.Issue(t, "a"), ca.Issue(t, "b")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files certs.Files
		want  string
	}{
		{certs.Files{Cert: a.Cert}, "go together"},
		{certs.Files{Key: a.Key}, "go together"},
		{certs.Files{Cert: a.Cert, Key: b.Key}, "private key does not match"},
		{certs.Files{Cert: "/nowhere", Key: a.Key}, "/nowhere"},
		{certs.Files{CA: empty}, "no certificate in it"},
		{certs.Files{CA: "/nowhere"}, "/nowhere"},
	} {
		if _, err := certs.Open(tt.files, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%+v) = %v, want %q", tt.files, err, tt.want)
		}
	}
}

// TestOldTLSIsRefused tries what clients and servers of ours must not agree to: TLS
// before 1.2, and 1.2 with suites without AEAD.
func TestOldTLSIsRefused(t *testing.T) {
	ca := certtest.NewCA(t)
	source := open(t, ca.Issue(t, "catalog"))
	for _, tt := range []struct {
		name  string
		edit  func(*tls.Config)
		want  uint16 // the version that is agreed on
		agree bool
	}{
		{"everything", func(*tls.Config) {}, tls.VersionTLS13, true},
		{"1.2 with AEAD", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, tls.VersionTLS12, true},
		{"1.2 with CBC", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, 0, false},
		{"1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 0, false},
	} {
		other := &tls.Config{RootCAs: source.Client().RootCAs, Certificates: source.Client().Certificates}
		tt.edit(other)
		var agreed uint16
		other.VerifyConnection = func(s tls.ConnectionState) error { agreed = s.Version; return nil }
		if _, _, err := shake(t, source.Server(false), other.Clone()); (err == nil) != tt.agree || agreed != tt.want {
			t.Errorf("a client with %s: %v, version %x, want agreement %v on %x", tt.name, err, agreed, tt.agree, tt.want)
		}
		if _, _, err := shake(t, other, source.Client()); (err == nil) != tt.agree {
			t.Errorf("a server with %s: %v, want agreement %v", tt.name, err, tt.agree)
		}
	}
}

// TestEveryTLSConfigurationIsModern finds configurations that do not begin with
// Modern.
func TestEveryTLSConfigurationIsModern(t *testing.T) {
	services := filepath.Join("..", "..")
	err := filepath.WalkDir(services, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		switch first, _, _ := strings.Cut(strings.TrimPrefix(path, services+string(filepath.Separator)), string(filepath.Separator)); {
		case first == "bench", filepath.Base(path) == "certs.go" && filepath.Base(filepath.Dir(path)) == "certs":
			return nil
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "tls.Config{") {
			t.Errorf("%s makes a tls.Config, want certs.Modern", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
