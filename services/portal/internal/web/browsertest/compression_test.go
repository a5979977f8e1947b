package browsertest

import (
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// TestCompression has Chromium agree with a backend on permessage-deflate, while a limit
// drops some of the messages: what follows is read as it was sent. Messages are larger than the
// version's greatest, unless they are compressed.
func TestCompression(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	plan, err := catalogv1.NewCatalogServiceClient(w.Conn).CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{
		DisplayName: own("Drops"), Limits: []*catalogv1.Limit{{Name: "drops", Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Rate{
			Rate: &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 150, Per: durationpb.New(time.Second), Burst: 4},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	echo := backend(t, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1})
	v := w.Publish(t, ctx, own("Compressed"), echo, webtest.ForAll, func(v *catalogv1.Version) {
		v.Deflate, v.MaxMessageBytes, v.TrafficPlan = true, 1000, plan.GetName()
	})
	tab := shared.chromium.Tab(t, emptyPage(t), w.WS)
	tab.Open("/")
	got := browser.Read[string](tab, `new Promise((said) => {
		const text = (n) => "message " + n + ": " + "the same in all of them ".repeat(100)
		const socket = new WebSocket("`+w.WS+addressOf(v)+`")
		let sent = 0, next = 0, dropped = 0, after = 0, timer
		const send = () => { for (let i = 0; i < 5; i++) socket.send(text(sent++)) }
		socket.onopen = () => { send(); timer = setInterval(send, 50) }
		socket.onmessage = ({ data }) => {
			if (data.startsWith('{"error"')) {
				dropped += JSON.parse(data).error.dropped
			} else {
				while (next < sent && text(next) !== data) next++
				if (next++ === sent) said("garbled: " + data)
				if (dropped > 0 && ++after > 3) {
					clearInterval(timer)
					socket.close()
					said(socket.extensions)
				}
			}
		}
		socket.onclose = ({ code }) => said("closed " + code)
	})`)
	if want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
}
