package admin

import (
	"net/url"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// denyPath is the address of the list of deny rules, and newDenyPath that of the form for
// another.
const (
	denyPath    = "/admin/denyrules"
	newDenyPath = denyPath + "/new"
)

// denyRulePath is the address of a rule, denyRules/{deny_rule}.
func denyRulePath(name string) string { return denyPath + "/" + url.PathEscape(ui.ID(name)) }

// denyRulesView is the list of deny rules.
type denyRulesView struct {
	Filters *ui.Filters
	Rows    []ui.DenyRow
	More    string
	Empty   ui.Empty
}

// denyRules lists the deny rules of the installation.
func (p *pages) denyRules() ui.Route {
	t := ui.Parse[denyRulesView](files, "templates/denyrules.html")
	return ui.Page(denyPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := denyRulesView{Filters: ui.NewFilters(r,
			ui.Field{Name: "client_address", Label: "Covers the address", Code: true, Placeholder: "203.0.113.7"},
			ui.Field{Name: "api", Label: "API", Code: true, Placeholder: "apis/…"},
			ui.Field{Name: "application", Label: "Application", Code: true, Placeholder: "applications/…"},
		)}
		v.Empty = ui.Empty{Title: "No deny rule", Text: "Nobody is kept out.", Action: &ui.Link{Text: "Add deny rule", To: newDenyPath}}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No deny rule found", Text: "No rule has all of this.", Action: &ui.Link{Text: "Show all rules", To: denyPath}}
		}
		list, err := p.DenyRules.ListDenyRules(r.Context(), &catalogv1.ListDenyRulesRequest{
			Filter: v.Filters.Terms("client_address", "api", "application"), OrderBy: "create_time desc", PageToken: r.FormValue("page"),
		})
		if err != nil {
			if err := v.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		for _, rule := range list.GetDenyRules() {
			v.Rows = append(v.Rows, ui.NewDenyRow(rule, denyRulePath(rule.GetName())))
		}
		v.More = r.Next(list.GetNextPageToken())
		h := head("Deny rules", "Deny rules", "Who is kept out, newest first: handshakes are refused and live sessions end, within a second.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// denyRuleFields are the entries of a rule: what publishers enter too, after the API.
func denyRuleFields(r *ui.Request, rule *catalogv1.DenyRule) []ui.Field {
	api := rule.GetApi()
	if rule == nil {
		api = strings.TrimSpace(r.URL.Query().Get("api"))
	}
	return append([]ui.Field{
		{Name: "api", Label: "API", Max: 100, Value: api, Placeholder: "EchoWebSocket", Hint: "Its name, or apis/…; empty for all.", Paths: []string{"deny_rule.api"}},
		{Name: "versions", Label: "Versions", Kind: "textarea", Code: true, Value: strings.Join(rule.GetVersions(), "\n"), Placeholder: "apis/…/versions/…", Hint: "One on a line; empty for all of the API.", Paths: []string{"deny_rule.versions"}},
	}, ui.DenyFields(r, rule)...)
}

// enteredDenyRule is the rule that a form has. What is wrong with an entry is said there.
func (p *pages) enteredDenyRule(r *ui.Request, form *ui.Form) (*catalogv1.DenyRule, error) {
	rule := ui.EnteredDenyRule(form)
	rule.Api, rule.Versions = form.Get("api"), form.Lines("versions")
	if rule.Api == "" || strings.HasPrefix(rule.Api, "apis/") {
		return rule, nil
	}
	list, err := p.Catalog.ListApis(r.Context(), &catalogv1.ListApisRequest{Filter: ui.Term("display_name", rule.GetApi()), PageSize: 1})
	switch {
	case err != nil:
		return nil, form.Explain(err)
	case len(list.GetApis()) == 0:
		form.Wrong("api", "there is no API of this name")
	default:
		rule.Api = list.GetApis()[0].GetName()
	}
	return rule, nil
}

// newDenyRule adds a rule.
func (p *pages) newDenyRule() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(newDenyPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.NewForm(r, append(denyRuleFields(r, nil), ui.RequestID())...)
		if r.Submitted() {
			rule, err := p.enteredDenyRule(r, form)
			if err != nil {
				return nil, err
			}
			agreed := false
			if form.Good() {
				if agreed, err = p.AgreedTo(r, form, rule); err != nil {
					return nil, err
				}
			}
			if agreed {
				rule, err := p.DenyRules.CreateDenyRule(r.Context(), &catalogv1.CreateDenyRuleRequest{DenyRule: rule, RequestId: form.Get("request_id")})
				if err == nil {
					return ui.Done(denyRulePath(rule.GetName()), "The rule is added: gateways hold it within a second."), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
		}
		return t.Page(ui.Head{Title: "Add deny rule", Here: "Add", Status: form.Status(), Crumbs: denyCrumbs()}, formView{
			Form: form, Text: []string{"Whoever matches all that is entered is refused with 403, and live sessions are closed with 4006 within a second."},
			Button: "Deny", To: newDenyPath, Back: denyPath,
		}), nil
	})
}

// denyCrumbs lead to the list of rules.
func denyCrumbs(more ...ui.Link) []ui.Link {
	return append([]ui.Link{{Text: "Deny rules", To: denyPath}}, more...)
}

// denyRuleView is one rule.
type denyRuleView struct {
	formView
	Rule ui.DenyRow
	Path string
}

// getDenyRule reads the rule that a request's path names.
func (p *pages) getDenyRule(r *ui.Request) (*catalogv1.DenyRule, error) {
	rule, err := p.DenyRules.GetDenyRule(r.Context(), &catalogv1.GetDenyRuleRequest{Name: "denyRules/" + r.PathValue("rule")})
	return rule, ui.Absent(err)
}

// denyRule shows and changes a rule.
func (p *pages) denyRule() ui.Route {
	t := ui.Parse[denyRuleView](files, "templates/denyrule.html")
	return ui.FormPage(denyPath+"/{rule}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		rule, err := p.getDenyRule(r)
		if err != nil {
			return nil, err
		}
		fields, path := denyRuleFields(r, rule), denyRulePath(rule.GetName())
		form := ui.NewForm(r, fields...)
		if r.Submitted() {
			next, err := p.enteredDenyRule(r, form)
			if err != nil {
				return nil, err
			}
			changed, agreed := form.Changed(fields, "deny_rule."), false
			if form.Good() {
				if agreed, err = p.AgreedToChange(r, form, next, changed); err != nil {
					return nil, err
				}
			}
			if agreed {
				next.Name = rule.GetName()
				_, err := p.DenyRules.UpdateDenyRule(r.Context(), &catalogv1.UpdateDenyRuleRequest{
					DenyRule: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: append([]string{"etag"}, changed...)},
				})
				if err == nil {
					return ui.Done(path, "The rule is changed: gateways hold it so within a second."), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
			if form.Conflict {
				form.Compare(rule.GetEtag(), ui.Stored(fields))
			}
		}
		return t.Page(ui.Head{Title: "Deny rule", Here: ui.ID(rule.GetName()), Status: form.Status(), Crumbs: denyCrumbs()}, denyRuleView{
			formView: formView{Form: form, Button: "Save", To: path, Back: denyPath}, Rule: ui.NewDenyRow(rule, path), Path: path,
		}), nil
	})
}

// deleteDenyRule deletes a rule, after a page that says whom it lets in.
func (p *pages) deleteDenyRule() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage(denyPath+"/{rule}/delete", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		rule, err := p.getDenyRule(r)
		if err != nil {
			return nil, err
		}
		path := denyRulePath(rule.GetName())
		if r.Submitted() {
			if _, err := p.DenyRules.DeleteDenyRule(r.Context(), &catalogv1.DeleteDenyRuleRequest{Name: rule.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(denyPath, "The rule is deleted."), nil
		}
		return t.Page(ui.Head{Title: "Delete this deny rule?", Here: "Delete", Crumbs: denyCrumbs(ui.Link{Text: ui.ID(rule.GetName()), To: path})},
			confirmView{Confirm: ui.DeleteDenyRule(rule, path)}), nil
	})
}
