// Package ui is what all pages of the portal are made of: routes, templates, forms,
// answers to errors, assets. The packages of pages beside it add one handler, one view
// struct and one template for each page.
//
// A page is made so:
//
//	func (p *pages) apis() ui.Route {
//		t := ui.Parse[apisView](files, "templates/apis.html")
//		return ui.Page("/publisher", publishers, t, func(r *ui.Request) (ui.Answer, error) {
//			resp, err := p.Catalog.ListApis(r.Context(), ...)
//			if err != nil {
//				return nil, err // becomes a page that says what to do
//			}
//			return t.Page(ui.Head{Title: "APIs"}, apisView{...}), nil
//		})
//	}
//
// Its template defines "main", and may define "actions", the buttons beside the title.
// The data of both is the page: the view is .View, what all pages have .Frame. All
// components are in templates/components.html, with what they take said there.
//
// A form is a FormPage: one handler shows it, shows it again with what is wrong, and does
// what it says. See Form.
//
// The handler returns its answer and writes nothing, so that it can be run again with a
// refreshed sign-in, and an answer is whole before its first byte is sent.
package ui
