package e2e

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// TestNothingLeft starts a server, uses it, and stops it: no goroutine is left.
// It runs alone, for it counts those of the whole process.
func TestNothingLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("use", func(t *testing.T) {
		s := start(t, newData(t), quick()...)
		p := s.admin(t)
		token := s.sampleToken(t)
		for i, base := range []string{s.WS, s.WSS, s.WS, s.WSS} {
			conn := s.connect(t, base+samplePath, token)
			echo(t, conn, websocket.MessageText, "hello")
			if i < 2 {
				_ = conn.CloseNow()
			}
		}
		s.refused(t, s.WS+"/nothing", "")
		p.plan(t, "Gold")
		if res, err := s.http(t).Get(s.Portal + "/openapi.json"); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("openapi.json: %v, %v", res, err)
		} else {
			body(t, res)
			res.Body.Close()
		}
	})
	goleak.VerifyNone(t, before)
}
