package publisher

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// addressesView lists the further addresses of a version, and has the form that adds one.
type addressesView struct {
	*version
	Rows []addressRow
	Form *ui.Form
	// MayAdd says whether the viewer may add and remove addresses.
	MayAdd bool
	Empty  ui.Empty
}

// addressRow is one further address.
type addressRow struct {
	Host, Prefix string
	// Text names it: what it is advertised as, or else its parts.
	Text []string
	// Serves says what is served there, Gets what backends get of a path below it.
	Serves, Gets string
	// Gone says that the installation has no such host any more.
	Gone bool
}

// mayReach reports whether the viewer may change where the version is reached.
func (v *version) mayReach(r *ui.Request) bool { return v.mayChange(r) && r.Viewer.May(ui.Publisher) }

// addresses shows a version's further addresses, and adds one.
func (p *pages) addresses() ui.Route {
	t := ui.Parse[addressesView](files, "templates/addresses.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/addresses", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, addressFields(r, v.Version)...)
		if r.Submitted() {
			added := &catalogv1.FurtherAddress{
				Host: form.Get("host"), Prefix: form.Get("prefix"), KeepPrefix: form.Get("keep") == "on",
				Serves: catalogv1.FurtherAddress_Serves(form.Enum("serves", "SERVES_", catalogv1.FurtherAddress_Serves_value)),
			}
			if added.Host == "" && !r.Viewer.May(ui.Admin) {
				form.Wrong("host", "is needed: only administrators give addresses on the host that all share")
			}
			if form.Good() {
				err := p.reach(r, v, form.Get("etag"), append(slices.Clone(v.Version.GetFurtherAddresses()), added))
				if err == nil {
					return ui.Done(v.Base+"/addresses", "The address is added: gateways serve it within a second while the version is published."), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
			if form.Conflict {
				form.Set("etag", v.Version.GetEtag())
			}
		}
		h := v.below("Addresses of "+v.name(), "Addresses")
		h.Status = form.Status()
		view := addressesView{version: v, Form: form, MayAdd: v.mayReach(r), Empty: ui.Empty{
			Title: "No further address", Text: "Clients reach the version at the context of its API. Those that cannot be changed can have paths and hosts of their own.",
		}}
		for _, a := range v.Version.GetFurtherAddresses() {
			view.Rows = append(view.Rows, newAddressRow(a))
		}
		return t.Page(h, view), nil
	})
}

// removeAddress takes a further address away.
func (p *pages) removeAddress() ui.Route {
	return ui.Action("/publisher/apis/{api}/versions/{version}/addresses/remove", []ui.Role{ui.Publisher}, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(slices.Clone(v.Version.GetFurtherAddresses()), func(a *catalogv1.FurtherAddress) bool {
			return a.GetHost() == r.PostForm.Get("host") && a.GetPrefix() == r.PostForm.Get("prefix")
		})
		if err := p.reach(r, v, r.PostForm.Get("etag"), left); err != nil {
			return nil, err
		}
		return ui.Done(v.Base+"/addresses", "The address is removed: new clients are answered 404 there. Live sessions go on."), nil
	})
}

// reach gives a version its further addresses.
func (p *pages) reach(r *ui.Request, v *version, etag string, all []*catalogv1.FurtherAddress) error {
	_, err := p.Catalog.UpdateVersion(r.Context(), &catalogv1.UpdateVersionRequest{
		Version:    &catalogv1.Version{Name: v.Version.GetName(), Etag: etag, FurtherAddresses: all},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"further_addresses"}},
	})
	return err
}

// addressFields are the entries of a new address, which becomes the last one.
func addressFields(r *ui.Request, v *catalogv1.Version) []ui.Field {
	at := fmt.Sprintf("version.further_addresses[%d]", len(v.GetFurtherAddresses()))
	host := "A virtual host of the installation."
	if r.Viewer.May(ui.Admin) {
		host += " Empty for the host that all share."
	}
	return []ui.Field{
		{Name: "host", Label: "Host", Code: true, Max: 253, Placeholder: "chat.example.com", Hint: host, Paths: []string{at + ".host"}},
		{Name: "prefix", Label: "Path", Code: true, Max: 520, Placeholder: "/app/socket", Hint: "With which the address begins. Empty for the whole of a virtual host.",
			Paths: []string{at, "version.further_addresses", at + ".prefix"}},
		{Name: "serves", Label: "Serves", Kind: "select", Options: []ui.Option{
			{Value: "", Text: "All that the version has"}, {Value: "SOCKET", Text: "Sockets only"}, {Value: "HTTP", Text: "Plain requests only"},
		}, Paths: []string{at + ".serves"}},
		{Name: "keep", Label: "Backends get the path, too", Kind: "check", Hint: "Otherwise they get what follows it.", Paths: []string{at + ".keep_prefix"}},
		{Name: "etag", Kind: "hidden", Value: v.GetEtag()},
	}
}

func newAddressRow(a *catalogv1.FurtherAddress) addressRow {
	row := addressRow{
		Host: a.GetHost(), Prefix: a.GetPrefix(), Text: a.GetAddresses(), Serves: "all", Gets: "what follows it",
		Gone: a.GetHost() != "" && len(a.GetAddresses()) == 0,
	}
	if len(row.Text) == 0 {
		row.Text = []string{a.GetHost() + a.GetPrefix()}
	}
	switch a.GetServes() {
	case catalogv1.FurtherAddress_SERVES_SOCKET:
		row.Serves = "sockets"
	case catalogv1.FurtherAddress_SERVES_HTTP:
		row.Serves = "plain requests"
	}
	if a.GetKeepPrefix() {
		row.Gets = "the whole path"
	}
	return row
}
