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

// TestPictures takes a picture of eight pages, of a harbour's installation. With
// UPDATE_PICTURES=1, as make pictures sets it, docs gets them; else it is looked whether docs
// has one of each.
func TestPictures(t *testing.T) {
	browser.Require(t)
	h := newHarbour(t)
	chromium, err := browser.Start(context.WithoutCancel(t.Context()), strings.TrimPrefix(h.Portal, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chromium.Stop)
	as := func(username, password string) *browser.Tab {
		tab := chromium.Tab(t, h.Portal)
		tab.Size(width, height)
		tab.SignIn(username, password)
		return tab
	}
	admin, pia, dave := as("admin", h.Password), as("pia", webtest.UserPassword), as("dave", webtest.UserPassword)
	admin.Open("/admin")
	admin.Has("Gateways")
	take(t, admin, h.Data, "overview")
	admin.Open("/admin/changes")
	admin.Has("catalog")
	take(t, admin, h.Data, "changes")
	pia.Open("/publisher")
	pia.Has("Vessel Positions")
	take(t, pia, h.Data, "apis")
	pia.Open("/publisher/" + h.versions["Harbour Tides"])
	pia.Has("2.1.0")
	take(t, pia, h.Data, "version")
	pia.Follow("Usage")
	pia.Has("Messages")
	take(t, pia, h.Data, "usage")
	dave.Open("/devportal")
	dave.Has("Lock Schedule")
	take(t, dave, h.Data, "catalogue")
	dave.Open("/devportal/" + h.versions["Lock Schedule"] + "/wizard")
	dave.Follow("Generate")
	dave.Has("In a terminal")
	take(t, dave, h.Data, "wizard")
	dave.Open("/devportal/" + h.versions["Harbour Tides"] + "/console")
	dave.Click("Connect")
	dave.Has("Connected: 101")
	for _, text := range []string{`{"subscribe": ["elbe/brunsbuettel", "elbe/cuxhaven"]}`, `{"station": "elbe/brunsbuettel", "height": 2.87, "trend": "rising", "at": "2026-05-04T09:12:00Z"}`} {
		dave.Fill("Message to send", text)
		dave.Click("Send")
	}
	dave.Until(`document.getElementById("c-received").textContent.startsWith("2 messages")`)
	take(t, dave, h.Data, "console")
}

// take takes a picture.
func take(t *testing.T, tab *browser.Tab, data, name string) {
	t.Helper()
	// Of a folder of this test's the reader has no use: it is as make run says it. And the
	// page is shown from its top.
	browser.Read[bool](tab, fmt.Sprintf(`(() => {
		const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		document.body.querySelectorAll("wbr").forEach((w) => w.remove());
		document.body.normalize();
		while (words.nextNode()) words.currentNode.data = words.currentNode.data.replaceAll(%q, "tidegate-data");
		scrollTo(0, 0);
		return true;
	})()`, data))
	picture := withFewColours(t, tab.Picture())
	file := filepath.Join(folder, name+".png")
	if os.Getenv("UPDATE_PICTURES") == "1" {
		if err := os.WriteFile(file, picture, 0o644); err != nil { //nolint:gosec // a document is for all
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: make pictures takes it", err)
	}
	for of, text := range map[string][]byte{"taken now": picture, "in docs": there} {
		config, err := png.DecodeConfig(bytes.NewReader(text))
		if err != nil || config.Width != width || config.Height != height || len(text) > mostBytes {
			t.Errorf("the picture %s %s has %d times %d pixels in %d bytes, %v, want %d times %d in at most %d", name, of, config.Width, config.Height, len(text), err, width, height, mostBytes)
		}
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

// newHarbour starts a Tidegate in which APIs have been used for a day.
func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{Tidegate: webtest.Start(t, "-catalog.gateway-urls", "wss://ws.harbour.example"), t: t, versions: map[string]string{}}
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
