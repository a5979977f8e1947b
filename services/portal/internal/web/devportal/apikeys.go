package devportal

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// apiKeysView is the list of an application's API keys.
type apiKeysView struct {
	*application
	Rows []apiKeyRow
	More string
}

// apiKeyRow is an API key in the list.
type apiKeyRow struct {
	*subscriptionv1.APIKey
	// Path is the address of its pages.
	Path string
	// Stage is the word for its stage, From where it is good from, empty for everywhere.
	Stage, From string
	// Sessions are its live ones, -1 where that is not known.
	Sessions int64
}

// apiKeyPath is the address of the pages of an API key.
func apiKeyPath(a *application, k *subscriptionv1.APIKey) string {
	return a.Base + "/api-keys/" + ui.ID(k.GetName())
}

// apiKeys lists an application's API keys, with their last use and live sessions.
func (p *pages) apiKeys() ui.Route {
	t := ui.Parse[apiKeysView](files, "templates/apikeys.html")
	return ui.Page("/devportal/applications/{application}/api-keys", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		list, err := p.APIKeys.ListAPIKeys(r.Context(), &subscriptionv1.ListAPIKeysRequest{Parent: a.GetName(), PageToken: r.FormValue("page")})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, k := range list.GetApiKeys() {
			names = append(names, k.GetName())
		}
		live, err := p.LiveSessions(r, "api_key", names...)
		if err != nil {
			return nil, err
		}
		v := apiKeysView{application: a, More: r.Next(list.GetNextPageToken())}
		for _, k := range list.GetApiKeys() {
			v.Rows = append(v.Rows, apiKeyRow{
				APIKey: k, Path: apiKeyPath(a, k), Stage: stageWord(k.GetStage()), Sessions: live(k.GetName()),
				From: strings.Join(append(k.GetPermittedAddresses(), k.GetPermittedReferers()...), ", "),
			})
		}
		return t.Page(a.head("API keys"), v), nil
	})
}

// apiKeyView is a form about an API key, or once it is done the value, which is shown once.
type apiKeyView struct {
	*application
	Form       *ui.Form
	To, Button string
	// Text says what the form does.
	Text []string
	// Done says that the form is done. Value is then empty where the form was sent before.
	Done        bool
	Name, Stage string
	Value       ui.Copy
	// Until is when values before end; nil where there are none.
	Until *timestamppb.Timestamp
}

// show has the view show a key with its value.
func (v *apiKeyView) show(k *subscriptionv1.APIKey) {
	v.Done, v.Name, v.Stage, v.Until = true, k.GetDisplayName(), stageWord(k.GetStage()), k.GetReplacedExpireTime()
	v.Value = ui.Copy{ID: "api-key", What: "the API key", Value: k.GetKey()}
}

// belowAPIKeys is the head of a page below the list of API keys.
func (a *application) belowAPIKeys(title, here string) ui.Head {
	h := a.below(title, here)
	h.Crumbs = append(h.Crumbs, ui.Link{Text: "API keys", To: a.Base + "/api-keys"})
	return h
}

// permitFields are what an API key's owner may change.
func permitFields(k *subscriptionv1.APIKey) []ui.Field {
	return []ui.Field{
		{Name: "name", Label: "Name", Required: true, Max: 100, Value: k.GetDisplayName(), Hint: "Such as the program that has the key.", Paths: []string{"api_key.display_name"}},
		{Name: "addresses", Label: "Only from these addresses", Kind: "textarea", Code: true, Value: strings.Join(k.GetPermittedAddresses(), "\n"), Placeholder: "192.0.2.7\n2001:db8::/48",
			Hint: "IP addresses and networks, one on a line. Empty for everywhere.", Paths: []string{"api_key.permitted_addresses"}},
		{Name: "referers", Label: "Only from these pages", Kind: "textarea", Code: true, Value: strings.Join(k.GetPermittedReferers(), "\n"), Placeholder: "shop.example.com\n*.example.com",
			Hint:  "One on a line. Empty for all. Browsers name only the host of a page. It protects keys that are in pages, and no others: programs can send any header.",
			Paths: []string{"api_key.permitted_referers"}},
	}
}

// lifetimes are how long a new key can be good.
func lifetimes() []ui.Option {
	return []ui.Option{{Value: "2160h", Text: "90 days"}, {Value: "8760h", Text: "A year"}, {Value: "720h", Text: "30 days"}, {Value: "", Text: "Until it is deleted"}}
}

// newAPIKey makes an API key, and shows its value once.
func (p *pages) newAPIKey() ui.Route {
	t := ui.Parse[apiKeyView](files, "templates/apikey.html")
	return ui.FormPage("/devportal/applications/{application}/api-keys/new", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		var options []ui.Option
		for _, s := range stages() {
			options = append(options, ui.Option{Value: s.String(), Text: stageWord(s)})
		}
		form := ui.NewForm(r, append(permitFields(nil),
			ui.Field{Name: "stage", Label: "Stage", Kind: "select", Options: options, Value: options[0].Value, Paths: []string{"api_key.stage"}},
			ui.Field{Name: "lifetime", Label: "Good for", Kind: "select", Options: lifetimes(), Value: lifetimes()[0].Value, Paths: []string{"api_key.expire_time"}},
			ui.Field{Name: "request_id", Kind: "hidden", Value: uuid.NewString()},
		)...)
		v := apiKeyView{application: a, Form: form, To: a.Base + "/api-keys/new", Button: "Create"}
		h := a.belowAPIKeys("Create an API key", "Create API key")
		if r.Submitted() && form.Complete() {
			k, err := p.createAPIKey(r, a, form)
			if err == nil {
				v.show(k)
				h.Title, h.Secret = "A new API key", true
				return t.Page(h, v), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		h.Status = form.Status()
		return t.Page(h, v), nil
	})
}

// createAPIKey makes what the form says. A form that is sent again makes nothing: when a
// key expires is rounded to the day, so that it says the same.
func (p *pages) createAPIKey(r *ui.Request, a *application, form *ui.Form) (*subscriptionv1.APIKey, error) {
	k := &subscriptionv1.APIKey{
		DisplayName: form.Get("name"), Stage: catalogv1.Stage(catalogv1.Stage_value[form.Get("stage")]),
		PermittedAddresses: form.Lines("addresses"), PermittedReferers: form.Lines("referers"),
	}
	if life, err := time.ParseDuration(form.Get("lifetime")); err == nil {
		const day = 24 * time.Hour
		k.ExpireTime = timestamppb.New(time.Now().Add(life).Truncate(day).Add(day))
	}
	return p.APIKeys.CreateAPIKey(r.Context(), &subscriptionv1.CreateAPIKeyRequest{
		Parent: a.GetName(), ApiKey: k, RequestId: part(form, "api key", k.GetDisplayName(), form.Get("stage"), form.Get("addresses"), form.Get("referers"), form.Get("lifetime")),
	})
}

// apiKey reads the API key that a request's path names, and its application.
func (p *pages) apiKey(r *ui.Request) (*application, *subscriptionv1.APIKey, error) {
	a, err := p.application(r)
	if err != nil {
		return nil, nil, err
	}
	k, err := p.APIKeys.GetAPIKey(r.Context(), &subscriptionv1.GetAPIKeyRequest{Name: a.GetName() + "/apiKeys/" + r.PathValue("key")})
	if err != nil {
		return nil, nil, ui.Absent(err)
	}
	return a, k, nil
}

// editAPIKey changes what an API key is called, and from where it is good.
func (p *pages) editAPIKey() ui.Route {
	t := ui.Parse[apiKeyView](files, "templates/apikey.html")
	return ui.FormPage("/devportal/applications/{application}/api-keys/{key}/edit", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, k, err := p.apiKey(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, append(permitFields(k), ui.Field{Name: "etag", Kind: "hidden", Value: k.GetEtag()})...)
		if r.Submitted() && form.Complete() {
			_, err := p.APIKeys.UpdateAPIKey(r.Context(), &subscriptionv1.UpdateAPIKeyRequest{
				ApiKey: &subscriptionv1.APIKey{
					Name: k.GetName(), DisplayName: form.Get("name"), PermittedAddresses: form.Lines("addresses"), PermittedReferers: form.Lines("referers"), Etag: form.Get("etag"),
				},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "permitted_addresses", "permitted_referers"}},
			})
			if err == nil {
				return ui.Done(a.Base+"/api-keys", "%s is saved.", form.Get("name")), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(k.GetEtag(), url.Values{
					"name": {k.GetDisplayName()}, "addresses": {strings.Join(k.GetPermittedAddresses(), "\n")}, "referers": {strings.Join(k.GetPermittedReferers(), "\n")},
				})
			}
		}
		h := a.belowAPIKeys(k.GetDisplayName(), k.GetDisplayName())
		h.Badges, h.Status = []ui.Badge{{Kind: "tag", Text: stageWord(k.GetStage())}}, form.Status()
		return t.Page(h, apiKeyView{
			application: a, Form: form, To: apiKeyPath(a, k) + "/edit", Button: "Save",
			Text: []string{"Live sessions from where the key is not good any more end within a second with code 4006."},
		}), nil
	})
}

// overlaps are how long values that are replaced can stay good.
func overlaps() []ui.Option {
	return []ui.Option{
		{Value: "24h", Text: "24 hours"}, {Value: "168h", Text: "7 days"}, {Value: "720h", Text: "30 days"}, {Value: "1h", Text: "1 hour"},
		{Value: "0s", Text: "Not at all", Hint: "its live sessions end at once"},
	}
}

// rotateAPIKey gives an API key another value, and shows it once.
func (p *pages) rotateAPIKey() ui.Route {
	t := ui.Parse[apiKeyView](files, "templates/apikey.html")
	return ui.FormPage("/devportal/applications/{application}/api-keys/{key}/rotate", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, k, err := p.apiKey(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r,
			ui.Field{Name: "overlap", Label: "The value that it has now stays good for", Kind: "radio", Options: overlaps(), Value: "24h", Paths: []string{"overlap"}},
			ui.Field{Name: "etag", Kind: "hidden", Value: k.GetEtag()})
		v := apiKeyView{application: a, Form: form, To: apiKeyPath(a, k) + "/rotate", Button: "Rotate"}
		h := a.belowAPIKeys("Rotate "+k.GetDisplayName(), "Rotate")
		if r.Submitted() {
			req := &subscriptionv1.RotateAPIKeyRequest{Name: k.GetName(), Etag: form.Get("etag")}
			if d, err := time.ParseDuration(form.Get("overlap")); err == nil {
				req.Overlap = durationpb.New(d)
			}
			next, err := p.APIKeys.RotateAPIKey(r.Context(), req)
			if err == nil {
				v.show(next)
				h.Title, h.Secret = "A new value", true
				return t.Page(h, v), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		sessions, err := p.AllLiveSessions(r, `api_key = "`+k.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		v.Text = []string{"The key gets another value, which is shown once and is good at once. Sessions of the value before end with code 4001 when that is not good any more: " + sessionsNow(sessions) + "."}
		h.Badges, h.Status = []ui.Badge{{Kind: "tag", Text: stageWord(k.GetStage())}}, form.Status()
		return t.Page(h, v), nil
	})
}

// sessionsNow says how many live sessions there are.
func sessionsNow(n int64) string {
	switch {
	case n < 0:
		return "how many there are now is not known"
	case n == 1:
		return "there is 1 now"
	}
	return fmt.Sprintf("there are %d now", n)
}

// deleteAPIKey deletes an API key, after a page that says how many sessions end.
func (p *pages) deleteAPIKey() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/api-keys/{key}/delete", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, k, err := p.apiKey(r)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			if _, err := p.APIKeys.DeleteAPIKey(r.Context(), &subscriptionv1.DeleteAPIKeyRequest{Name: k.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(a.Base+"/api-keys", "%s is deleted.", k.GetDisplayName()), nil
		}
		sessions, err := p.AllLiveSessions(r, `api_key = "`+k.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		h := a.belowAPIKeys("Delete "+k.GetDisplayName()+"?", "Delete")
		h.Badges = []ui.Badge{{Kind: "tag", Text: stageWord(k.GetStage())}}
		return t.Page(h, confirmView{ui.Confirm{
			Text:     []string{"The key is refused from then on, and its live sessions end within a second with code 4001."},
			Sessions: sessions, Button: "Delete it", Keep: "Keep it", To: apiKeyPath(a, k) + "/delete", Back: a.Base + "/api-keys",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: k.GetEtag()}},
		}}), nil
	})
}
