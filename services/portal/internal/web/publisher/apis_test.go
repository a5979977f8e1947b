package publisher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// manyVersions has an API whose traffic is that of its newest version of more than a hundred:
// the list of APIs shows it.
func manyVersions(t *testing.T, s *webtest.Tidegate) {
	b := s.User(t, "crew", ui.Creator, ui.Publisher)
	ctx, catalog := s.As(t, "crew", webtest.UserPassword), catalogv1.NewCatalogServiceClient(s.Conn)
	first := s.Publish(t, ctx, "Crowd", echo(t), webtest.ForAll)
	api, _, _ := strings.Cut(first.GetName(), "/versions/")
	var newest *catalogv1.Version
	for i := range 120 {
		var err error
		newest, err = catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
			Parent: api, SourceVersion: first.GetName(), Version: &catalogv1.Version{Version: fmt.Sprintf("2.0.%d", i)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: newest.GetName()}); err != nil {
		t.Fatal(err)
	}
	wait, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	conn, _, err := websocket.Dial(wait, s.WS+"/crowd/"+newest.GetVersion(), nil) //nolint:bodyclose // Dial has read the body
	for err != nil && wait.Err() == nil {                                         // the gateway has not heard of it yet
		conn, _, err = websocket.Dial(wait, s.WS+"/crowd/"+newest.GetVersion(), nil) //nolint:bodyclose // as above
	}
	if err == nil {
		err = conn.Write(wait, websocket.MessageText, []byte("ahoy"))
	}
	if err == nil {
		_, _, err = conn.Read(wait)
	}
	if err == nil {
		err = conn.Close(websocket.StatusNormalClosure, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	for !b.Open("/publisher").Has("2.0.119 Published 0 2") { // no live session, two messages
		if wait.Err() != nil {
			t.Fatalf("the list does not show the traffic of the newest version:\n%s", b.Page.Text())
		}
	}
}
