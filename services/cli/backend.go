package cli

import (
	"fmt"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// backendFlags say how gateways speak to a version's backends and clients.
type backendFlags struct {
	BackendHost   string `placeholder:"HOST" help:"What backends get as Host: endpoint (the default), client (the one that the client asked for, if it is advertised), or a host."`
	BackendOrigin string `enum:"client,none,endpoint," default:"" placeholder:"ORIGIN" help:"What backends get as Origin: client (what the client sent, the default), none, or endpoint (the backend's own)."`
	Pings         string `enum:"both,clients,backends,off," default:"" placeholder:"WHOM" help:"Whom gateways send pings: both (the default), clients, backends or off."`
}

// set puts what is given into a version, and returns the fields that it is for.
func (f *backendFlags) set(v *catalogv1.Version) (paths []string) {
	options := &catalogv1.BackendOptions{}
	switch f.BackendHost {
	case "":
	case "endpoint", "client":
		options.Host = catalogv1.BackendOptions_Host(catalogv1.BackendOptions_Host_value["HOST_"+strings.ToUpper(f.BackendHost)])
	default:
		options.Host, options.FixedHost = catalogv1.BackendOptions_HOST_FIXED, f.BackendHost
	}
	if f.BackendHost != "" {
		paths = append(paths, "backend_options.host", "backend_options.fixed_host")
	}
	if f.BackendOrigin != "" {
		options.Origin = catalogv1.BackendOptions_Origin(catalogv1.BackendOptions_Origin_value["ORIGIN_"+strings.ToUpper(f.BackendOrigin)])
		paths = append(paths, "backend_options.origin")
	}
	if len(paths) > 0 {
		v.BackendOptions = options
	}
	if f.Pings != "" {
		v.Pings = catalogv1.Version_Pings(catalogv1.Version_Pings_value["PINGS_"+strings.ToUpper(f.Pings)])
		paths = append(paths, "pings")
	}
	return paths
}

// backendHost says what backends get as Host; empty for the default.
func backendHost(o *catalogv1.BackendOptions) string {
	if o.GetHost() == catalogv1.BackendOptions_HOST_FIXED {
		return o.GetFixedHost()
	}
	return option(o.GetHost() == 0, o.GetHost(), "HOST_")
}

// option is the value of an enum in words; empty for the default.
func option(byDefault bool, value fmt.Stringer, prefix string) string {
	if byDefault {
		return ""
	}
	return word(value, prefix)
}
