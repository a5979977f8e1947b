package cli

import (
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// addressFlags say where a version is reached beside the address of its API's context.
type addressFlags struct {
	Address []string `sep:"none" placeholder:"ADDRESS" help:"Further address of the version: a path on the shared host such as /app/socket (for administrators), a virtual host such as chat.example.com, or both as chat.example.com/app; behind a comma socket or http for what it serves alone, and keep where backends get the path, too, as /cable,socket,keep; can be repeated; empty for none. Replaces all."`
}

// setAddresses puts what is given into a version, and returns the fields that it is for.
func (f *addressFlags) setAddresses(v *catalogv1.Version) (paths []string, err error) {
	if len(f.Address) == 0 {
		return nil, nil
	}
	for _, text := range some(f.Address) {
		a, err := parseAddress(text)
		if err != nil {
			return nil, err
		}
		v.FurtherAddresses = append(v.FurtherAddresses, a)
	}
	return []string{"further_addresses"}, nil
}

// parseAddress reads an address with what is said of it behind commas.
func parseAddress(text string) (*catalogv1.FurtherAddress, error) {
	words := strings.Split(text, ",")
	if strings.Contains(words[0], "://") {
		return nil, usagef("--address: %q must be without a scheme and a port, as chat.example.com/app: how a host is reached is the installation's", text)
	}
	a := &catalogv1.FurtherAddress{}
	if host, path, ok := strings.Cut(words[0], "/"); ok {
		a.Host, a.Prefix = host, "/"+path
	} else {
		a.Host = host
	}
	if a.Prefix == "/" {
		a.Prefix = ""
	}
	for _, word := range words[1:] {
		switch word {
		case "socket":
			a.Serves = catalogv1.FurtherAddress_SERVES_SOCKET
		case "http":
			a.Serves = catalogv1.FurtherAddress_SERVES_HTTP
		case "keep":
			a.KeepPrefix = true
		default:
			return nil, usagef("--address: %q must have socket, http or keep behind a comma, not %q", text, word)
		}
	}
	return a, nil
}

// addressText is a further address as parseAddress reads it.
func addressText(a *catalogv1.FurtherAddress) string {
	text := a.GetHost() + a.GetPrefix()
	switch a.GetServes() {
	case catalogv1.FurtherAddress_SERVES_SOCKET, catalogv1.FurtherAddress_SERVES_HTTP:
		text += "," + word(a.GetServes(), "SERVES_")
	}
	if a.GetKeepPrefix() {
		text += ",keep"
	}
	return text
}

// furtherAddresses are the further addresses of a version as parseAddress reads them.
func furtherAddresses(v *catalogv1.Version) []string {
	var texts []string
	for _, a := range v.GetFurtherAddresses() {
		texts = append(texts, addressText(a))
	}
	return texts
}

// addressFields are the further addresses of a version, each with how it is advertised.
func addressFields(v *catalogv1.Version) (fields [][2]string) {
	for _, a := range v.GetFurtherAddresses() {
		text := addressText(a)
		if len(a.GetAddresses()) > 0 {
			text += " (" + strings.Join(a.GetAddresses(), ", ") + ")"
		}
		fields = append(fields, [2]string{"Further address", text})
	}
	return fields
}
