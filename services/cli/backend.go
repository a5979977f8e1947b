package cli

import (
	"context"
	"fmt"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/headerrule"
)

// backendFlags say how gateways speak to a version's backends and clients.
type backendFlags struct {
	BackendHost     string   `placeholder:"HOST" help:"What backends get as Host: endpoint (the default), client (the one that the client asked for, if it is advertised), or a host."`
	BackendOrigin   string   `enum:"client,none,endpoint," default:"" placeholder:"ORIGIN" help:"What backends get as Origin: client (what the client sent, the default), none, or endpoint (the backend's own)."`
	BackendHeader   []string `sep:"none" placeholder:"RULE" help:"What backends get in a header: set:NAME=VALUE, secret:NAME=@FILE (nobody is shown it), secret:NAME (the stored value stays), remove:NAME or copy:NAME=FROM; can be repeated; empty for none. Replaces all."`
	BackendIdentity string   `enum:"none,headers,jwt," default:"" placeholder:"HOW" help:"How backends are told who the client is: none (the default), headers (X-Tidegate-Application, X-Tidegate-Subscription and others), or jwt (X-Tidegate-Identity, signed)."`
	PassCredential  *bool    `negatable:"" help:"Whether backends get the access token or the API key of clients, as Authorization: Bearer."`
	Deflate         *bool    `negatable:"" help:"Whether clients and backends may agree on compressed messages (permessage-deflate)."`
	Pings           string   `enum:"both,clients,backends,off," default:"" placeholder:"WHOM" help:"Whom gateways send pings: both (the default), clients, backends or off."`
}

// set puts what is given into a version, and returns the fields that it is for.
func (f *backendFlags) set(ctx context.Context, s *shell, v *catalogv1.Version) (paths []string, err error) {
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
	if len(f.BackendHeader) > 0 {
		if options.Headers, err = s.headerRules(ctx, some(f.BackendHeader)); err != nil {
			return nil, err
		}
		paths = append(paths, "backend_options.headers")
	}
	if f.BackendIdentity != "" {
		options.Identity = catalogv1.BackendOptions_Identity(catalogv1.BackendOptions_Identity_value["IDENTITY_"+strings.ToUpper(f.BackendIdentity)])
		paths = append(paths, "backend_options.identity")
	}
	if len(paths) > 0 {
		v.BackendOptions = options
	}
	if f.PassCredential != nil {
		v.PassCredential = *f.PassCredential
		paths = append(paths, "pass_credential")
	}
	if f.Deflate != nil {
		v.Deflate = *f.Deflate
		paths = append(paths, "deflate")
	}
	if f.Pings != "" {
		v.Pings = catalogv1.Version_Pings(catalogv1.Version_Pings_value["PINGS_"+strings.ToUpper(f.Pings)])
		paths = append(paths, "pings")
	}
	return paths, nil
}

// headerRules reads rules of headers, and the files with their secrets.
func (s *shell) headerRules(ctx context.Context, texts []string) ([]*catalogv1.HeaderRule, error) {
	var rules []*catalogv1.HeaderRule
	for _, text := range texts {
		rule, err := headerrule.Parse(text)
		if err != nil {
			return nil, usagef("--backend-header: %v, with the VALUE of a secret as @FILE or - for standard input", err)
		}
		if secret := rule.GetSecret(); secret != nil {
			if secret.Value, err = s.given(ctx, "--backend-header: "+rule.GetName(), secret.GetValue(), ""); err != nil {
				return nil, err
			}
		} else if hasSecret(rule.GetName()) && rule.GetSet() != "" {
			return nil, usagef("--backend-header: %s says who somebody is: give it as secret:%s=@FILE", rule.GetName(), rule.GetName())
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// headerRuleWords are rules of headers in words; of secrets, since when they are set.
func headerRuleWords(rules []*catalogv1.HeaderRule) string {
	var words []string
	for _, rule := range rules {
		text := headerrule.Text(rule)
		if secret := rule.GetSecret(); secret != nil {
			text += " (set " + when(secret.GetSetTime()) + ")"
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
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
