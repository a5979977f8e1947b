package ui

import (
	"net/netip"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// DenyFields are the entries of a deny rule for whichever API, of what is stored; nil for a new
// rule, where they are what the request's address says, so that a link can have a client in
// it.
func DenyFields(r *Request, rule *catalogv1.DenyRule) []Field {
	value := func(name, stored string) string {
		if rule == nil {
			return strings.TrimSpace(r.URL.Query().Get(name))
		}
		return stored
	}
	expires := ""
	if t := rule.GetExpireTime(); t != nil {
		expires = t.AsTime().UTC().Format("2006-01-02T15:04")
	}
	return []Field{
		{Name: "client_address", Label: "Client's address or network", Max: 49, Code: true, Value: value("client_address", rule.GetClientAddress()), Placeholder: "203.0.113.0/24", Hint: "Of IPv4 or IPv6; empty for all.", Paths: []string{"deny_rule.client_address"}},
		{Name: "application", Label: "Application", Max: 100, Code: true, Value: value("application", rule.GetApplication()), Placeholder: "applications/…", Hint: "Whatever credential of it a client shows; empty for all.", Paths: []string{"deny_rule.application"}},
		{Name: "subscription", Label: "Subscription", Max: 100, Code: true, Value: value("subscription", rule.GetSubscription()), Placeholder: "subscriptions/…", Hint: "Empty for all.", Paths: []string{"deny_rule.subscription"}},
		{Name: "reason", Label: "Reason", Kind: "textarea", Max: 500, Value: rule.GetReason(), Hint: "For those who see the rule; clients are never told.", Paths: []string{"deny_rule.reason"}},
		{Name: "expire_time", Label: "Until (UTC)", Kind: "datetime-local", Value: expires, Hint: "Empty until it is deleted.", Paths: []string{"deny_rule.expire_time"}},
		{Name: "etag", Kind: "hidden", Value: rule.GetEtag()},
		{Name: agreed, Kind: "hidden"},
	}
}

// agreed is the name of the entry that has the conditions of a rule whose effect was said.
const agreed = "agreed"

// AgreedTo reports whether to go on with a rule. One that ends live sessions, or may, is gone
// on with when the form has said how many and was sent again with the same conditions.
func (s *Services) AgreedTo(r *Request, form *Form, rule *catalogv1.DenyRule) (bool, error) {
	conditions := strings.Join(append([]string{rule.GetApi(), rule.GetApplication(), rule.GetSubscription(), rule.GetClientAddress()}, rule.GetVersions()...), " ")
	if form.Get(agreed) == conditions {
		return true, nil
	}
	n, err := s.deniedSessions(r, rule)
	switch {
	case fault.Is(err, codes.InvalidArgument):
		return true, nil // the rule is refused, with what is wrong with it
	case err != nil:
		return false, err
	case n == 0:
		return true, nil
	case n == 1:
		form.Warning = "1 live session ends with this. Send the form again to go on."
	case n > 1:
		form.Warning = Plural(n, "live session") + " end with this. Send the form again to go on."
	default:
		form.Warning = "How many live sessions end with this is not known now. Send the form again to go on."
	}
	form.Set(agreed, conditions)
	return false, nil
}

// AgreedToChange is AgreedTo for a rule that is there, of which changed are the fields that
// change. Another reason or expiry ends no session.
func (s *Services) AgreedToChange(r *Request, form *Form, rule *catalogv1.DenyRule, changed []string) (bool, error) {
	for _, path := range changed {
		if path != "reason" && path != "expire_time" {
			return s.AgreedTo(r, form, rule)
		}
	}
	return true, nil
}

// deniedSessions is how many live sessions a rule matches now, or -1 where a gateway does not
// answer.
func (s *Services) deniedSessions(r *Request, rule *catalogv1.DenyRule) (int64, error) {
	var terms []string
	for _, t := range [][2]string{
		{"api", rule.GetApi()}, {"application", rule.GetApplication()}, {"subscription", rule.GetSubscription()}, {"client_address", rule.GetClientAddress()},
	} {
		if t[1] != "" {
			terms = append(terms, Term(t[0], t[1]))
		}
	}
	filter := strings.Join(terms, " AND ")
	if len(rule.GetVersions()) == 0 {
		return s.AllLiveSessions(r, filter)
	}
	counted, err := s.countSessions(r, &gatewayv1.CountSessionsRequest{GroupBy: "version", Names: rule.GetVersions(), Filter: filter})
	if err != nil || len(counted.GetUnreachable()) > 0 {
		return -1, err
	}
	var n int64
	for _, of := range counted.GetCounts() {
		n += of.GetSessions()
	}
	return n, nil
}

// DeniedBy returns the rule that ended a session or refused a handshake, as far as it is
// there and the viewer sees it; nil for none.
func (s *Services) DeniedBy(r *Request, of *usagev1.SessionRecord) (*catalogv1.DenyRule, error) {
	name, ok := strings.CutPrefix(of.GetDetail(), "denied by ")
	if !ok || of.GetCode() != "DENIED" && of.GetEndReason() != usagev1.EndReason_END_REASON_BLOCKED {
		return nil, nil
	}
	rule, err := s.DenyRules.GetDenyRule(r.Context(), &catalogv1.GetDenyRuleRequest{Name: name})
	if fault.Is(err, codes.NotFound) || Away(err) {
		return nil, nil
	}
	return rule, err
}

// EnteredDenyRule is the rule that a form with DenyFields has. What is wrong with an entry is
// said there.
func EnteredDenyRule(form *Form) *catalogv1.DenyRule {
	return &catalogv1.DenyRule{
		ClientAddress: form.Get("client_address"), Application: form.Get("application"), Subscription: form.Get("subscription"),
		Reason: form.Get("reason"), ExpireTime: form.Time("expire_time"), Etag: form.Get("etag"),
	}
}

// NewDenyRule returns the address of a form for a new rule, at path, with what of a session
// or a refused handshake it denies. The port of an address is left out.
func NewDenyRule(path, clientAddress, api string) string {
	if at, err := netip.ParseAddrPort(clientAddress); err == nil {
		clientAddress = at.Addr().Unmap().WithZone("").String()
	}
	query := url.Values{}
	for name, value := range map[string]string{"client_address": clientAddress, "api": api} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return path + "?" + query.Encode()
}

// DenyRow is a deny rule in a list.
type DenyRow struct {
	*catalogv1.DenyRule
	Path string
	// Versions are how many of the API's versions it is for, in words; empty for all.
	Versions string
}

// NewDenyRow returns a rule as lists show it.
func NewDenyRow(rule *catalogv1.DenyRule, path string) DenyRow {
	row := DenyRow{DenyRule: rule, Path: path}
	if n := len(rule.GetVersions()); n > 0 {
		row.Versions = Plural(n, "version")
	}
	return row
}

// What is all that a rule asks for besides the API, in lines.
func (d DenyRow) What() []string {
	var all []string
	for _, text := range []string{d.GetClientAddress(), d.GetApplication(), d.GetSubscription()} {
		if text != "" {
			all = append(all, text)
		}
	}
	return all
}

// DeleteDenyRule asks before a rule at path is deleted.
func DeleteDenyRule(rule *catalogv1.DenyRule, path string) Confirm {
	row := NewDenyRow(rule, path)
	what := row.What()
	if rule.GetApi() != "" {
		what = append(what, "the API "+rule.GetApiDisplayName())
	}
	return Confirm{
		Text: []string{"It denies " + strings.Join(what, " at ") + ". Who was kept out may come in again within a second."}, Button: "Delete", Keep: "Keep it",
		To: path + "/delete", Back: path, Fields: []*Field{{Name: "etag", Kind: "hidden", Value: rule.GetEtag()}},
	}
}
