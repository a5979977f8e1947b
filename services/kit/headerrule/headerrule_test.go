package headerrule

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"set:X-Tenant=acme":     "set:X-Tenant=acme",
		"set:X-Equation=a=b:c":  "set:X-Equation=a=b:c",
		"set: X-Tenant = acme ": "set:X-Tenant=acme",
		"secret:X-Key=s3cret":   "secret:X-Key",
		"secret:X-Key":          "secret:X-Key",
		"remove:Cookie":         "remove:Cookie",
		"copy:X-Page=Origin":    "copy:X-Page=Origin",
	} {
		rule, err := Parse(text)
		if err != nil || Text(rule) != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", text, Text(rule), err, want)
		}
	}
	if rule, _ := Parse("secret:X-Key=s3cret"); rule.GetSecret().GetValue() != "s3cret" {
		t.Errorf("the value of a secret is %q", rule.GetSecret().GetValue())
	}
	for _, text := range []string{
		"", "X-Tenant=acme", "set:X-Tenant", "set:X-Tenant=", "set:=acme", "secret:", "secret:X-Key=", "remove:", "remove:Cookie=x",
		"copy:X-Page", "copy:X-Page=", "hide:X=s3cret",
	} {
		if _, err := Parse(text); !errors.Is(err, ErrForm) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Parse(%q) = %v, want ErrForm", text, err)
		}
	}
}
