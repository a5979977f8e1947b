package routes

import (
	"reflect"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

func TestMessageOf(t *testing.T) {
	first := func(m *catalogv1.FirstMessagePlace) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: m}}
	}
	got, ok := placeOf(first(&catalogv1.FirstMessagePlace{
		Pointer: "/a~1b", Condition: &catalogv1.FirstMessagePlace_Condition{Pointer: "/m", Value: "x"}, PassOn: true, Subprotocols: []string{"mqtt"},
	}))
	want := credential.Message{Pointer: credential.Pointer{"a/b"}, If: &credential.Condition{Pointer: credential.Pointer{"m"}, Value: "x"}, PassOn: true, Protocols: []string{"mqtt"}}
	if !ok || got.Part != credential.FirstMessage || !reflect.DeepEqual(*got.Message, want) {
		t.Errorf("placeOf a first message = %+v, %v, want %+v", got.Message, ok, want)
	}
	if got, ok := placeOf(first(&catalogv1.FirstMessagePlace{})); !ok || !reflect.DeepEqual(*got.Message, credential.Message{}) {
		t.Errorf("placeOf a whole first message = %+v, %v", got.Message, ok)
	}
	for _, m := range []*catalogv1.FirstMessagePlace{
		{Pointer: "a"}, {Pointer: "/a", Condition: &catalogv1.FirstMessagePlace_Condition{Pointer: "~"}},
	} {
		if _, ok := placeOf(first(m)); ok {
			t.Errorf("placeOf(%v) is one that this gateway knows", m)
		}
	}
}

// A place that this gateway does not understand in full is none: the route is not served.
func TestPlaceOf(t *testing.T) {
	header := func(name string, form catalogv1.HeaderPlace_Form) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: name, Form: form}}}
	}
	query := func(name string, encoding catalogv1.QueryPlace_Encoding) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: name, Encoding: encoding}}}
	}
	cookie := func(name string) *catalogv1.CredentialPlace {
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: name}}}
	}
	for _, tt := range []struct {
		in   *catalogv1.CredentialPlace
		want credential.Place
		ok   bool
	}{
		{header("authorization", 0), credential.InHeader("Authorization", credential.Bearer), true},
		{header("Authorization", catalogv1.HeaderPlace_FORM_RAW), credential.InHeader("Authorization", credential.Raw), true},
		{header("x-key", 0), credential.InHeader("X-Key", credential.Raw), true},
		{header("x-key", catalogv1.HeaderPlace_FORM_BEARER), credential.InHeader("X-Key", credential.Bearer), true},
		{query("a", 0), credential.InQuery("a", credential.Raw), true},
		{query("a", catalogv1.QueryPlace_ENCODING_PLAIN), credential.InQuery("a", credential.Raw), true},
		{query("a", catalogv1.QueryPlace_ENCODING_BASE64), credential.InQuery("a", credential.Base64), true},
		{cookie("a"), credential.InCookie("a"), true},
		{&catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Subprotocol{}}, credential.InSubprotocol(), true},
		{in: header("a", 99)}, {in: header("", 0)}, {in: query("a", 99)}, {in: query("", 0)}, {in: cookie("")}, {in: &catalogv1.CredentialPlace{}},
	} {
		if got, ok := placeOf(tt.in); ok != tt.ok || ok && got != tt.want {
			t.Errorf("placeOf(%v) = %v, %v, want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}
