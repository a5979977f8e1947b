package publisher

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientending"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/headerrule"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// settingsView is a page with one form about a version or an API.
type settingsView struct {
	Form *ui.Form
	// Heading is that of the form, To its address.
	Heading, To string
	// MayChange says whether the viewer may send it.
	MayChange bool
}

// versionForm is a tab of a version with one form.
type versionForm struct {
	// tab is its text, path the end of its address, heading what stands above the form.
	tab, path, heading string
	// fields are the entries with what is stored. The first path of each is what it
	// changes, below "version.".
	fields func(*catalogv1.Version) []ui.Field
	// set puts the entries into next; was is what is stored. What is wrong with one it says
	// at the entry.
	set func(form *ui.Form, was, next *catalogv1.Version)
}

// page shows and changes what the form is about. Only what differs from what is stored is
// sent, as some of it needs more rights than the rest.
func (f versionForm) page(p *pages) ui.Route {
	t := ui.Parse[settingsView](files, "templates/settings.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/"+f.path, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		fields := append(f.fields(v.Version), ui.Field{Name: "etag", Kind: "hidden", Value: v.Version.GetEtag()})
		form := ui.NewForm(r, fields...)
		if r.Submitted() {
			next := &catalogv1.Version{Name: v.Version.GetName(), Etag: form.Get("etag")}
			f.set(form, v.Version, next)
			if form.Good() {
				err = p.save(r, next, form.Changed(fields, "version."))
				if err == nil {
					return ui.Done(v.Base+"/"+f.path, "%s is saved. It holds for new sessions; live ones go on as they began.", v.name()), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
			if form.Conflict {
				form.Compare(v.Version.GetEtag(), ui.Stored(fields))
			}
		}
		h := v.head(f.tab)
		h.Status = form.Status()
		return t.Page(h, settingsView{Form: form, Heading: f.heading, To: v.Base + "/" + f.path, MayChange: v.mayChange(r)}), nil
	})
}

// save changes what differs of a version, if something does.
func (p *pages) save(r *ui.Request, v *catalogv1.Version, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	_, err := p.Catalog.UpdateVersion(r.Context(), &catalogv1.UpdateVersionRequest{Version: v, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	return err
}

// mayChange reports whether the version is the viewer's to change.
func (v *version) mayChange(r *ui.Request) bool {
	return r.Viewer.May(ui.Admin) || v.API.GetOwner() == r.Viewer.Name
}

// settings are what is particular to a version, and how gateways hold its sessions.
func settings() versionForm {
	return versionForm{tab: "Settings", path: "settings", heading: "Settings", fields: settingsFields, set: func(form *ui.Form, was, v *catalogv1.Version) {
		v.Description, v.Tags = form.Get("description"), form.Lines("tags")
		v.MaxMessageBytes, v.MaxSessionAge, v.IdleTimeout = form.Bytes("max_message"), form.Span("max_age"), form.Span("idle")
		v.Pings = catalogv1.Version_Pings(form.Enum("pings", "PINGS_", catalogv1.Version_Pings_value))
		v.BackendOptions = &catalogv1.BackendOptions{
			Host:     catalogv1.BackendOptions_Host(form.Enum("host", "HOST_", catalogv1.BackendOptions_Host_value)),
			Origin:   catalogv1.BackendOptions_Origin(form.Enum("origin", "ORIGIN_", catalogv1.BackendOptions_Origin_value)),
			Identity: catalogv1.BackendOptions_Identity(form.Enum("identity", "IDENTITY_", catalogv1.BackendOptions_Identity_value)),
		}
		if v.BackendOptions.Host != catalogv1.BackendOptions_HOST_FIXED {
			form.Leave("fixed_host", was.GetBackendOptions().GetFixedHost())
		}
		v.BackendOptions.FixedHost, v.BackendOptions.Headers = form.Get("fixed_host"), headerRules(form)
		v.ClientEndings, v.Deflate = clientEndings(form), form.Get("deflate") == "on"
		v.ErrorFrames = &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_Template(form.Enum("error_frames", "TEMPLATE_", catalogv1.ErrorFrames_Template_value))}
		if v.ErrorFrames.Template != catalogv1.ErrorFrames_TEMPLATE_TEXT {
			form.Leave("error_text", was.GetErrorFrames().GetText())
		}
		v.ErrorFrames.Text = form.Get("error_text")
	}}
}

// settingsFields are the entries of a version's settings.
func settingsFields(v *catalogv1.Version) []ui.Field {
	size, age, idle := "", "", ""
	if v.GetMaxMessageBytes() > 0 {
		size = ui.Bytes(v.GetMaxMessageBytes())
	}
	if v.GetMaxSessionAge() != nil {
		age = ui.Span(v.GetMaxSessionAge().AsDuration())
	}
	if v.GetIdleTimeout() != nil {
		idle = ui.Span(v.GetIdleTimeout().AsDuration())
	}
	compressed := ""
	if v.GetDeflate() {
		compressed = "on"
	}
	return []ui.Field{
		{Name: "description", Label: "Description", Kind: "textarea", Max: 4096, Value: v.GetDescription(), Hint: "What is particular to this version.", Paths: []string{"version.description"}},
		{Name: "tags", Label: "Tags", Kind: "textarea", Value: strings.Join(v.GetTags(), "\n"), Hint: "Words to find the version by: one on a line, at most 20.", Paths: []string{"version.tags"}},
		{Name: "max_message", Label: "Greatest message", Max: 20, Value: size, Placeholder: "64 KiB", Hint: "Empty for that of the gateway. The smallest that a plan, the version or the gateway says holds.", Paths: []string{"version.max_message_bytes"}},
		{Name: "max_age", Label: "Greatest age of a session", Max: 20, Value: age, Placeholder: "12 h", Hint: "1 s to 30 d, then the gateway closes it with 1012. Empty for none.", Paths: []string{"version.max_session_age"}},
		{Name: "idle", Label: "Longest time without a message", Max: 20, Value: idle, Placeholder: "10 min", Hint: "1 s to 30 d, then the gateway closes the session with 1001. Empty for as long as the gateway allows.", Paths: []string{"version.idle_timeout"}},
		{Name: "pings", Label: "Pings of the gateway", Kind: "select", Value: ui.EnumEntry(v.GetPings(), "PINGS_", "BOTH"), Options: []ui.Option{
			{Value: "", Text: "To clients and backends"}, {Value: "CLIENTS", Text: "To clients"}, {Value: "BACKENDS", Text: "To backends"}, {Value: "OFF", Text: "To nobody"},
		}, Hint: "Who is sent none is not idle for sending nothing.", Paths: []string{"version.pings"}},
		{Name: "deflate", Label: "Compressed messages", Kind: "check", Value: compressed, Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}},
			Hint: "Clients and backends may agree on permessage-deflate. Limits count bytes as they are sent.", Paths: []string{"version.deflate"}},
		{Name: "host", Label: "Host that backends get", Kind: "select", Value: ui.EnumEntry(v.GetBackendOptions().GetHost(), "HOST_", "ENDPOINT"), Options: []ui.Option{
			{Value: "", Text: "That of the endpoint"}, {Value: "CLIENT", Text: "The one that the client asked for"}, {Value: "FIXED", Text: "A fixed one"},
		}, Paths: []string{"version.backend_options.host"}},
		{Name: "fixed_host", Label: "Fixed host", Code: true, Max: 255, Value: v.GetBackendOptions().GetFixedHost(), Placeholder: "app.example.com:8443", Hint: "Only for a fixed one.", Paths: []string{"version.backend_options.fixed_host", "version.backend_options"}},
		{Name: "origin", Label: "Origin that backends get", Kind: "select", Value: ui.EnumEntry(v.GetBackendOptions().GetOrigin(), "ORIGIN_", "CLIENT"), Options: []ui.Option{
			{Value: "", Text: "What the client sent"}, {Value: "NONE", Text: "None"}, {Value: "ENDPOINT", Text: "The backend's own"},
		}, Paths: []string{"version.backend_options.origin"}},
		{Name: "identity", Label: "Backends are told who the client is", Kind: "select", Value: ui.EnumEntry(v.GetBackendOptions().GetIdentity(), "IDENTITY_", "NONE"), Options: []ui.Option{
			{Value: "", Text: "Not at all"}, {Value: "HEADERS", Text: "In the headers X-Tidegate-*"}, {Value: "JWT", Text: "In a signed JWT, X-Tidegate-Identity"},
		}, Hint: "Application, OAuth client or API key, subscription, stage, scopes and the ref of the session.", Paths: []string{"version.backend_options.identity"}},
		{Name: "headers", Label: "Headers that backends get", Kind: "textarea", Code: true, Value: headerRuleLines(v.GetBackendOptions().GetHeaders()), Placeholder: "set:X-Tenant=acme\nremove:Cookie",
			Hint: "One on a line: " + headerrule.Forms + ". " + secretWords(v.GetBackendOptions().GetHeaders()) + "Headers without a line pass as the client sent them.", Paths: []string{"version.backend_options.headers"}},
		{Name: "endings", Label: "What clients get when sessions end", Kind: "textarea", Code: true, Value: endingLines(v.GetClientEndings()), Placeholder: "drain=4500",
			Hint: "One on a line: " + clientending.Forms + ". The TEXT is a message before the close; {word}, {code}, {ref} and {retry_ms} in it are filled in. Records keep the true cause.", Paths: []string{"version.client_endings"}},
		{Name: "error_frames", Label: "When a message is dropped, clients are told", Kind: "select", Value: ui.EnumEntry(v.GetErrorFrames().GetTemplate(), "TEMPLATE_", ""), Options: []ui.Option{
			{Value: "", Text: "In JSON, where no sub-protocol was agreed"}, {Value: "JSON", Text: "In JSON, at most once a second"}, {Value: "WSO2", Text: "As WSO2 API Manager does"},
			{Value: "TEXT", Text: "A text of one's own"}, {Value: "NONE", Text: "Nothing"},
		}, Paths: []string{"version.error_frames.template"}},
		{Name: "error_text", Label: "Text of one's own", Max: 1000, Value: v.GetErrorFrames().GetText(), Hint: "Only for a text of one's own.", Paths: []string{"version.error_frames.text", "version.error_frames"}},
	}
}

// security is who may come in to a version.
func security() versionForm {
	return versionForm{tab: "Security", path: "security", heading: "Who may connect", fields: securityFields, set: func(form *ui.Form, _, v *catalogv1.Version) {
		v.AllowedOrigins, v.Subscriptionless = form.Lines("origins"), form.Get("subscriptionless") == "on"
		v.PassCredential = form.Get("pass_credential") == "on"
		v.Security = nil
		for kind := range strings.SplitSeq(form.Get("security"), ",") {
			v.Security = append(v.Security, scheme(form, kind))
		}
	}}
}

// scheme is the security scheme of a kind, with the places that the form names.
func scheme(form *ui.Form, kind string) *catalogv1.SecurityScheme {
	switch kind {
	case "none":
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
	case "api_key":
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: places(form, "key_places")}}}
	default:
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places(form, "places")}}}
	}
}

// schemes are what the entries of security have of alternatives: what they are, and the places
// of tokens and of API keys.
func schemes(list []*catalogv1.SecurityScheme) (kinds, where, keys []string) {
	for _, s := range list {
		switch {
		case s.GetNone() != nil:
			kinds = append(kinds, "none")
		case s.GetApiKey() != nil:
			kinds = append(kinds, "api_key")
		default:
			kinds = append(kinds, "oauth2")
		}
		for _, place := range s.GetOauth2().GetPlaces() {
			where = append(where, credentialplace.Text(place))
		}
		for _, place := range s.GetApiKey().GetPlaces() {
			keys = append(keys, credentialplace.Text(place))
		}
	}
	return kinds, where, keys
}

// securityFields are the entries of a version's security.
func securityFields(v *catalogv1.Version) []ui.Field {
	kinds, where, keys := schemes(v.GetSecurity())
	value := cmp.Or(strings.Join(kinds, ","), "oauth2")
	options := []ui.Option{
		{Value: "oauth2", Text: "With an access token", Hint: "OAuth 2.0, of an application"},
		{Value: "api_key", Text: "With an API key", Hint: "of an application, sent as it is"},
		{Value: "oauth2,api_key", Text: "With either", Hint: "a token is looked for first"},
		{Value: "none", Text: "Not at all", Hint: "everybody may connect"},
	}
	if !slices.ContainsFunc(options, func(o ui.Option) bool { return o.Value == value }) {
		options = append(options, ui.Option{Value: value, Text: "As it is now", Hint: "in another order"})
	}
	without, passed := "", ""
	if v.GetSubscriptionless() {
		without = "on"
	}
	if v.GetPassCredential() {
		passed = "on"
	}
	return []ui.Field{
		{Name: "security", Label: "Clients prove who they are", Kind: "radio", Value: value, Options: options, Paths: []string{"version.security"}},
		{Name: "places", Label: "Where the token may be", Kind: "textarea", Code: true, Value: strings.Join(where, "\n"), Placeholder: "header:Authorization\nquery:access_token",
			Hint: "One on a line, in the order of the search: " + credentialplace.Forms + ". Empty for the header Authorization, then the parameter access_token. " +
				"Backends get none of them. Browsers cannot send headers; a cookie needs allowed origins.", Paths: []string{"version.security", "version.security[0].oauth2.places"}},
		{Name: "key_places", Label: "Where the API key may be", Kind: "textarea", Code: true, Value: strings.Join(keys, "\n"), Placeholder: "header:apikey\nquery:apikey",
			Hint: "As above, for API keys. Empty for the header apikey, then the parameter apikey.", Paths: []string{"version.security", "version.security[0].api_key.places", "version.security[1].api_key.places"}},
		{Name: "subscriptionless", Label: "Applications need no subscription", Kind: "check", Value: without, Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}},
			Hint: "Any valid token of an application enters, under a plan that is for this.", Paths: []string{"version.subscriptionless"}},
		{Name: "pass_credential", Label: "Backends get the credential", Kind: "check", Value: passed, Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}},
			Hint: "The access token or the API key, as Authorization: Bearer. Backends can use it at whatever it is good for; developers are told.", Paths: []string{"version.pass_credential"}},
		{Name: "origins", Label: "Allowed origins", Kind: "textarea", Code: true, Value: strings.Join(v.GetAllowedOrigins(), "\n"), Placeholder: "https://*.example.com",
			Hint: "One on a line; empty for any. A client that sends no Origin is let in.", Paths: []string{"version.allowed_origins"}},
	}
}

// places are those that an entry of the form names. What is none is said at the entry.
func places(form *ui.Form, entry string) []*catalogv1.CredentialPlace {
	var all []*catalogv1.CredentialPlace
	for _, line := range form.Lines(entry) {
		place, err := credentialplace.Parse(line)
		if err != nil {
			form.Wrong(entry, line+": "+err.Error())
			continue
		}
		all = append(all, place)
	}
	return all
}

// headerRules are those that the form names. What is none is said at the entry.
func headerRules(form *ui.Form) []*catalogv1.HeaderRule {
	var all []*catalogv1.HeaderRule
	for i, line := range form.Lines("headers") {
		rule, err := headerrule.Parse(line)
		if err != nil {
			form.Wrong("headers", fmt.Sprintf("Line %d: %v", i+1, err))
			continue
		}
		all = append(all, rule)
	}
	return all
}

// headerRuleLines are rules of headers as the form has them.
func headerRuleLines(rules []*catalogv1.HeaderRule) string {
	var lines []string
	for _, rule := range rules {
		lines = append(lines, headerrule.Text(rule))
	}
	return strings.Join(lines, "\n")
}

// secretWords say since when secrets of headers are set.
func secretWords(rules []*catalogv1.HeaderRule) string {
	var words strings.Builder
	for _, rule := range rules {
		if secret := rule.GetSecret(); secret != nil {
			fmt.Fprintf(&words, "%s is set since %s. ", rule.GetName(), secret.GetSetTime().AsTime().Format("2006-01-02 15:04 UTC"))
		}
	}
	return words.String()
}

// clientEndings are those that the form names. What is none is said at the entry.
func clientEndings(form *ui.Form) (all []*catalogv1.ClientEnding) {
	for i, line := range form.Lines("endings") {
		e, err := clientending.Parse(line)
		if err != nil {
			form.Wrong("endings", fmt.Sprintf("Line %d: %v", i+1, err))
			continue
		}
		all = append(all, e)
	}
	return all
}

// endingLines are what clients get at ends of sessions as the form has it.
func endingLines(all []*catalogv1.ClientEnding) string {
	var lines []string
	for _, e := range all {
		lines = append(lines, clientending.Text(e))
	}
	return strings.Join(lines, "\n")
}
