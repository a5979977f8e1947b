package cors

import (
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	tests := []struct{ text, want, refusal string }{
		{"", "", ""},
		{" , ", "", ""},
		{"https://app.example.com, http://localhost:3000,https://app.example.com", "https://app.example.com,http://localhost:3000", ""},
		{"http://[::1]:3000,capacitor://localhost", "http://[::1]:3000,capacitor://localhost", ""},
		{"*", "", "a wildcard is not allowed"},
		{"https://*.example.com", "", "a wildcard is not allowed"},
		{"null", "", `"null" is the origin of pages without one`},
		{"app.example.com", "", "is not an origin"},
		{"https://app.example.com/", "", "is not an origin"},
		{"https://user@app.example.com", "", "is not an origin"},
		{"https://app.example.com:", "", "is not an origin"},
		{"https://app.example.com?x", "", "is not an origin"},
		{"https://", "", "is not an origin"},
		{"https://App.example.com", "", "in lower case, https://app.example.com"},
		{"https://app.example.com:443", "", "without the port, https://app.example.com"},
		{"http://localhost:80", "", "without the port, http://localhost"},
		{"http://[0:0::1]:3000", "", "browsers send the address as ::1"},
	}
	for _, tt := range tests {
		var o Origins
		err := o.Set(tt.text)
		if tt.refusal == "" && (err != nil || o.String() != tt.want) {
			t.Errorf("Set(%q) = %q, %v, want %q", tt.text, o, err, tt.want)
		}
		if tt.refusal != "" && (err == nil || !strings.Contains(err.Error(), tt.refusal) || len(o) > 0) {
			t.Errorf("Set(%q) = %q, %v, want %q", tt.text, o, err, tt.refusal)
		}
	}
}
