package deflate

import (
	"errors"
	"strings"
	"testing"
)

const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// TestOffers: what clients offer, and what backends get of it. "" is no offer.
func TestOffers(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		",":                  "",
		"permessage-deflate": both,
		"permessage-deflate; client_max_window_bits":            both + "; client_max_window_bits", // browsers, ws, python3-websockets
		"permessage-deflate;client_max_window_bits=10":          both + "; client_max_window_bits=10",
		"permessage-deflate; server_max_window_bits=9":          both + "; server_max_window_bits=9",
		"permessage-deflate; server_max_window_bits=\"1\\2\"":   both + "; server_max_window_bits=12",
		"\tpermessage-deflate ;  server_max_window_bits = 15 ,": both + "; server_max_window_bits=15",
		both: both,
		"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits": both + "; server_max_window_bits=10; client_max_window_bits, " + both + "; client_max_window_bits",
		"x-webkit-deflate-frame, permessage-deflate, permessage-bzip2; a=\"b\"":                                             both,
		"PerMessage-Deflate": "",
		// No server may accept these.
		"permessage-deflate; unknown":                                                "",
		"permessage-deflate; unknown, permessage-deflate":                            both,
		"permessage-deflate; server_no_context_takeover=1":                           "",
		"permessage-deflate; client_no_context_takeover=\"true\"":                    "",
		"permessage-deflate; server_max_window_bits":                                 "",
		"permessage-deflate; server_max_window_bits=7":                               "",
		"permessage-deflate; server_max_window_bits=16":                              "",
		"permessage-deflate; server_max_window_bits=08":                              "",
		"permessage-deflate; server_max_window_bits=+8":                              "",
		"permessage-deflate; client_max_window_bits=264":                             "",
		"permessage-deflate; client_max_window_bits=x":                               "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits":         "",
		"permessage-deflate; server_max_window_bits=8; server_max_window_bits=8":     "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": "",
		strings.Repeat("permessage-deflate,", 100):                                   strings.Repeat(both+", ", maxOffers-1) + both,
	} {
		o, err := Parse([]string{in})
		if got := string(o.AppendTo(nil)); err != nil || got != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if o, err := Parse([]string{"a", "permessage-deflate", "b; c"}); err != nil || len(o) != 1 {
		t.Errorf("Parse of three lines = %v, %v, want the offer in the second", o, err)
	}
}

func TestMalformed(t *testing.T) {
	for _, in := range []string{
		"permessage-deflate;", ";", "=", "a b", "permessage-deflate; =8", "permessage-deflate; server_max_window_bits=",
		"permessage-deflate; server_max_window_bits=\"8", "permessage-deflate; server_max_window_bits=\"8\" 9", "permessage-deflate; a=\"b c\"",
		"permessage-deflate; a=\"\"", "permessage-deflate; a=\"b\\", "perméssage", "a, b c, permessage-deflate", "\"permessage-deflate\"", "a;;b", "a=b",
	} {
		if o, err := Parse([]string{in}); !errors.Is(err, ErrMalformed) {
			t.Errorf("Parse(%q) = %v, %v, want %v", in, o, err, ErrMalformed)
		}
	}
}

// TestAccept: what backends answer to an offer, and what the client is answered.
func TestAccept(t *testing.T) {
	const plain, asks, narrow = "permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"
	for _, tt := range []struct {
		offer, answer, want string
		err                 error
	}{
		{plain, "", "", nil},
		{plain, " , ", "", nil},
		{plain, both, both, nil},
		{plain, "permessage-deflate; server_no_context_takeover", both, nil}, // the client keeps no context, and says so
		{plain, both + "; server_max_window_bits=12", both + "; server_max_window_bits=12", nil},
		{asks, both + "; client_max_window_bits=\"12\"", both + "; client_max_window_bits=12", nil},
		{asks, both + "; client_max_window_bits=8; server_max_window_bits=8", both + "; server_max_window_bits=8; client_max_window_bits=8", nil},
		{narrow, both + "; server_max_window_bits=10", both + "; server_max_window_bits=10", nil},
		{narrow, both + "; server_max_window_bits=9; client_max_window_bits=11", both + "; server_max_window_bits=9; client_max_window_bits=11", nil},
		{narrow + ", " + plain, both, both, nil},

		{plain, "permessage-deflate", "", ErrTakeover},
		{plain, "permessage-deflate; client_no_context_takeover", "", ErrTakeover},
		{plain, both + "; client_max_window_bits=15", "", ErrParameters},
		{asks, both + "; client_max_window_bits", "", ErrParameters},
		{asks, both + "; server_max_window_bits", "", ErrParameters},
		{asks, both + "; server_max_window_bits=16", "", ErrParameters},
		{asks, both + "; other", "", ErrParameters},
		{asks, both + "; server_no_context_takeover", "", ErrParameters},
		{narrow, both, "", ErrParameters},
		{narrow, both + "; server_max_window_bits=11", "", ErrParameters},
		{narrow, both + "; server_max_window_bits=10; client_max_window_bits=12", "", ErrParameters},
		{plain, both + ", " + both, "", ErrNotOffered},
		{plain, "permessage-bzip2", "", ErrNotOffered},
		{"permessage-bzip2", "permessage-bzip2", "", ErrNotOffered},
		{"", both, "", ErrNotOffered},
		{plain, "permessage-deflate;", "", ErrMalformed},
	} {
		o, err := Parse([]string{tt.offer})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Accept([]string{tt.answer}); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("to %q a backend answers %q: %q, %v, want %q, %v", tt.offer, tt.answer, got, err, tt.want, tt.err)
		}
	}
}

// FuzzExtensions: what is passed on of any header is read again as the same, and what is
// accepted of any answer never has context takeover.
func FuzzExtensions(f *testing.F) {
	for _, in := range []string{both, "permessage-deflate; client_max_window_bits", "a; b=\"c\\d\", permessage-deflate; server_max_window_bits=\"9\"", "a;", "\"", ",,"} {
		f.Add(in, in)
	}
	f.Fuzz(func(t *testing.T, offer, answer string) {
		o, err := Parse([]string{offer})
		if err != nil {
			if len(o) > 0 {
				t.Fatalf("Parse(%q) = %v beside %v", offer, o, err)
			}
			return
		}
		passed := string(o.AppendTo(nil))
		again, err := Parse([]string{passed})
		if got := string(again.AppendTo(nil)); err != nil || got != passed {
			t.Fatalf("Parse(%q) = %q, which is read as %q, %v", offer, passed, got, err)
		}
		if got, err := o.Accept([]string{answer}); err == nil && got != "" && !strings.HasPrefix(got, both) {
			t.Fatalf("to %q the answer %q becomes %q", passed, answer, got)
		}
	})
}
