package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// refusedRequests are answers to plain requests that none but these get.
func refusedRequests(w *world) (all []refusedAnswer) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w.t.Cleanup(backend.Close)
	r := w.route("1")
	r.Http = &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: endpoint(backend.URL)}, MaxBodyBytes: 5}
	w.plane.put(r)
	w.plane.putPlan("none")
	w.plane.putPlan("rate", perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 1, 0, 0))
	w.plane.putPlan("quota", &catalogv1.Limit{Name: "a-day", Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 1, Window: catalogv1.Quota_WINDOW_DAY,
	}}})
	w.start()
	head := func(token string, length int) string {
		return fmt.Sprintf("POST /x/1 HTTP/1.1\r\nHost: api.example\r\nUser-Agent: contract\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", token, length)
	}
	refused := func(status int, code, token string, length int) {
		a := w.refuses(head(token, length))
		if a.Status != status || a.Code != code {
			w.t.Errorf("a request with a body of %d bytes: %+v, want %d %s", length, a, status, code)
		}
		all = append(all, a)
	}
	refused(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", w.plane.subscribe("none", "plans/none", ""), 6)
	for plan, code := range map[string]string{"rate": "REQUEST_RATE", "quota": "REQUEST_QUOTA"} {
		token := w.plane.subscribe(plan, "plans/"+plan, "")
		if got := w.answered(head(token, 0)); got.status != http.StatusOK {
			w.t.Errorf("the first request under %s: %d %s", plan, got.status, got.body)
		}
		refused(http.StatusTooManyRequests, code, token, 0)
	}
	return all
}

// refusedForTheBackend are answers where there is nothing to show a backend.
func refusedForTheBackend(w *world) (all []refusedAnswer) {
	for version, edit := range map[string]func(*catalogv1.Endpoints, *catalogv1.BackendOptions){
		"token": func(e *catalogv1.Endpoints, _ *catalogv1.BackendOptions) {
			e.ProductionConnection = &catalogv1.Connection{Credential: &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
				TokenUrl: "http://127.0.0.1:1/", ClientId: "c", ClientSecret: &catalogv1.Secret{Value: "s3cret"},
			}}}
		},
		"identity": func(_ *catalogv1.Endpoints, o *catalogv1.BackendOptions) {
			o.Identity = catalogv1.BackendOptions_IDENTITY_JWT
		},
	} {
		r := w.open()
		r.Name, r.Version = "apis/x/versions/"+version, version
		r.Endpoints, r.BackendOptions = &catalogv1.Endpoints{Production: endpoint("ws://127.0.0.1:1")}, &catalogv1.BackendOptions{}
		edit(r.Endpoints, r.BackendOptions)
		w.plane.put(r)
	}
	w.start()
	for version, want := range map[string]string{"token": "BACKEND_CREDENTIAL", "identity": "IDENTITY_UNSIGNED"} {
		a := w.refuses(headOf("/x/"+version, ""))
		if a.Code != want {
			w.t.Errorf("%s: %+v, want %s", version, a, want)
		}
		all = append(all, a)
	}
	return all
}
