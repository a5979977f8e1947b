// Package pictures takes the pictures of pages that docs has.
package pictures

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// patience is how long something may take. Only failures use it up.
const patience = 30 * time.Second

// folder has the pictures, and mostBytes is how large each may be.
const (
	folder    = "../../../docs/pictures"
	mostBytes = 120 << 10
	width     = 1280
	height    = 800
)

// picture is a picture of a page.
type picture struct {
	name string
	// user is who sees the page, and path where it is.
	user, path string
	// press is a button on it, pressed in a form; what is shown then is the picture.
	press string
	// has are words that the picture is there for.
	has []string
	// use is what a user does on the page before the picture is taken.
	use func(tab *browser.Tab)
}

// pictures are those that docs has.
func (h *harbour) pictures() []picture {
	tides, locks := h.versions["Harbour Tides"], h.versions["Lock Schedule"]
	return []picture{
		{name: "overview", user: "admin", path: "/admin", has: []string{"Gateways", "Security"}},
		{name: "changes", user: "admin", path: "/admin/changes", has: []string{"catalog"}},
		{name: "apis", user: "pia", path: "/publisher", has: []string{"Vessel Positions", "Berth Sensors"}},
		{name: "version", user: "pia", path: "/publisher/" + tides, has: []string{"2.1.0"}},
		{name: "usage", user: "pia", path: "/publisher/" + tides + "/usage", has: []string{"Messages"}},
		{name: "catalogue", user: "dave", path: "/devportal", has: []string{"Lock Schedule", "Weather Warnings"}},
		{name: "wizard", user: "dave", path: "/devportal/" + locks + "/wizard", press: "Generate", has: []string{"In a terminal"}},
		{name: "console", user: "dave", path: "/devportal/" + tides + "/console", has: []string{"Connect", "Message to send"}, use: converse},
	}
}

// converse sends two messages in the console.
func converse(tab *browser.Tab) {
	tab.Click("Connect")
	tab.Has("Connected: 101")
	for _, text := range []string{`{"subscribe": ["elbe/brunsbuettel", "elbe/cuxhaven"]}`, `{"station": "elbe/brunsbuettel", "height": 2.87, "trend": "rising", "at": "2026-05-04T09:12:00Z"}`} {
		tab.Fill("Message to send", text)
		tab.Click("Send")
	}
	tab.Until(`document.getElementById("c-received").textContent.startsWith("2 messages")`)
}

// password is that of a user of the harbour.
func (h *harbour) password(user string) string {
	if user == "admin" {
		return h.Password
	}
	return webtest.UserPassword
}

// TestPictures looks at the pages of a harbour's installation that docs has pictures of:
// they show what the pictures are there for, and docs has each picture and no other. With
// UPDATE_PICTURES=1, as make pictures sets it, the installation has been used for a day, and a
// browser takes the pictures anew; without it there is no browser.
func TestPictures(t *testing.T) {
	anew := os.Getenv("UPDATE_PICTURES") == "1"
	h := newHarbour(t, anew)
	if anew {
		h.takeAll(t)
	}
	browsers, names := map[string]*webtest.Browser{}, map[string]bool{}
	for _, p := range h.pictures() {
		names[p.name+".png"] = true
		b := browsers[p.user]
		if b == nil {
			b = h.Browser(t)
			b.SignIn(p.user, h.password(p.user))
			browsers[p.user] = b
		}
		page := b.Open(p.path)
		if p.press != "" {
			page = b.Submit(p.press)
		}
		for _, words := range p.has {
			if !strings.Contains(page.Text(), words) {
				t.Errorf("%s does not show %q:\n%s", p.path, words, page.Text())
			}
		}
		file, err := os.ReadFile(filepath.Join(folder, p.name+".png"))
		if err != nil {
			t.Errorf("%v: make pictures takes it", err)
			continue
		}
		if config, err := png.DecodeConfig(bytes.NewReader(file)); err != nil || config.Width != width || config.Height != height || len(file) > mostBytes {
			t.Errorf("the picture %s has %d times %d pixels in %d bytes, %v, want %d times %d in at most %d", p.name, config.Width, config.Height, len(file), err, width, height, mostBytes)
		}
	}
	there, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if !names[file.Name()] {
			t.Errorf("%s is a picture of nothing: remove it", file.Name())
		}
	}
}

// takeAll takes all pictures.
func (h *harbour) takeAll(t *testing.T) {
	t.Helper()
	browser.Require(t)
	chromium, err := browser.Start(context.WithoutCancel(t.Context()), strings.TrimPrefix(h.Portal, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chromium.Stop)
	tabs := map[string]*browser.Tab{}
	for _, p := range h.pictures() {
		tab := tabs[p.user]
		if tab == nil {
			tab = chromium.Tab(t, h.Portal)
			tab.Size(width, height)
			tab.SignIn(p.user, h.password(p.user))
			tabs[p.user] = tab
		}
		tab.Open(p.path)
		if p.press != "" {
			tab.Follow(p.press)
		}
		for _, words := range p.has {
			tab.Until(fmt.Sprintf("document.body.innerText.includes(%q)", words))
		}
		if p.use != nil {
			p.use(tab)
		}
		take(t, tab, h.Data, p.name)
	}
}

// take takes a picture.
func take(t *testing.T, tab *browser.Tab, data, name string) {
	t.Helper()
	// Of a folder of this test's the reader has no use, nor of what this machine is called:
	// the folder is as make run says it. And the page is shown from its top.
	browser.Read[bool](tab, fmt.Sprintf(`(() => {
		const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		document.body.querySelectorAll("wbr").forEach((w) => w.remove());
		document.body.normalize();
		while (words.nextNode()) words.currentNode.data = words.currentNode.data.replaceAll(%q, "tidegate-data").replace(new RegExp("\\b%s\\b", "g"), "harbour");
		scrollTo(0, 0);
		return true;
	})()`, data, watch.HostInstance("", "none")))
	text := withFewColours(t, tab.Picture())
	if err := os.WriteFile(filepath.Join(folder, name+".png"), text, 0o644); err != nil { //nolint:gosec // a document is for all
		t.Fatal(err)
	}
}

// withFewColours returns a picture with the 256 colours that most of its pixels have: it has
// a third of the bytes, and looks the same.
func withFewColours(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	pixels := map[color.Color]int{}
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			pixels[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(pixels), func(a, b color.Color) int { return pixels[b] - pixels[a] })
	few := image.NewPaletted(full.Bounds(), colours[:min(len(colours), 256)])
	draw.Draw(few, few.Bounds(), full, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// harbour is the installation of a harbour.
type harbour struct {
	*webtest.Tidegate
	t        *testing.T
	versions map[string]string // names by that of the API
	backend  string
}

// call makes a call, or fails the test.
func call[Q, R any](t *testing.T, ctx context.Context, method func(context.Context, Q, ...grpc.CallOption) (R, error), req Q) R {
	t.Helper()
	resp, err := method(ctx, req)
	if err != nil {
		t.Fatalf("%T: %v", req, err)
	}
	return resp
}

// newHarbour starts a Tidegate that has APIs and, where it is used, sessions, and traffic for
// a day.
func newHarbour(t *testing.T, used bool) *harbour {
	t.Helper()
	h := &harbour{t: t, versions: map[string]string{}, Tidegate: webtest.Start(t, "-catalog.gateway-urls", "wss://ws.harbour.example")}
	backend := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(backend.Close)
	h.backend = "ws" + strings.TrimPrefix(backend.URL, "http")
	h.User(t, "pia", identityv1.User_ROLE_CREATOR, identityv1.User_ROLE_PUBLISHER)
	h.User(t, "dave", identityv1.User_ROLE_SUBSCRIBER)
	h.User(t, "olga", identityv1.User_ROLE_SUBSCRIBER)
	for _, api := range []struct {
		name, path, version, text string
		tags                      []string
		publish                   bool
	}{
		{"Vessel Positions", "/vessels", "3.0.0", "Position, course and speed of every vessel in the estuary, as it is reported.", []string{"ais", "live"}, true},
		{"Harbour Tides", "/tides", "2.1.0", "Water levels of 14 stations, every ten seconds, with the forecast for six hours.", []string{"water", "live"}, true},
		{"Lock Schedule", "/locks", "1.4.0", "Which lock opens when, and every change of that.", []string{"locks"}, true},
		{"Weather Warnings", "/weather", "1.0.0", "Warnings for the estuary within a minute of their issue.", []string{"weather"}, true},
		{"Berth Sensors", "/berths", "0.9.0", "Load of bollards and fenders, twice a second.", []string{"beta"}, false},
	} {
		h.offer(api.name, api.path, api.version, api.text, api.tags, api.publish)
	}
	if !used {
		return h
	}
	for _, use := range []struct {
		owner, application string
		apis               []string
		sessions           int
	}{
		{"dave", "Harbour dashboard", []string{"Harbour Tides", "Vessel Positions"}, 6},
		{"dave", "Pilot app", []string{"Harbour Tides"}, 3},
		{"olga", "Tug dispatch", []string{"Vessel Positions", "Weather Warnings"}, 4},
	} {
		h.use(use.owner, use.application, use.apis, use.sessions)
	}
	h.yesterday()
	return h
}

// echo is a backend that sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// offer adds an API of pia's with a version.
func (h *harbour) offer(name, path, version, text string, tags []string, publish bool) {
	h.t.Helper()
	catalog, ctx := catalogv1.NewCatalogServiceClient(h.Conn), h.As(h.t, "pia", webtest.UserPassword)
	var plans []string
	for _, plan := range call(h.t, ctx, catalog.ListPlans, &catalogv1.ListPlansRequest{PageSize: 100}).GetPlans() {
		if plan.GetDisplayName() == "Gold" || plan.GetDisplayName() == "Silver" {
			plans = append(plans, plan.GetName())
		}
	}
	api := call(h.t, ctx, catalog.CreateApi, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: path, Description: text}})
	v := call(h.t, ctx, catalog.CreateVersion, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: version, Plans: plans, Tags: tags, Description: text,
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: h.backend}}}},
	}})
	if publish {
		call(h.t, ctx, catalog.PublishVersion, &catalogv1.PublishVersionRequest{Name: v.GetName()})
	}
	h.versions[name] = v.GetName()
}

// use adds an application that is subscribed to APIs, and connects it to each.
func (h *harbour) use(owner, name string, apis []string, sessions int) {
	h.t.Helper()
	ctx := h.As(h.t, owner, webtest.UserPassword)
	catalog, applications := catalogv1.NewCatalogServiceClient(h.Conn), subscriptionv1.NewApplicationServiceClient(h.Conn)
	app := call(h.t, ctx, applications.CreateApplication, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: name}})
	call(h.t, ctx, applications.CreateOAuthClient, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	for _, api := range apis {
		v := call(h.t, ctx, catalog.GetVersion, &catalogv1.GetVersionRequest{Name: h.versions[api]})
		call(h.t, ctx, subscriptionv1.NewSubscriptionServiceClient(h.Conn).CreateSubscription, &subscriptionv1.CreateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: v.GetName(), Plan: v.GetPlans()[0]},
		})
		token := call(h.t, ctx, subscriptionv1.NewTokenServiceClient(h.Conn).IssueApplicationToken, &subscriptionv1.IssueApplicationTokenRequest{
			Application: app.GetName(), Version: v.GetName(),
		})
		for range sessions {
			h.connect(strings.TrimPrefix(v.GetAddresses()[0], "wss://ws.harbour.example"), token.GetAccessToken())
		}
	}
}

// connect opens a session in which a message goes each way.
func (h *harbour) connect(path, token string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for {
		conn, resp, err := websocket.Dial(ctx, h.WS+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}) //nolint:bodyclose // Dial has read the body
		if err != nil && resp != nil && ctx.Err() == nil && resp.StatusCode != http.StatusUnauthorized {
			continue // the gateway has not heard of it yet
		}
		if err == nil {
			h.t.Cleanup(func() { _ = conn.CloseNow() })
			err = conn.Write(ctx, websocket.MessageText, []byte(`{"subscribe": "all"}`))
		}
		if err == nil {
			_, _, err = conn.Read(ctx)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		return
	}
}

// yesterday adds the usage of two days to each version and application that is used now, as
// tides come and go.
func (h *harbour) yesterday() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.As(h.t, "admin", h.Password), patience)
	defer cancel()
	for usage := usagev1.NewUsageServiceClient(h.Conn); ; { // all have been reported
		list := call(h.t, ctx, usage.ListUsage, &usagev1.ListUsageRequest{GroupBy: []string{"version", "application"}})
		if len(list.GetUsage()) >= 5 {
			break
		}
	}
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(h.Data, "subscription.db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	now := time.Now().Truncate(time.Minute)
	err = db.InTx(ctx, func(tx *sqldb.Tx) error { return fillDays(ctx, tx, now) })
	if err != nil {
		h.t.Fatal(err)
	}
}

// fillDays adds usage of all series to the minutes before now, and to the longer spans.
func fillDays(ctx context.Context, tx *sqldb.Tx, now time.Time) error {
	for minute := 1; minute < 2*24*60; minute++ {
		at := now.Add(-time.Duration(minute) * time.Minute)
		wave := 1 + math.Sin(float64(minute)/118) + 0.25*math.Sin(float64(minute)/17) + 0.1*math.Sin(float64(minute)*1.7)
		out := int64(40 + 160*max(wave, 0))
		if minute > 24*60 { // there was less on the day before
			out = out * 9 / 10
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO usage_minute (series, start_at, sessions, in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire)
			SELECT id, $1, $2, $3, $3, $4, $4, $5, $5, $6, $6 FROM usage_series WHERE true
			ON CONFLICT (series, start_at) DO NOTHING`, at.UnixMicro(), out/40, out/6, out*12, out, out*140)
		if err != nil {
			return err
		}
	}
	for table, span := range map[string]time.Duration{"usage_hour": time.Hour, "usage_day": 24 * time.Hour, "usage_20_days": 20 * 24 * time.Hour} {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO `+table+` (series, start_at, sessions, in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire)
			SELECT series, start_at - start_at % $1, sum(sessions), sum(in_messages), sum(in_frames), sum(in_payload), sum(in_wire),
				sum(out_messages), sum(out_frames), sum(out_payload), sum(out_wire)
			FROM usage_minute WHERE true GROUP BY 1, 2
			ON CONFLICT (series, start_at) DO UPDATE SET sessions = excluded.sessions, in_messages = excluded.in_messages, in_payload = excluded.in_payload,
				out_messages = excluded.out_messages, out_payload = excluded.out_payload`, span.Microseconds())
		if err != nil {
			return err
		}
	}
	return nil
}
