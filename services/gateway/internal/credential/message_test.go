package credential

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParsePointer(t *testing.T) {
	for text, want := range map[string]Pointer{
		"": nil, "/": {""}, "/token": {"token"}, "/a/0/b~1c~0d": {"a", "0", "b/c~d"}, "/~01": {"~1"}, "//": {"", ""}, "/ ä": {" ä"},
	} {
		if got, ok := ParsePointer(text); !ok || !slices.Equal(got, want) || got.String() != text {
			t.Errorf("ParsePointer(%q) = %q, %v, want %q; String() = %q", text, got, ok, want, got.String())
		}
	}
	for _, text := range []string{"token", "a/b", "/~", "/~2", "/a~/b"} {
		if got, ok := ParsePointer(text); ok {
			t.Errorf("ParsePointer(%q) = %q, want that it is none", text, got)
		}
	}
}

func TestFind(t *testing.T) {
	at := func(text string) Message {
		p, ok := ParsePointer(text)
		if !ok {
			t.Fatalf("%q is no pointer", text)
		}
		return Message{Pointer: p}
	}
	with := func(m Message, pointer, value string) Message {
		m.If = &Condition{at(pointer).Pointer, value}
		return m
	}
	long := strings.Repeat("a", maxToken)
	for _, tt := range []struct {
		name string
		m    Message
		typ  Type
		text string
		want string
		err  error
	}{
		{"the whole text", Message{}, OAuth2, "\t abc.d\r\n", "abc.d", nil},
		{"a key", Message{}, key, "1:2:abc", "1:2:abc", nil},
		{"a key is no token", Message{}, OAuth2, "1:2:abc", "", errMalformed},
		{"two words", Message{}, OAuth2, "Bearer abc", "", errMalformed},
		{"nothing", Message{}, OAuth2, " \n", "", ErrMissing},
		{"the longest", Message{}, OAuth2, long, long, nil},
		{"longer", Message{}, OAuth2, long + "a", "", errMalformed},
		{"no UTF-8", Message{}, key, "a\xff", "", errMalformed},
		{"a member", at("/token"), OAuth2, `{"method":"x","token":"abc","n":1e400}`, "abc", nil},
		{"an escaped value", at("/token"), key, `{"token":"\u0061:\/b"}`, "a:/b", nil},
		{"an element", at("/0/1"), OAuth2, `[["x","abc"]]`, "abc", nil},
		{"an index with a zero before it", at("/01"), OAuth2, `["x","abc"]`, "", ErrMissing},
		{"an index beyond the end", at("/2"), OAuth2, `["x","abc"]`, "", ErrMissing},
		{"the end of the list", at("/-"), OAuth2, `["x"]`, "", ErrMissing},
		{"a step into a text", at("/a/b"), OAuth2, `{"a":"b"}`, "", ErrMissing},
		{"the empty name", at("/"), OAuth2, `{"":"abc"}`, "abc", nil},
		{"white space around a member", at("/token"), OAuth2, `{"token":" abc"}`, "", errMalformed},
		{"an empty member", at("/token"), OAuth2, `{"token":""}`, "", ErrMissing},
		{"null", at("/token"), OAuth2, `{"token":null}`, "", ErrMissing},
		{"a list", at("/token"), OAuth2, `{"token":["abc"]}`, "", ErrMissing},
		{"a text instead of an object", at("/token"), OAuth2, `"abc"`, "", ErrMissing},
		{"the condition holds", with(at("/token"), "/a/m", "x"), OAuth2, `{"token":"abc","a":{"m":"x"}}`, "abc", nil},
		{"it does not", with(at("/token"), "/a/m", "x"), OAuth2, `{"token":"abc","a":{"m":"y"}}`, "", ErrMissing},
		{"it is of another kind", with(at("/token"), "/m", "1"), OAuth2, `{"token":"abc","m":1}`, "", ErrMissing},
		{"what it is about is not there", with(at("/token"), "/m", ""), OAuth2, `{"token":"abc"}`, "", ErrMissing},
		{"a name twice", at("/token"), OAuth2, `{"token":"abc","token":"abc"}`, "", errMalformed},
		{"a name twice, escaped", at("/token"), OAuth2, `{"token":"abc","tok\u0065n":"d"}`, "", errMalformed},
		{"a name twice inside", at("/token"), OAuth2, `{"token":"abc","a":[{"b":1,"b":1}]}`, "", errMalformed},
		{"one name in two objects", at("/token"), OAuth2, `{"token":"abc","a":{"token":"d"}}`, "abc", nil},
		{"text after it", at("/token"), OAuth2, `{"token":"abc"} x`, "", errMalformed},
		{"another object after it", at("/token"), OAuth2, `{"token":"abc"}{"token":"d"}`, "", errMalformed},
		{"cut off", at("/token"), OAuth2, `{"token":"abc"`, "", errMalformed},
		{"no text", at("/token"), OAuth2, ``, "", errMalformed},
		{"deep", at("/token"), OAuth2, `{"token":"abc","a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`, "abc", nil},
		{"too deep", at("/token"), OAuth2, `{"token":"abc","a":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`, "", errMalformed},
	} {
		got, err := tt.m.Find(tt.typ, []byte(tt.text))
		if got.Value != tt.want || !errors.Is(err, tt.err) || err == nil && got.Type != tt.typ {
			t.Errorf("%s: Find(%q) = %+v, %v, want %q, %v", tt.name, tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestAnswer(t *testing.T) {
	m := Message{Protocols: []string{"a", "b"}}
	for offered, want := range map[string]string{"": "", "c": "", "b a": "b", "c a b": "a", "A": ""} {
		if got := m.Answer(strings.Fields(offered)); got != want {
			t.Errorf("Answer(%q) = %q, want %q", offered, got, want)
		}
	}
}

// FuzzFind: whatever comes is answered without a failure, and what is found is what
// encoding/json finds, in a text that it takes.
func FuzzFind(f *testing.F) {
	for _, text := range []string{`{"token":"abc"}`, `{"token":"a","token":"b"}`, `{"t":[{"token":1}]}`, "[[[", "\"\xff\"", `{"token":"\ud800"}`, `{"token":"abc"}x`} {
		f.Add(text)
	}
	m := Message{Pointer: Pointer{"token"}}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := m.Find(key, []byte(text))
		if (err == nil) != (got.Value != "") {
			t.Fatalf("Find(%q) = %+v, %v, want either", text, got, err)
		}
		if err != nil {
			return
		}
		var object map[string]any
		if e := json.Unmarshal([]byte(text), &object); e != nil || object["token"] != got.Value {
			t.Errorf("Find(%q) = %q, and encoding/json reads %v, %v", text, got.Value, object["token"], e)
		}
	})
}
