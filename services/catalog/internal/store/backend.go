package store

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Backend is what a version's backends are told beside Host and Origin. It is stored sealed,
// with the endpoints.
type Backend struct {
	Headers []HeaderRule `json:"headers,omitempty"`
	// Identity is a value of the enum BackendOptions.Identity without its prefix; empty is "not
	// set".
	Identity string `json:"identity,omitempty"`
	// PassCredential is whether they get the credential of clients.
	PassCredential bool `json:"pass_credential,omitempty"`
	// Deflate is whether they and clients may agree on permessage-deflate.
	Deflate bool `json:"deflate,omitempty"`
}

// HeaderRule says what backends get in a header. One of the fields after Name is set.
type HeaderRule struct {
	Name   string  `json:"name"`
	Set    string  `json:"set,omitempty"`
	Secret *Secret `json:"secret,omitempty"`
	Remove bool    `json:"remove,omitempty"`
	CopyOf string  `json:"copy_of,omitempty"`
}

// Secret is a value that only gateways get.
type Secret struct {
	// Value is empty where the one that is stored is to be kept.
	Value string `json:"value"`
	// SetAt and Setter, the id of a user, say when it was given and by whom.
	SetAt  time.Time `json:"set_at,omitzero"`
	Setter string    `json:"setter,omitempty"`
}

// reader is who gets a version's backend options.
type reader bool

// The readers. Gateways get the values of secrets, and nobody else does; when these were
// given and by whom is of no use to them, and no change of the route.
const (
	forGateways reader = true
	ForUsers    reader = false
)

// BackendOptions returns the options as the API and routes have them; nil if none is
// set.
func (v Version) BackendOptions(r reader) *catalogv1.BackendOptions {
	if v.BackendHost == "" && v.BackendOrigin == "" && len(v.Backend.Headers) == 0 && v.Backend.Identity == "" {
		return nil
	}
	o := &catalogv1.BackendOptions{
		Host:      catalogv1.BackendOptions_Host(catalogv1.BackendOptions_Host_value[HostPrefix+v.BackendHost]),
		FixedHost: v.FixedHost,
		Origin:    catalogv1.BackendOptions_Origin(catalogv1.BackendOptions_Origin_value[OriginPrefix+v.BackendOrigin]),
		Identity:  catalogv1.BackendOptions_Identity(catalogv1.BackendOptions_Identity_value[IdentityPrefix+v.Backend.Identity]),
	}
	for _, h := range v.Backend.Headers {
		o.Headers = append(o.Headers, h.message(r))
	}
	return o
}

func (h HeaderRule) message(r reader) *catalogv1.HeaderRule {
	m := &catalogv1.HeaderRule{Name: h.Name}
	switch {
	case h.Secret != nil:
		m.Action = &catalogv1.HeaderRule_Secret{Secret: h.Secret.message(r)}
	case h.Remove:
		m.Action = &catalogv1.HeaderRule_Remove{Remove: true}
	case h.CopyOf != "":
		m.Action = &catalogv1.HeaderRule_CopyOf{CopyOf: h.CopyOf}
	default:
		m.Action = &catalogv1.HeaderRule_Set{Set: h.Set}
	}
	return m
}

func (s *Secret) message(r reader) *catalogv1.Secret {
	switch {
	case s == nil:
		return nil
	case r == forGateways:
		return &catalogv1.Secret{Value: s.Value}
	}
	return &catalogv1.Secret{SetTime: timestamppb.New(s.SetAt), Setter: resourcename.User{User: s.Setter}.String()}
}
