package console

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// buyTicket buys a ticket for the version with the command's token, and puts it into the
// query in place of that. It returns the event that the page is told where it gets none.
func (s *socket) buyTicket(open *command) *event {
	failed := func(err error) *event { return &event{Type: "failed", Text: "there is no ticket: " + err.Error()} }
	ctx, cancel := context.WithTimeout(s.ctx, openWithin)
	defer cancel()
	address := gatewayOf(s.version)
	u, err := url.Parse(address)
	if err != nil {
		return failed(err)
	}
	// The transport is one to the gateway, with TLS where the address says so.
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return s.transport(ctx, address) }
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	at := url.URL{Scheme: "http", Host: u.Host, Path: "/-/tickets", RawQuery: url.Values{"path": {u.EscapedPath()}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return failed(err)
	}
	if _, isKey := apikey.Declared().Of(open.Token); isKey {
		req.Header.Set("apikey", open.Token)
	} else {
		req.Header.Set("Authorization", "Bearer "+open.Token)
	}
	if s.client != "" {
		req.Header.Set("X-Forwarded-For", s.client)
		req.Header.Set("X-Forwarded-Proto", u.Scheme)
	}
	resp, err := client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostBody))
	var answer struct {
		Ticket string `json:"ticket"`
	}
	switch {
	case err != nil:
		return failed(err)
	case resp.StatusCode != http.StatusOK:
		return &event{Type: "refused", Status: resp.StatusCode, Body: string(body), Ref: refOf(body)}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return failed(err)
	}
	q, err := url.ParseQuery(open.Query)
	if err != nil {
		return nil // which the address says
	}
	q.Set("ticket", answer.Ticket)
	open.Query, open.Token = q.Encode(), ""
	return nil
}
