package api

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/addresstemplate"
)

var (
	errHost = errors.New("its host must be a DNS name or an IP address")
	errPort = errors.New("its port must be a number from 1 to 65535")
)

// checkEndpoint checks what the proto's rules do not about the URL of a backend; empty
// means none. What its host resolves to is checked when it is dialled.
func checkEndpoint(text string) error {
	if text == "" {
		return nil
	}
	if err := addresstemplate.Check(text); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("must be a URL: " + urlProblem(err))
	}
	if u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return errors.New("must have no user info and no fragment")
	}
	if strings.ContainsFunc(u.RawQuery, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return errors.New("must have a query of ASCII characters only; others are percent-encoded")
	}
	return checkHost(u)
}

// checkOrigin checks what the proto's rules do not about an origin. What is a host
// where the scheme is not one of the web is for those to say who define the scheme.
func checkOrigin(text string) error {
	if text == "null" || text == "file://" {
		return nil
	}
	u, err := url.Parse(strings.Replace(text, "://*.", "://", 1))
	switch {
	case err != nil:
		return errors.New("must be an origin: " + urlProblem(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return checkPort(u)
	}
	return checkHost(u)
}

// checkFixedHost checks what the proto's rules do not about the Host for backends.
func checkFixedHost(host string) error {
	if host == "" {
		return nil
	}
	u, err := url.Parse("ws://" + host)
	if err != nil {
		return errHost
	}
	return checkHost(u)
}

// checkPort checks a URL's port.
func checkPort(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return errPort
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errPort
		}
	}
	return nil
}

// checkHost checks a URL's host and port.
func checkHost(u *url.URL) error {
	if err := checkPort(u); err != nil {
		return err
	}
	host, bracketed := u.Hostname(), strings.HasPrefix(u.Host, "[")
	ip, err := netip.ParseAddr(host)
	if err == nil && (ip.Is6() != bracketed || ip.Zone() != "") || err != nil && (bracketed || !dnsName(host)) {
		return errHost
	}
	return nil
}

// dnsName reports whether a host has the form of a DNS name: labels of letters,
// digits, "-" and "_", not all of them numbers.
func dnsName(host string) bool {
	const maxName, maxLabel = 253, 63
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxName {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
				return false
			}
		}
		last = label
	}
	// A host that ends in a number is read as an IPv4 address, and this is not one.
	return strings.Trim(last, "0123456789") != ""
}

// urlProblem returns the error of url.Parse without the URL.
func urlProblem(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
