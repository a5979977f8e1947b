package change_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// described returns a log on a new database whose rows are resources themselves.
func described(t *testing.T) *change.Log {
	t.Helper()
	l := change.NewLog("test", testdb.SQLite(t, schema), quiet(), newClock().now, 0)
	l.Describe(func(row any) proto.Message {
		m, _ := row.(proto.Message)
		return m
	})
	return l
}

func record(t *testing.T, l *change.Log, r change.Record) {
	t.Helper()
	if err := l.Write(t.Context(), "write", func(*change.Tx) (change.Record, error) { return r, nil }); err != nil {
		t.Fatal(err)
	}
}

// What a change can say is bounded: a long value is cut between characters, and no
// field that is redacted is shown, however deep it is.
func TestFieldChangesAreBounded(t *testing.T) {
	l := described(t)
	long := strings.Repeat("ü", 5000)
	secret := &catalogv1.Version{Description: long, Endpoints: &catalogv1.Endpoints{
		Sandbox: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://h/key"}}},
	}}
	record(t, l, change.Record{Resource: "v", After: secret})
	c, err := l.Get(t.Context(), 1)
	if err != nil || len(c.GetFieldChanges()) != 2 {
		t.Fatalf("Get = %v, %v, want two fields", c, err)
	}
	if got := c.GetFieldChanges()[0].GetNewValue(); utf8.RuneCountInString(got) != 257 || !strings.HasSuffix(got, "ü…") {
		t.Errorf("a long value = %q", got)
	}
	if got := c.GetFieldChanges()[1]; !proto.Equal(got, &changev1.FieldChange{Field: "endpoints.sandbox", Secret: true}) {
		t.Errorf("endpoints = %v, want only that they changed", got)
	}
}

// A page of changes that say much is shorter than it was asked to be, and none is left
// out.
func TestPagesFitIntoAnAnswer(t *testing.T) {
	l := described(t)
	const changes = 200
	says := func(letter string) *catalogv1.Version {
		text := strings.Repeat(letter, 300)
		return &catalogv1.Version{Description: text, Version: text, AllowedOrigins: []string{text}, Tags: []string{text}}
	}
	for i := range changes {
		record(t, l, change.Record{Resource: fmt.Sprint(i), Before: says("€"), After: says("₤")})
	}
	seen, pages := 0, 0
	for token := ""; pages == 0 || token != ""; pages++ {
		resp, err := l.List(t.Context(), &changev1.ListChangesRequest{PageSize: changes, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(resp); size > 1<<20 {
			t.Errorf("a page has %d bytes", size)
		}
		seen, token = seen+len(resp.GetChanges()), resp.GetNextPageToken()
	}
	if seen != changes || pages != 2 {
		t.Errorf("%d changes in %d pages, want %d in 2", seen, pages, changes)
	}
}

// A row of another kind is a mistake of the service, and no change is made.
func TestFieldChangesOfTwoKinds(t *testing.T) {
	l := described(t)
	err := l.Write(t.Context(), "write", func(*change.Tx) (change.Record, error) {
		return change.Record{Before: &catalogv1.Api{}, After: &catalogv1.Plan{}}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "a tidegate.catalog.v1.Api became a tidegate.catalog.v1.Plan") {
		t.Errorf("Write = %v", err)
	}
}
