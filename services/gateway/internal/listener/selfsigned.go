package listener

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// selfSignedLife is long: a client that takes a self-signed certificate at all
// has pinned it, or does not look at it.
const selfSignedLife = 10 * 365 * 24 * time.Hour

// SelfSigned returns the files of the self-signed pair in a folder, which is
// made when there is none or it has expired.
func SelfSigned(dir string, now time.Time) (cert, key string, err error) {
	cert, key = filepath.Join(dir, "gateway.crt"), filepath.Join(dir, "gateway.key")
	pair, err := tls.LoadX509KeyPair(cert, key)
	switch {
	case err == nil && now.Before(pair.Leaf.NotAfter):
		return cert, key, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", "", fmt.Errorf("read self-signed certificate %s: %w", cert, err)
	}
	certPEM, keyPEM, err := makeSelfSigned(now)
	if err != nil {
		return "", "", fmt.Errorf("make self-signed certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("keep self-signed certificate: %w", err)
	}
	for _, file := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{{key, keyPEM, 0o600}, {cert, certPEM, 0o644}} {
		if err := os.WriteFile(file.name, file.content, file.mode); err != nil {
			return "", "", fmt.Errorf("keep self-signed certificate: %w", err)
		}
	}
	return cert, key, nil
}

func makeSelfSigned(now time.Time) (certPEM, keyPEM []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Tidegate gateway, self-signed"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true,
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
