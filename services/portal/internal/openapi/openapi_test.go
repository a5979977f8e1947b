package openapi

import (
	"strings"
	"testing"
)

func TestTexts(t *testing.T) {
	d := &document{words: map[string]string{"page_size": "pageSize", "client_id": "clientId"}}
	tests := []struct{ comment, first, rest string }{
		{"Returns a user. users/me is\nthe caller.", "Returns a user.", "users/me is the caller."},
		{"Lists plans\n\nat page_size, {page_size}, with a client_id.", "Lists plans\n\nat pageSize, {page_size}, with a client_id.", ""},
		{"Why.\n\n - ONE: The\n   first.\n - TWO: 1.5.", "Why.", "- ONE: The\n   first.\n - TWO: 1.5."},
		{"", "", ""},
	}
	for _, tt := range tests {
		if first, rest := d.split(tt.comment); first != tt.first || rest != tt.rest {
			t.Errorf("split(%q) = %q, %q, want %q, %q", tt.comment, first, rest, tt.first, tt.rest)
		}
	}
}

func TestPatterns(t *testing.T) {
	for expression, want := range map[string]string{
		`!rule || this.matches('^plans/[a-z0-9-]{1,64}$')`:              "^plans/[a-z0-9-]{1,64}$",
		`this.matches('^[A-Za-z0-9_.-]{1,30}$')`:                        "^[A-Za-z0-9_.-]{1,30}$",
		`this.matches('^a\\.b$')`:                                       `^a\.b$`,
		`this.matches('^(?i)authorization$')`:                           "",
		`!rule || this.matches('^[^\\p{Z}]$')`:                          "",
		`this == '' || this.matches('^a$')`:                             "",
		`this.size() <= 255 && this.matches('^a$') && this.size() >= 1`: "",
	} {
		if got := patternOf(expression); got != want {
			t.Errorf("patternOf(%s) = %q, want %q", expression, got, want)
		}
	}
}

// TestGenerateRefuses says what is wrong with what it is given.
func TestGenerateRefuses(t *testing.T) {
	operation := func(id string) string {
		return `{"swagger":"2.0","info":{"title":"x","version":"v1"},"paths":{"/v1/x":{"get":{"operationId":"` + id + `",
			"responses":{"200":{"description":"x","schema":{"type":"object"}}}}}}}`
	}
	for swagger, want := range map[string]string{
		"nonsense":                          "read the generated document: ",
		operation("No_Method"):              "describe operations: GET /v1/x: there is no method No_Method",
		operation("CatalogService_GetPlan"): "add examples: examples.yaml: there is no schema ",
	} {
		if _, err := Generate([]byte(swagger)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Generate(%s) = %v, want %q", swagger, err, want)
		}
	}
}
