package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// secure sets the security schemes of a product's version.
func (p *user) secure(t *testing.T, x *product, schemes ...*catalogv1.SecurityScheme) {
	t.Helper()
	v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: x.version.GetName(), Security: schemes}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"security"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.version = v
}

func tokens() *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{}}}
}

func apiKeys() *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}}
}

// apiKey makes an API key of a product's application, changed by edit.
func (p *user) apiKey(t *testing.T, x *product, edit func(*subscriptionv1.APIKey)) *subscriptionv1.APIKey {
	t.Helper()
	key := &subscriptionv1.APIKey{DisplayName: "web", Stage: catalogv1.Stage_STAGE_PRODUCTION}
	if edit != nil {
		edit(key)
	}
	key, err := p.keys.CreateAPIKey(p.ctx(t), &subscriptionv1.CreateAPIKeyRequest{Parent: x.app.GetName(), ApiKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open connects with headers, and returns the status of the answer, and the connection if
// there is one.
func (s *Stack) open(t *testing.T, url string, headers ...string) (*websocket.Conn, int) {
	t.Helper()
	opts := &websocket.DialOptions{HTTPClient: s.http(t), HTTPHeader: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		opts.HTTPHeader.Set(headers[i], headers[i+1])
	}
	conn, res, err := websocket.Dial(within(t), url, opts) //nolint:bodyclose // Dial has read the body
	if err != nil && res == nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	if conn != nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, res.StatusCode
}

// echoesWith waits until a key is let in, and has a message echoed.
func (s *Stack) echoesWith(t *testing.T, url string, headers ...string) *websocket.Conn {
	t.Helper()
	var conn *websocket.Conn
	eventually(t, func() error {
		c, status := s.open(t, url, headers...)
		if c == nil {
			return fmt.Errorf("status %d", status)
		}
		conn = c
		return nil
	})
	echo(t, conn, websocket.MessageText, "hello")
	return conn
}

// withKey opens a session with an API key, and returns the ref that the 101 has.
func (s *Stack) withKey(t *testing.T, url, key string) (*websocket.Conn, string) {
	t.Helper()
	conn, res, err := websocket.Dial(within(t), url, &websocket.DialOptions{HTTPClient: s.http(t), HTTPHeader: http.Header{"Apikey": {key}}}) //nolint:bodyclose // Dial has read the body
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, res.Header.Get("X-Tidegate-Ref")
}

// endsWith wants a connection to be closed with a code.
func endsWith(t *testing.T, what string, conn *websocket.Conn, want int) {
	t.Helper()
	if code, reason := closed(t, conn); code != want {
		t.Errorf("%s: closed with %d %q, want %d", what, code, reason, want)
	}
}

// TestAPIKeys goes through the rows of the contract about API keys, over plain sockets and
// TLS.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Keyed", newBackend(t))
		key, token := p.apiKey(t, x, nil).GetKey(), p.accessToken(t, x)
		address := s.WS + x.path
		refused := func(what string, want int, address string, headers ...string) {
			t.Helper()
			if conn, status := s.open(t, address, headers...); conn != nil || status != want {
				t.Errorf("%s: %d, want %d", what, status, want)
			}
		}
		s.echoesWith(t, address, "Authorization", "Bearer "+token)
		refused("a key where the scheme is off", 401, address, "apikey", key)
		refused("a key in the query where the scheme is off", 401, address+"?apikey="+key)

		p.secure(t, x, tokens(), apiKeys())
		s.echoesWith(t, address, "apikey", key)
		s.echoesWith(t, address+"?apikey="+key)
		s.echoesWith(t, s.WSS+x.path, "apikey", key)
		s.echoesWith(t, address, "Authorization", "Bearer "+token)
		refused("a key that nobody has", 401, address, "apikey", apikey.Declared()[0].Make())
		refused("a key cut short", 401, address, "apikey", key[:len(key)-1])
		refused("a bad token before a good key", 401, address, "Authorization", "Bearer bad", "apikey", key)

		p.secure(t, x, apiKeys())
		eventually(t, func() error {
			if conn, status := s.open(t, address, "Authorization", "Bearer "+token); conn != nil || status != 401 {
				return fmt.Errorf("a token on a key-only API: %d, want 401", status)
			}
			return nil
		})
		refused("a token in the key's place", 401, address, "apikey", token)

		other := p.apiKey(t, &product{app: p.application(t, "Stranger").app}, nil)
		refused("the key of an application without a subscription", 403, address, "apikey", other.GetKey())
		sandbox := p.apiKey(t, x, func(k *subscriptionv1.APIKey) { k.Stage = catalogv1.Stage_STAGE_SANDBOX })
		refused("a key of a stage without an endpoint", 403, address, "apikey", sandbox.GetKey())
		for _, tt := range []struct {
			permitted string
			want      int
		}{{"127.0.0.1", 101}, {"127.0.0.0/8", 101}, {"192.0.2.7", 403}, {"2001:db8::/32", 403}} {
			key := p.apiKey(t, x, func(k *subscriptionv1.APIKey) { k.PermittedAddresses = []string{tt.permitted} })
			if _, status := s.open(t, address, "apikey", key.GetKey(), "X-Forwarded-For", "192.0.2.7", "Forwarded", "for=192.0.2.7"); status != tt.want {
				t.Errorf("a key for %s, from 127.0.0.1 that says it is 192.0.2.7: %d, want %d", tt.permitted, status, tt.want)
			}
		}
		for _, tt := range []struct {
			permitted, header, page string
			want                    int
		}{
			{"https://shop.example.com/a", "Referer", "https://shop.example.com/a", 101},
			{"shop.example.com/a/*", "Referer", "https://shop.example.com/a/b", 101},
			{"*.example.com", "Referer", "https://shop.example.com/", 101},
			{"*.example.com", "Origin", "https://shop.example.com", 101},
			{"*.example.com", "Referer", "https://example.org/", 403},
			{"*.example.com", "X-No", "referer", 403},
		} {
			key := p.apiKey(t, x, func(k *subscriptionv1.APIKey) { k.PermittedReferers = []string{tt.permitted} })
			if _, status := s.open(t, address, "apikey", key.GetKey(), tt.header, tt.page); status != tt.want {
				t.Errorf("a key for %s with %s: %s is %d, want %d", tt.permitted, tt.header, tt.page, status, tt.want)
			}
		}
	})
}

// TestAPIKeySessions: sessions show their key, and end when it expires, is rotated, moved
// or deleted; their records and the key itself say that it was used.
func TestAPIKeySessions(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Sessions", newBackend(t))
		p.secure(t, x, apiKeys())
		address := s.WS + x.path
		key := p.apiKey(t, x, nil)
		first := s.echoesWith(t, address, "apikey", key.GetKey())

		list, err := p.sessions.ListSessions(p.ctx(t), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: fmt.Sprintf("api_key = %q", key.GetName())})
		if err != nil || len(list.GetSessions()) != 1 || list.GetSessions()[0].GetApiKey() != key.GetName() {
			t.Errorf("sessions of the key: %v, %v", list, err)
		}
		counts, err := p.sessions.CountSessions(p.ctx(t), &gatewayv1.CountSessionsRequest{Parent: "gateways/-", GroupBy: "api_key"})
		if err != nil || len(counts.GetCounts()) != 1 || counts.GetCounts()[0].GetName() != key.GetName() {
			t.Errorf("counts by key: %v, %v", counts, err)
		}
		eventually(t, func() error {
			got, err := p.keys.GetAPIKey(p.ctx(t), &subscriptionv1.GetAPIKeyRequest{Name: key.GetName()})
			if err == nil && got.GetLastUseTime() == nil {
				err = errors.New("it was never used")
			}
			return err
		})

		renewed, kept := s.withKey(t, address, key.GetKey())
		next, err := p.keys.RotateAPIKey(p.ctx(t), &subscriptionv1.RotateAPIKeyRequest{Name: key.GetName(), Overlap: durationpb.New(2 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := s.own(t, http.MethodPost, "/-/sessions/"+kept+"/credential", "", "apikey", next.GetKey()); status != http.StatusOK {
			t.Errorf("renewal with the new value = %d %s", status, body)
		}
		second := s.echoesWith(t, address, "apikey", next.GetKey())
		echo(t, first, websocket.MessageText, "within the overlap")
		overlap := s.echoesWith(t, address, "apikey", key.GetKey())
		endsWith(t, "a session of the value that was replaced, after the overlap", first, 4001)
		endsWith(t, "one that began within the overlap", overlap, 4001)
		echo(t, second, websocket.MessageText, "the new value")
		echo(t, renewed, websocket.MessageText, "renewed with the new value")

		update, err := p.keys.UpdateAPIKey(p.ctx(t), &subscriptionv1.UpdateAPIKeyRequest{ApiKey: &subscriptionv1.APIKey{Name: key.GetName(), PermittedAddresses: []string{"127.0.0.1"}}})
		if err != nil {
			t.Fatal(err)
		}
		echo(t, second, websocket.MessageText, "from here")
		update.PermittedAddresses = []string{"192.0.2.7"}
		if _, err := p.keys.UpdateAPIKey(p.ctx(t), &subscriptionv1.UpdateAPIKeyRequest{ApiKey: update, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permitted_addresses"}}}); err != nil {
			t.Fatal(err)
		}
		endsWith(t, "a session from where the key is not good any more", second, 4006)
		endsWith(t, "one that was renewed, from there", renewed, 4006)

		rotated, deleted := p.apiKey(t, x, nil), p.apiKey(t, x, nil)
		third, fourth := s.echoesWith(t, address, "apikey", rotated.GetKey()), s.echoesWith(t, address, "apikey", deleted.GetKey())
		if _, err := p.keys.RotateAPIKey(p.ctx(t), &subscriptionv1.RotateAPIKeyRequest{Name: rotated.GetName(), Overlap: &durationpb.Duration{}}); err != nil {
			t.Fatal(err)
		}
		endsWith(t, "a session of a value that was replaced at once", third, 4001)
		if _, err := p.keys.DeleteAPIKey(p.ctx(t), &subscriptionv1.DeleteAPIKeyRequest{Name: deleted.GetName()}); err != nil {
			t.Fatal(err)
		}
		code, reason := closed(t, fourth)
		if code != 4001 {
			t.Errorf("a session of a key that was deleted: closed with %d %q, want 4001", code, reason)
		}
		_, ref, _ := strings.Cut(reason, "ref=")
		if r := p.record(t, ref); r.GetApiKey() != deleted.GetName() || r.GetEndReason() != usagev1.EndReason_END_REASON_REVOKED {
			t.Errorf("the record says %v of the key %s", r, deleted.GetName())
		}
		records, err := p.usage.ListSessionRecords(p.ctx(t), &usagev1.ListSessionRecordsRequest{Filter: `api_key = "` + deleted.GetName() + `"`})
		if all := records.GetSessionRecords(); err != nil || len(all) != 1 || !strings.HasSuffix(all[0].GetName(), ref) {
			t.Errorf("the records of the key that was deleted are %v, %v, want that of %s alone", all, err, ref)
		}
		for what, key := range map[string]string{"replaced": rotated.GetKey(), "deleted": deleted.GetKey()} {
			if conn, status := s.open(t, address, "apikey", key); conn != nil || status != 401 {
				t.Errorf("a key that was %s: %d, want 401", what, status)
			}
		}

		expires := p.apiKey(t, x, func(k *subscriptionv1.APIKey) { k.ExpireTime = timestamppb.New(time.Now().Add(2 * time.Second)) })
		fifth := s.echoesWith(t, address+"?"+url.Values{"apikey": {expires.GetKey()}}.Encode())
		endsWith(t, "a session of a key that expires", fifth, 4001)
		if late := time.Since(expires.GetExpireTime().AsTime()); late > 3*time.Second {
			t.Errorf("a key that expires ends its session %v later", late)
		}
		if conn, status := s.open(t, address, "apikey", expires.GetKey()); conn != nil || status != 401 {
			t.Errorf("a key that has expired: %d, want 401", status)
		}
	})
}
