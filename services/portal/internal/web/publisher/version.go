package publisher

import (
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// overviewView is the first page of a version.
type overviewView struct {
	*version
	Addresses []ui.Copy
	Endpoints []string
	Plans     []string
	Security  []string
	Traffic   traffic
	// Sessions are those that live now, -1 where that is not known.
	Sessions int64
	// TryOut is the address of the console, empty where the viewer cannot use the version.
	TryOut string
}

// overview shows a version.
func (p *pages) overview() ui.Route {
	t := ui.Parse[overviewView](files, "templates/overview.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		plans, err := p.planOptions(r.Context())
		if err != nil {
			return nil, err
		}
		view := overviewView{version: v, Security: securityWords(v.Version.GetSecurity())}
		for i, address := range v.Version.GetAddresses() {
			scheme, _, _ := strings.Cut(address, ":")
			view.Addresses = append(view.Addresses, ui.Copy{ID: "address-" + strconv.Itoa(i+1), What: "the " + scheme + " address", Value: address, Wrap: true})
		}
		for i, address := range v.Version.GetHttp().GetAddresses() {
			scheme, _, _ := strings.Cut(address, ":")
			view.Addresses = append(view.Addresses, ui.Copy{ID: "http-address-" + strconv.Itoa(i+1), What: "the " + scheme + " address", Value: address, Wrap: true})
		}
		for _, e := range append(v.Version.GetEndpoints().GetProduction(), v.Version.GetEndpoints().GetSandbox()...) {
			view.Endpoints = append(view.Endpoints, e.GetUrl())
		}
		for _, o := range plans {
			for _, name := range v.Version.GetPlans() {
				if o.Value == name {
					view.Plans = append(view.Plans, o.Text)
				}
			}
		}
		if view.Traffic, err = p.traffic(r, v); err != nil {
			return nil, err
		}
		if view.Sessions, err = p.liveSessions(r, v.Version.GetName()); err != nil {
			return nil, err
		}
		if v.Published() || v.mayChange(r) {
			view.TryOut = "/devportal/" + v.Version.GetName() + "/console"
		}
		return t.Page(v.head("Overview"), view), nil
	})
}

// securityWords says how clients prove who they are.
func securityWords(schemes []*catalogv1.SecurityScheme) []string {
	var words []string
	for _, s := range schemes {
		switch {
		case s.GetNone() != nil:
			words = append(words, "none: everybody may connect")
		case s.GetOauth2() != nil:
			words = append(words, placeWords("OAuth2 token", s.GetOauth2().GetPlaces()))
		case s.GetApiKey() != nil:
			words = append(words, placeWords("API key", s.GetApiKey().GetPlaces()))
		}
	}
	return words
}

// placeWords says where a credential is looked for.
func placeWords(what string, places []*catalogv1.CredentialPlace) string {
	var words []string
	for _, place := range places {
		words = append(words, credentialplace.Words(place))
	}
	return strings.TrimSuffix(what+" in "+strings.Join(words, " or "), " in ")
}

// lifecycleView is what a version's life is.
type lifecycleView struct {
	*version
	// MayPublish, MayTakeBack and MayDelete say what is offered.
	MayPublish, MayTakeBack, MayDelete bool
	// Sessions are those that live now, -1 where that is not known.
	Sessions int64
}

// lifecycle shows in which state a version is, and leads to others.
func (p *pages) lifecycle() ui.Route {
	t := ui.Parse[lifecycleView](files, "templates/lifecycle.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/lifecycle", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		view := lifecycleView{version: v, MayDelete: !v.Published() && r.Viewer.May(ui.Creator) && v.mayChange(r)}
		may := r.Viewer.May(ui.Publisher)
		if view.MayPublish = may && !v.Published(); v.Published() {
			view.MayTakeBack = may
			if view.Sessions, err = p.liveSessions(r, v.Version.GetName()); err != nil {
				return nil, err
			}
		}
		return t.Page(v.head("Lifecycle"), view), nil
	})
}

// publish publishes a version.
func (p *pages) publish() ui.Route {
	return ui.Action("/publisher/apis/{api}/versions/{version}/publish", []ui.Role{ui.Publisher}, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		var header metadata.MD
		_, err = p.Catalog.PublishVersion(r.Context(), &catalogv1.PublishVersionRequest{Name: v.Version.GetName(), Etag: r.PostForm.Get("etag")}, grpc.Header(&header))
		switch {
		case err == nil:
			return p.served(r, v.Version.GetName(), v.name(), header), nil
		case ui.Names(err, "version.plans") && v.mayChange(r):
			return ui.Redirect{To: v.Base + "/plans", Notice: notPublished(err)}, nil
		case fault.Is(err, codes.InvalidArgument), fault.Is(err, codes.FailedPrecondition), fault.Is(err, codes.Aborted):
			return ui.Redirect{To: v.Base + "/lifecycle", Notice: notPublished(err)}, nil
		}
		return nil, err
	})
}

// confirmView asks before something ends.
type confirmView struct{ Confirm ui.Confirm }

// takeBack demotes a version, after a page that says what ends.
func (p *pages) takeBack() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/take-back", []ui.Role{ui.Publisher}, t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		name := v.name()
		if r.Submitted() {
			_, err := p.Catalog.DemoteVersion(r.Context(), &catalogv1.DemoteVersionRequest{Name: v.Version.GetName(), Etag: r.PostForm.Get("etag")})
			if err != nil {
				return nil, err
			}
			return ui.Done(v.Base+"/lifecycle", "%s is taken back: nobody can connect to it now.", name), nil
		}
		sessions, err := p.liveSessions(r, v.Version.GetName())
		if err != nil {
			return nil, err
		}
		return t.Page(v.below("Take "+name+" back?", "Take back"), confirmView{Confirm: ui.Confirm{
			Text:     []string{"Sessions end within a second with code 4006, and new clients are answered 404. Subscriptions and keys stay."},
			Sessions: sessions, Button: "Take it back", Keep: "Keep it published",
			To: v.Base + "/take-back", Back: v.Base + "/lifecycle",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: v.Version.GetEtag()}},
		}}), nil
	})
}

// notPublished says why a version was not published.
func notPublished(err error) ui.Notice {
	return ui.Notice{Kind: "warn", Text: "Not published: " + ui.Said(err)}
}
