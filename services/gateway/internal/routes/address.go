package routes

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

// Serves is what is served at an address of a version; the zero value is all that the version
// has.
type Serves struct {
	NoSocket, NoHTTP bool
}

// Address is where clients reach a version, beside the address that its context gives it.
type Address struct {
	Host   string // of a virtual host, which may be a wildcard; "" is the shared host
	Prefix string // such as "/app/socket"; "" is the whole of a virtual host
	Serves Serves
	Keep   bool // backends get the prefix, too
}

// addresses sets the further addresses, and adds the hosts of the advertised ones to those
// that backends may get.
func (r *Route) addresses(list []*catalogv1.FurtherAddress) {
	for _, p := range list {
		a := Address{Host: p.GetHost(), Prefix: p.GetPrefix(), Keep: p.GetKeepPrefix()}
		switch p.GetServes() {
		case catalogv1.FurtherAddress_SERVES_UNSPECIFIED, catalogv1.FurtherAddress_SERVES_ALL:
		case catalogv1.FurtherAddress_SERVES_SOCKET:
			a.Serves.NoHTTP = true
		case catalogv1.FurtherAddress_SERVES_HTTP:
			a.Serves.NoSocket = true
		default:
			r.lacks("kind of address")
			continue
		}
		r.Further = append(r.Further, a)
	}
}

// advertised returns the hosts of advertised addresses as clients ask for them: without the
// port that the scheme implies.
func advertised(list []*catalogv1.FurtherAddress) (hosts []string) {
	for _, p := range list {
		for _, address := range p.GetAddresses() {
			u, err := url.Parse(address)
			if err != nil || p.GetHost() == "" {
				continue // those of the shared host are the installation's
			}
			host := u.Host
			if port := u.Port(); port == "80" && (u.Scheme == "ws" || u.Scheme == "http") || port == "443" && (u.Scheme == "wss" || u.Scheme == "https") {
				host = strings.TrimSuffix(host, ":"+port)
			}
			if !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// check reports why a version cannot be reached at the address.
func (a Address) check() error {
	switch {
	case a.Host != "" && hostname.Check(a.Host) != nil:
		return fmt.Errorf("%q cannot be a virtual host", a.Host)
	case a.Prefix == "" && a.Host != "":
		return nil
	case !validContext(a.Prefix):
		return fmt.Errorf("prefix %q cannot be an address", a.Prefix)
	}
	return nil
}
