package certs

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
	"math/big"
	"net"
	"slices"
	"time"
)

// authorityLife is how long an authority is valid.
const authorityLife = 10 * 365 * 24 * time.Hour

// clockSkew is how far another machine's clock may be behind this one's.
const clockSkew = time.Hour

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is a certificate and its key, each in PEM.
type Pair struct {
	Cert, Key []byte
}

// Leaf says what a certificate is for.
type Leaf struct {
	// Names are DNS names and IP addresses; the first is the subject. Services
	// know each other by the first DNS name. At least one is needed.
	Names []string
	// Life is how long the certificate is valid.
	Life time.Duration
	// Client allows the certificate to identify a client too.
	Client bool
}

// NewAuthority makes an authority, and returns it with the pair to store.
func NewAuthority(name string, now time.Time) (*Authority, Pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	pair, err := sign(template, nil)
	if err != nil {
		return nil, Pair{}, fmt.Errorf("make the authority: %w", err)
	}
	a, err := LoadAuthority(pair)
	return a, pair, err
}

// LoadAuthority returns the authority of a pair that NewAuthority made.
func LoadAuthority(pair Pair) (*Authority, error) {
	both, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	key, ok := both.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !both.Leaf.IsCA {
		return nil, errors.New("read the authority: the certificate is not one of an authority")
	}
	return &Authority{cert: both.Leaf, key: key}, nil
}

// Issue makes a certificate. It expires no later than the authority.
func (a *Authority) Issue(leaf Leaf, now time.Time) (Pair, error) {
	if len(leaf.Names) == 0 {
		return Pair{}, errors.New("make a certificate: a name is needed")
	}
	template := leaf.template(now)
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	pair, err := sign(template, a)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate for %s: %w", leaf.Names[0], err)
	}
	return pair, nil
}

// Renew makes a certificate and a key that take the place of a certificate, given in PEM,
// that the authority has issued: for the same names and uses, and for more names. It
// expires no later than the authority.
func (a *Authority) Renew(cert []byte, more []string, life time.Duration, now time.Time) (Pair, error) {
	block, _ := pem.Decode(cert)
	if block == nil || block.Type != "CERTIFICATE" {
		return Pair{}, errors.New("renew a certificate: there is none in the file")
	}
	old, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Pair{}, fmt.Errorf("renew a certificate: %w", err)
	}
	if err := old.CheckSignatureFrom(a.cert); err != nil {
		return Pair{}, errors.New("renew a certificate: the authority has not issued it")
	}
	if !now.Before(a.cert.NotAfter) {
		return Pair{}, fmt.Errorf("renew a certificate: the authority has expired on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	names := slices.Clone(old.DNSNames)
	for _, ip := range old.IPAddresses {
		names = append(names, ip.String())
	}
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return a.Issue(Leaf{Names: names, Life: life, Client: slices.Contains(old.ExtKeyUsage, x509.ExtKeyUsageClientAuth)}, now)
}

// Expires returns when the authority expires.
func (a *Authority) Expires() time.Time { return a.cert.NotAfter }

func (l Leaf) template(now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: l.Names[0]},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(l.Life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if l.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, name := range l.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

// Covers reports whether the authority has issued the certificate, and whether it
// is valid for every name and until then.
func (a *Authority) Covers(pair Pair, names []string, until time.Time) bool {
	both, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil || until.After(both.Leaf.NotAfter) || both.Leaf.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	for _, name := range names {
		if both.Leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// sign makes a key and a certificate for it, signed by an authority, or by
// itself where by is nil.
func sign(template *x509.Certificate, by *Authority) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if by == nil {
		by = &Authority{cert: template, key: key}
	}
	template.SerialNumber = serial()
	cert, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return Pair{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

// serial returns 127 random bits: 16 bytes, positive as RFC 5280 section 4.1.2.2
// requires.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}
