package console

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// pagePath is the address of the page, for versions that the path names.
const pagePath = "/devportal/apis/{api}/versions/{version}/console"

// Routes returns the page, its socket, and what keeps the socket's sign-in.
func (c *Console) Routes() []ui.Route {
	return []ui.Route{
		c.show(),
		ui.Page(pagePath+"/socket", nil, nil, c.socket),
		ui.Action(pagePath+"/renewal", nil, c.renew),
		c.record(),
	}
}

// consoleView is what the page shows.
type consoleView struct {
	// Base is the address of the page, Address that of the gateway, or empty.
	Base, Address string
	// Needs says that clients need a token, Keys where one comes from.
	Needs bool
	Keys  []ui.Option
	// Places are where a token may go, where there are several.
	Places []ui.Option
	// Sandbox says that there is an endpoint of that stage.
	Sandbox bool
	// Published says that clients can connect.
	Published bool
	Snippets  snippet.View
}

// show shows the console of a version.
func (c *Console) show() ui.Route {
	t, programs := ui.Parse[consoleView](files, "templates/console.html"), snippet.Parse()
	return ui.Page(pagePath, nil, t, func(r *ui.Request) (ui.Answer, error) {
		v, err := c.version(r)
		if err != nil {
			return nil, err
		}
		api, err := c.Services.Catalog.GetApi(r.Context(), &catalogv1.GetApiRequest{Name: "apis/" + r.PathValue("api")})
		if err != nil {
			return nil, err
		}
		view := consoleView{
			Base: r.URL.EscapedPath(), Address: gatewayOf(v), Published: v.GetState() == catalogv1.Version_STATE_PUBLISHED,
			Sandbox: len(v.GetEndpoints().GetSandbox()) > 0, Needs: true,
			Snippets: programs.Of(v, "https://"+r.Host+"/oauth2/token", c.Authority),
		}
		for _, s := range v.GetSecurity() {
			view.Needs = view.Needs && s.GetNone() == nil
		}
		if view.Needs {
			if view.Keys, err = c.keys(r, api, v); err != nil {
				return nil, err
			}
			for _, p := range snippet.Places(v) {
				words := credentialplace.Words(p)
				view.Places = append(view.Places, ui.Option{Value: credentialplace.Text(p), Text: strings.ToUpper(words[:1]) + words[1:]})
			}
		}
		head := ui.Head{
			Title: api.GetDisplayName(), Sub: "Speak to the API from this page.",
			Badges: []ui.Badge{{Kind: "tag", Text: v.GetVersion()}}, Here: "Console",
		}
		switch {
		case view.Published && r.Viewer.May(ui.Subscriber, ui.Publisher):
			head.Crumbs = []ui.Link{{Text: "APIs", To: "/devportal"}, {Text: api.GetDisplayName(), To: "/devportal/" + v.GetName()}}
		case r.Viewer.May(ui.Creator, ui.Publisher):
			head.Crumbs = []ui.Link{{Text: "APIs", To: "/publisher"}, {Text: api.GetDisplayName(), To: "/publisher/" + v.GetName()}}
		}
		return t.Page(head, view), nil
	})
}

// mostKeys is how many applications can be chosen from.
const mostKeys = 100

// keys returns where the viewer's tokens for a version come from. The user who owns the
// version may try it out without an application.
func (c *Console) keys(r *ui.Request, api *catalogv1.Api, v *catalogv1.Version) ([]ui.Option, error) {
	var keys []ui.Option
	tokens := snippet.TakesTokens(v)
	if tokens && r.Viewer.May(ui.Subscriber) && v.GetState() == catalogv1.Version_STATE_PUBLISHED {
		list, err := c.Services.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{
			PageSize: mostKeys, Filter: `version = "` + v.GetName() + `" AND application_owner = "users/me"`,
		})
		if err != nil {
			return nil, err
		}
		for _, s := range list.GetSubscriptions() {
			keys = append(keys, ui.Option{Value: s.GetApplication(), Text: s.GetApplicationDisplayName()})
		}
	}
	if tokens && r.Viewer.May(ui.Subscriber) && v.GetSubscriptionless() && v.GetState() == catalogv1.Version_STATE_PUBLISHED {
		list, err := c.Services.Applications.ListApplications(r.Context(), &subscriptionv1.ListApplicationsRequest{PageSize: mostKeys, Filter: `owner = "users/me"`})
		if err != nil {
			return nil, err
		}
		for _, a := range list.GetApplications() {
			if o := (ui.Option{Value: a.GetName(), Text: a.GetDisplayName()}); !slices.Contains(keys, o) {
				keys = append(keys, o)
			}
		}
	}
	if api.GetOwner() == r.Viewer.Name || r.Viewer.May(ui.Admin) {
		keys = append(keys, ui.Option{Value: "try-out", Text: "Try it out, as its owner"})
	}
	own := "A token of my own"
	switch {
	case !tokens:
		own = "An API key of my own"
	case snippet.TakesKeys(v):
		own = "A token or an API key of my own"
	}
	return append(keys, ui.Option{Value: "token", Text: own}), nil
}

// recordView has the record of a refusal, or says that there is none.
type recordView struct {
	Record *ui.RecordPage
	Empty  ui.Empty
}

// record shows the record of a refusal that the console has shown. Gateways report them a
// little later, and not every user may see each.
func (c *Console) record() ui.Route {
	t := ui.Parse[recordView](files, "templates/record.html")
	return ui.Page(pagePath+"/records/{record}", nil, t, func(r *ui.Request) (ui.Answer, error) {
		v, err := c.version(r)
		if err != nil {
			return nil, err
		}
		back := strings.TrimSuffix(r.URL.Path, "/records/"+r.PathValue("record"))
		head := ui.Head{Title: "Record " + r.PathValue("record"), Here: "Record", Crumbs: []ui.Link{{Text: "Console", To: back}}}
		got, err := c.Services.Usage.GetSessionRecord(r.Context(), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + r.PathValue("record")})
		switch {
		case err == nil && got.GetVersion() == v.GetName():
			page, err := c.Services.RecordPage(r, got)
			return t.Page(head, recordView{Record: &page}), err
		case err == nil, fault.Is(err, codes.NotFound), fault.Is(err, codes.InvalidArgument), fault.Is(err, codes.PermissionDenied):
			return t.Page(head, recordView{Empty: ui.Empty{
				Title: "No record yet", Text: "The gateway reports what it refused within seconds: reload this page to look again. The publisher of the API sees all records of it, and the owner of an application those that its token led to.",
				Action: &ui.Link{Text: "Back to the console", To: back},
			}}), nil
		}
		return nil, err
	})
}

// version reads the version that a request's path names.
func (c *Console) version(r *ui.Request) (*catalogv1.Version, error) {
	name := "apis/" + r.PathValue("api") + "/versions/" + r.PathValue("version")
	v, err := c.Services.Catalog.GetVersion(r.Context(), &catalogv1.GetVersionRequest{Name: name})
	return v, ui.Absent(err)
}

// renew answers with a renewal for a sign-in that was refreshed.
func (c *Console) renew(r *ui.Request) (ui.Answer, error) {
	a, err := accessOf(r.Viewer)
	if err != nil {
		return nil, err
	}
	renewal, err := c.renewal(a)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"renewal": renewal})
	return ui.File{Name: "renewal.json", Type: "application/json", Body: body}, err
}

// socket opens the page's socket. Who follows its address as a link gets to the page.
func (c *Console) socket(r *ui.Request) (ui.Answer, error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return ui.Redirect{To: strings.TrimSuffix(r.URL.Path, "/socket")}, nil
	}
	// The cookie comes with every page's handshake: only the origin says whose it is.
	if got := r.Header.Values("Origin"); len(got) != 1 || got[0] != "https://"+r.Host {
		return nil, fault.Denied("the console's socket is for the portal's own pages")
	}
	v, err := c.version(r)
	if err != nil {
		return nil, err
	}
	if gatewayOf(v) == "" {
		return nil, fault.Precondition("the installation does not know the addresses of its gateways")
	}
	a, err := accessOf(r.Viewer)
	if err != nil {
		return nil, err
	}
	return ui.Takeover(func(w http.ResponseWriter, r *ui.Request) error {
		if err := c.enter(a.SignIn); err != nil {
			http.Error(w, "4 consoles are connected already", http.StatusTooManyRequests)
			return nil
		}
		s := &socket{
			console: c, version: v, signIn: a.SignIn,
			open: make(chan *command, 1), queue: make(chan waiting, 256), room: semaphore.NewWeighted(mostWaiting),
		}
		if addr := clientaddr.From(r.Context()); addr.IsValid() {
			s.client = addr.String()
		}
		s.access.Store(&a)
		s.ctx, s.end = context.WithCancelCause(c.ctx)
		if err := s.upgrade(w, r.Request); err != nil || s.page == nil {
			s.end(nil)
			c.leave(a.SignIn)
			return err
		}
		go func() {
			defer c.leave(a.SignIn)
			s.run()
		}()
		return nil
	}), nil
}
