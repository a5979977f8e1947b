package rest

import (
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// FuzzReadObject reads bodies of any kind: what it finds nothing wrong with,
// protobuf's own JSON reader takes too.
func FuzzReadObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"version":"1.0.0","tags":["a",null]}`, `{"endpoints":{"production":"ws://x"},"etag":null}`,
		`{"maxSessionAge":"90s","createTime":"2026-01-31T23:59:59.5Z"}`, `{"security":{"schemes":["SCHEME_NONE"],"places":[]}}`,
		`{"description":"\ud83c\udf0a \ufffd � \ud800"}`, `{"tags":{}}`, `{"max_session_age":"1h"}`, `{"state":2}`, `{"state":"STATE_UNSPECIFIED"}`,
		`{"a":{"b":[{}]}}`, `{"description":"\\ufffd\udc00\ud83c"}`, "{\"version\":\"\x00\"}", `{"version":"x"} {}`, `{"\u0076ersion":"x","version":"y"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		desc := (&catalogv1.Version{}).ProtoReflect().Descriptor()
		o, err := readObject(body, desc, "version")
		if err != nil || len(o.bad) > 0 || !utf8.Valid(body) {
			return
		}
		if err := protojson.Unmarshal(body, &catalogv1.Version{}); err != nil {
			t.Errorf("readObject(%q) found nothing, protojson found: %v", body, err)
		}
	})
}

// TestSnake turns the names of masks into those of fields.
func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"displayName": "display_name", "display_name": "display_name", "endpoints.production,maxSessionAge": "endpoints.production,max_session_age", "": "",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%q) = %q, want %q", in, got, want)
		}
	}
}
