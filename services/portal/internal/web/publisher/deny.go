package publisher

import (
	"net/url"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// denyPath is the address of the list of an API's deny rules, denyRulePath that of one.
func denyPath(api *catalogv1.Api) string { return apiPath(api.GetName()) + "/denyrules" }
func denyRulePath(api *catalogv1.Api, rule *catalogv1.DenyRule) string {
	return denyPath(api) + "/" + url.PathEscape(ui.ID(rule.GetName()))
}

// mayDeny reports whether the viewer may keep clients from an API.
func mayDeny(r *ui.Request, api *catalogv1.Api) bool {
	return r.Viewer.May(ui.Publisher) && owns(r, api)
}

// denyRulesView is the list of an API's deny rules.
type denyRulesView struct {
	Rows    []ui.DenyRow
	More    string
	Empty   ui.Empty
	New     string
	MayDeny bool
}

// denyRules lists the deny rules of an API.
func (p *pages) denyRules() ui.Route {
	t := ui.Parse[denyRulesView](files, "templates/denyrules.html")
	return ui.Page("/publisher/apis/{api}/denyrules", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		v := denyRulesView{New: denyPath(api) + "/new", MayDeny: mayDeny(r, api)}
		v.Empty = ui.Empty{Title: "No deny rule", Text: "Nobody is kept from this API but by its security and subscriptions."}
		if v.MayDeny {
			v.Empty.Action = &ui.Link{Text: "Add deny rule", To: v.New}
		}
		list, err := p.DenyRules.ListDenyRules(r.Context(), &catalogv1.ListDenyRulesRequest{
			Filter: ui.Term("api", api.GetName()), OrderBy: "create_time desc", PageToken: r.FormValue("page"),
		})
		if err != nil {
			return nil, err
		}
		for _, rule := range list.GetDenyRules() {
			v.Rows = append(v.Rows, ui.NewDenyRow(rule, denyRulePath(api, rule)))
		}
		v.More = r.Next(list.GetNextPageToken())
		return t.Page(apiHead(api, "Deny rules"), v), nil
	})
}

// denyRuleView is the form of a rule.
type denyRuleView struct {
	Form *ui.Form
	// Rule is what is stored, without a name for a new one.
	Rule ui.DenyRow
	// MayChange says whether the viewer may send the form.
	MayChange bool
	// Button says what sending it does; To and Back are the addresses of the form and of
	// the list.
	Button, To, Back string
}

// denyRuleFields are the entries of a rule of an API.
func (p *pages) denyRuleFields(r *ui.Request, api *catalogv1.Api, rule *catalogv1.DenyRule) ([]ui.Field, error) {
	versions, err := p.allVersions(r, api)
	if err != nil {
		return nil, err
	}
	options := []ui.Option{}
	for _, v := range versions {
		options = append(options, ui.Option{Value: v.GetName(), Text: v.GetVersion()})
	}
	return append([]ui.Field{
		{Name: "versions", Label: "Versions", Kind: "choices", Values: rule.GetVersions(), Options: options, Hint: "none chosen: all", Paths: []string{"deny_rule.versions"}},
	}, ui.DenyFields(r, rule)...), nil
}

// newDenyRule adds a rule.
func (p *pages) newDenyRule() ui.Route {
	t := ui.Parse[denyRuleView](files, "templates/denyrule.html")
	return ui.FormPage("/publisher/apis/{api}/denyrules/new", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		fields, err := p.denyRuleFields(r, api, nil)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, append(fields, ui.RequestID())...)
		if r.Submitted() {
			rule := ui.EnteredDenyRule(form)
			rule.Api, rule.Versions = api.GetName(), form.All("versions")
			agreed := false
			if form.Good() {
				if agreed, err = p.AgreedTo(r, form, rule); err != nil {
					return nil, err
				}
			}
			if agreed {
				_, err := p.DenyRules.CreateDenyRule(r.Context(), &catalogv1.CreateDenyRuleRequest{DenyRule: rule, RequestId: form.Get("request_id")})
				if err == nil {
					return ui.Done(denyPath(api), "The rule is added: gateways hold it within a second."), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
		}
		h := belowAPI(api, "Deny clients", "Deny")
		h.Crumbs, h.Status = append(h.Crumbs, ui.Link{Text: "Deny rules", To: denyPath(api)}), form.Status()
		return t.Page(h, denyRuleView{Form: form, MayChange: mayDeny(r, api), Button: "Deny", To: denyPath(api) + "/new", Back: denyPath(api)}), nil
	})
}

// getDenyRule reads the rule that a request's path names, which is one of the API.
func (p *pages) getDenyRule(r *ui.Request, api *catalogv1.Api) (*catalogv1.DenyRule, error) {
	rule, err := p.DenyRules.GetDenyRule(r.Context(), &catalogv1.GetDenyRuleRequest{Name: "denyRules/" + r.PathValue("rule")})
	switch {
	case err != nil:
		return nil, ui.Absent(err)
	case rule.GetApi() != api.GetName():
		return nil, fault.NotFound("the API has no such deny rule")
	}
	return rule, nil
}

// mayChangeRule reports whether the viewer may change or delete a rule: what an administrator
// made is for administrators.
func mayChangeRule(r *ui.Request, api *catalogv1.Api, rule *catalogv1.DenyRule) bool {
	return mayDeny(r, api) && (!rule.GetAdministrative() || r.Viewer.May(ui.Admin))
}

// denyRule shows and changes a rule.
func (p *pages) denyRule() ui.Route {
	t := ui.Parse[denyRuleView](files, "templates/denyrule.html")
	return ui.FormPage("/publisher/apis/{api}/denyrules/{rule}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		rule, err := p.getDenyRule(r, api)
		if err != nil {
			return nil, err
		}
		fields, err := p.denyRuleFields(r, api, rule)
		if err != nil {
			return nil, err
		}
		form, path := ui.NewForm(r, fields...), denyRulePath(api, rule)
		if r.Submitted() {
			next := ui.EnteredDenyRule(form)
			next.Name, next.Api, next.Versions = rule.GetName(), rule.GetApi(), form.All("versions")
			changed, agreed := form.Changed(fields, "deny_rule."), false
			if form.Good() {
				if agreed, err = p.AgreedToChange(r, form, next, changed); err != nil {
					return nil, err
				}
			}
			if agreed {
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
		h := belowAPI(api, "Deny rule", ui.ID(rule.GetName()))
		h.Crumbs, h.Status = append(h.Crumbs, ui.Link{Text: "Deny rules", To: denyPath(api)}), form.Status()
		return t.Page(h, denyRuleView{
			Form: form, Rule: ui.NewDenyRow(rule, path), MayChange: mayChangeRule(r, api, rule), Button: "Save", To: path, Back: denyPath(api),
		}), nil
	})
}

// deleteDenyRule deletes a rule, after a page that says whom it lets in.
func (p *pages) deleteDenyRule() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/denyrules/{rule}/delete", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		api, err := p.getAPI(r)
		if err != nil {
			return nil, err
		}
		rule, err := p.getDenyRule(r, api)
		if err != nil {
			return nil, err
		}
		path := denyRulePath(api, rule)
		if r.Submitted() {
			if _, err := p.DenyRules.DeleteDenyRule(r.Context(), &catalogv1.DeleteDenyRuleRequest{Name: rule.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(denyPath(api), "The rule is deleted."), nil
		}
		h := belowAPI(api, "Delete this deny rule?", "Delete")
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Deny rules", To: denyPath(api)}, ui.Link{Text: ui.ID(rule.GetName()), To: path})
		return t.Page(h, confirmView{Confirm: ui.DeleteDenyRule(rule, path)}), nil
	})
}
