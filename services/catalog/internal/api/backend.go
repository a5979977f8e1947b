package api

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// maxHeaders is the largest number of bytes in the names and values of a version's rules of
// headers. A handshake has room for them beside what clients send.
const maxHeaders = 8192

// checkBackend checks what the proto's rules do not about what backends are told.
func checkBackend(o *catalogv1.BackendOptions) []fault.Violation {
	var wrong []fault.Violation
	add := func(field, message string) {
		wrong = append(wrong, fault.Violation{Field: "version.backend_options." + field, Message: message})
	}
	if err := checkFixedHost(o.GetFixedHost()); err != nil {
		add("fixed_host", err.Error())
	}
	seen := map[string]int{}
	for i, rule := range o.GetHeaders() {
		at := fmt.Sprintf("headers[%d].", i)
		if text := reservedHeader(rule.GetName()); text != "" {
			add(at+"name", text)
		}
		if first, again := seen[canonical(rule.GetName())]; again {
			add(at+"name", fmt.Sprintf("is the header of headers[%d], too: a header has one rule", first))
		} else {
			seen[canonical(rule.GetName())] = i
		}
		if from := rule.GetCopyOf(); from != "" && canonical(from) != "Origin" && writtenHeader(from) {
			add(at+"copy_of", "must not be "+from+", which does not pass from clients to backends")
		}
	}
	return wrong
}

// checkPassCredential checks whether the credential can be passed on, where it is to be.
func checkPassCredential(v *catalogv1.Version) error {
	if !v.GetPassCredential() {
		return nil
	}
	if withVersion(store.Version{}, v).Anonymous() {
		return errors.New("must be false with the security none, which asks for no credential")
	}
	for i, rule := range v.GetBackendOptions().GetHeaders() {
		if canonical(rule.GetName()) == "Authorization" {
			return fmt.Errorf("must be false with backend_options.headers[%d], a rule for the header that the credential is passed on in", i)
		}
	}
	return nil
}

// canonical returns the name of a header as backends read it: many read X_A as X-A.
func canonical(name string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// reservedHeader returns why a rule cannot say what backends get in a header, "" if it can.
func reservedHeader(name string) string {
	switch {
	case canonical(name) == "Host":
		return "must not be Host, which backend_options.host sets"
	case canonical(name) == "Origin":
		return "must not be Origin, which backend_options.origin sets"
	case writtenHeader(name):
		return "must not be " + name + ", which the handshake, HTTP or the gateway itself writes"
	}
	return ""
}

// backendRow returns what backends are told as rows have it.
func backendRow(o *catalogv1.BackendOptions) store.Backend {
	b := store.Backend{Identity: enumRow(o.GetIdentity(), store.IdentityPrefix)}
	for _, rule := range o.GetHeaders() {
		b.Headers = append(b.Headers, store.HeaderRule{
			Name: rule.GetName(), Set: rule.GetSet(), Secret: secretRow(rule.GetSecret()), Remove: rule.GetRemove(), CopyOf: rule.GetCopyOf(),
		})
	}
	return b
}

func secretRow(s *catalogv1.Secret) *store.Secret {
	if s == nil {
		return nil
	}
	return &store.Secret{Value: s.GetValue()}
}

// secrets returns the secrets of a version by what they are for. A header's is found by the
// header, wherever in the list it stands.
func secrets(v store.Version) map[string]secretAt {
	all := map[string]secretAt{}
	for i, h := range v.Backend.Headers {
		if h.Secret != nil {
			all["header "+canonical(h.Name)] = secretAt{field: fmt.Sprintf("backend_options.headers[%d].secret.value", i), secret: h.Secret}
		}
	}
	for _, c := range connectionsOf(v) {
		places := c.places()
		add := func(field string, s *store.Secret, to string) {
			if s != nil {
				all[c.field+field] = secretAt{c.field + field, s, to, places}
			}
		}
		if t := c.is.TLS; t != nil {
			add(".tls.client_key.pem", t.Key, "")
		}
		if b := c.is.Basic; b != nil {
			add(".basic.password.value", b.Password, "")
		}
		add(".bearer.token.value", c.is.Bearer, "")
		if o := c.is.OAuth2; o != nil {
			add(".oauth2.client_secret.value", o.Secret, o.TokenURL)
		}
		if p := c.is.Proxy; p != nil {
			add(".proxy.password.value", p.Password, p.URL)
		}
	}
	return all
}

// secretAt is a secret with the field, below version., that has its value, where it is
// sent to beside the backends, and, if it is for those of one stage, where they are.
type secretAt struct {
	field  string
	secret *store.Secret
	to     string
	places []string
}

// leadsElsewhere reports whether the secret is for a backend that was is not for: one of
// another stage may be another's.
func (s secretAt) leadsElsewhere(was secretAt) bool {
	return slices.ContainsFunc(s.places, func(place string) bool { return !slices.Contains(was.places, place) })
}

// places are where a stage's endpoints lead, and through which proxy.
func (c storedConnection) places() []string {
	var all []string
	if proxy := c.is.ProxyURL(); proxy != "" {
		all = append(all, "proxy "+proxy)
	}
	for _, e := range c.endpoints {
		all = append(all, placeOf(e.URL))
	}
	return all
}

// keepSecrets completes the secrets of a version that was old, and checks what cannot be
// checked before: where no value is given it is
// that of old, else it is the caller's from now on. Who may change a version may have it
// lead elsewhere, and is not to learn by that what others put in: so nothing is kept for an
// endpoint that leads where none did, none of its stage for what is a stage's, or through
// another proxy, nor where backends are asked for another host; nor for another token
// endpoint what is sent there.
func keepSecrets(c identity.Caller, old, next store.Version) error {
	stored, wanted := secrets(old), secrets(next)
	elsewhere := leadsElsewhere(old, next)
	var wrong []fault.Violation
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		at, was := wanted[key], stored[key]
		switch {
		case at.secret.Value != "":
			at.secret.SetAt, at.secret.Setter = time.Now(), c.Viewer().User
		case was.secret == nil:
			wrong = append(wrong, fault.Violation{Field: "version." + at.field, Message: "is required: none is stored"})
		case elsewhere || at.leadsElsewhere(was):
			wrong = append(wrong, fault.Violation{
				Field: "version." + at.field, Message: "must be given again, because an endpoint leads to another scheme, host, port or path than before, or through another proxy, or is asked for another host",
			})
		case was.to != at.to:
			wrong = append(wrong, fault.Violation{Field: "version." + at.field, Message: "must be given again, because it is sent to another address than before"})
		default:
			*at.secret = *was.secret
		}
	}
	size := 0
	for _, h := range next.Backend.Headers {
		size += len(h.Name) + len(h.Set) + len(h.CopyOf)
		if h.Secret != nil {
			size += len(h.Secret.Value)
		}
	}
	if size > maxHeaders {
		wrong = append(wrong, fault.Violation{Field: "version.backend_options.headers", Message: fmt.Sprintf("must have at most %d bytes of names and values together", maxHeaders)})
	}
	return fault.InvalidAll(append(wrong, checkKeys(next)...)...)
}

// leadsElsewhere reports whether an endpoint of next has a scheme, host, port or path that none
// of old has, or is behind a proxy that none is, or whether what backends get as Host is
// another: a server for many tells them apart by either.
func leadsElsewhere(old, next store.Version) bool {
	if old.BackendHost != next.BackendHost || old.FixedHost != next.FixedHost {
		return true
	}
	before := map[string]bool{"": true}
	for _, c := range connectionsOf(old) {
		before[c.is.ProxyURL()] = true
	}
	for _, c := range connectionsOf(next) {
		if !before[c.is.ProxyURL()] {
			return true
		}
	}
	for _, e := range old.AllEndpoints() {
		before[placeOf(e.URL)] = true
	}
	return slices.ContainsFunc(next.AllEndpoints(), func(e store.Endpoint) bool { return !before[placeOf(e.URL)] })
}

// placeOf returns whether an endpoint is spoken to with TLS, its host, its port and its path.
// It has been checked that the text is a URL.
func placeOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return serverOf(u) + cmp.Or(u.EscapedPath(), "/")
}

// serverOf returns placeOf without the path.
func serverOf(u *url.URL) string {
	scheme, port := "ws", "80"
	if s := strings.ToLower(u.Scheme); s == "wss" || s == "https" {
		scheme, port = "wss", "443"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
