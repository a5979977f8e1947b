package certs

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

func TestIssue(t *testing.T) {
	now := time.Now()
	ca, pair, err := NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pair.Cert) {
		t.Fatal("the authority's file has no certificate")
	}
	names := []string{"gateway", "localhost", "127.0.0.1", "::1"}
	leaf, err := ca.Issue(Leaf{Names: names, Life: 24 * time.Hour, Client: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			opts := x509.VerifyOptions{DNSName: name, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := both.Leaf.Verify(opts); err != nil {
				t.Errorf("Verify(%q, usage %d) = %v, want nil", name, usage, err)
			}
		}
	}
	if got := both.Leaf.DNSNames; !slices.Equal(got, []string{"gateway", "localhost"}) {
		t.Errorf("DNS names = %q, want gateway first", got)
	}
}

func TestCovers(t *testing.T) {
	now := time.Now()
	ca, _, err := NewAuthority("one", now)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := NewAuthority("other", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Leaf{Names: []string{"localhost", "127.0.0.1"}, Life: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		ca    *Authority
		names []string
		until time.Time
		want  bool
	}{
		{"its own", ca, []string{"localhost", "127.0.0.1"}, now.Add(59 * time.Minute), true},
		{"too long", ca, []string{"localhost"}, now.Add(61 * time.Minute), false},
		{"another name", ca, []string{"localhost", "example.com"}, now, false},
		{"another authority", other, []string{"localhost"}, now, false},
	} {
		if got := c.ca.Covers(pair, c.names, c.until); got != c.want {
			t.Errorf("%s: Covers(%q, %v) = %v, want %v", c.name, c.names, c.until, got, c.want)
		}
	}
	if ca.Covers(Pair{Cert: []byte("no"), Key: []byte("no")}, nil, now) {
		t.Error("Covers(nonsense) = true, want false")
	}
}
