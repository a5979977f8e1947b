package credentialplace

import (
	"encoding/json"
	"net/url"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// parseFirst reads the options of a first message, each after a comma.
func parseFirst(options string) (*catalogv1.CredentialPlace, error) {
	m := &catalogv1.FirstMessagePlace{}
	seen := map[string]bool{}
	for i, option := range strings.Split(options, ",") {
		if i == 0 {
			if option != "" {
				return nil, ErrForm
			}
			continue
		}
		name, value, valued := strings.Cut(option, "=")
		pointer, wanted, two := strings.Cut(value, "=")
		pointer, err1 := url.PathUnescape(pointer)
		wanted, err2 := url.PathUnescape(wanted)
		if err1 != nil || err2 != nil || two != (name == "if") || valued != (name != "pass-on") || valued && value == "" || seen[name] && name != "protocol" {
			return nil, ErrForm
		}
		seen[name] = true
		switch name {
		case "at":
			m.Pointer = pointer
		case "if":
			m.Condition = &catalogv1.FirstMessagePlace_Condition{Pointer: pointer, Value: wanted}
		case "protocol":
			m.Subprotocols = append(m.Subprotocols, pointer)
		case "pass-on":
			m.PassOn = true
		default:
			return nil, ErrForm
		}
	}
	return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: m}}, nil
}

func firstText(m *catalogv1.FirstMessagePlace) string {
	escape := strings.NewReplacer("%", "%25", ",", "%2C", "=", "%3D", " ", "%20", "\n", "%0A", "\r", "%0D").Replace
	parts := []string{"first-message"}
	if m.GetPointer() != "" {
		parts = append(parts, "at="+escape(m.GetPointer()))
	}
	if c := m.GetCondition(); c != nil {
		parts = append(parts, "if="+escape(c.GetPointer())+"="+escape(c.GetValue()))
	}
	for _, name := range m.GetSubprotocols() {
		parts = append(parts, "protocol="+escape(name))
	}
	if m.GetPassOn() {
		parts = append(parts, "pass-on")
	}
	return strings.Join(parts, ",")
}

// Message returns a first message with a credential, as m wants it: the credential alone, or
// JSON with it and with what else the message has to say.
func Message(m *catalogv1.FirstMessagePlace, credential string) string {
	if m.GetPointer() == "" {
		return credential
	}
	tree := map[string]any{}
	if c := m.GetCondition(); c != nil {
		put(tree, c.GetPointer(), c.GetValue())
	}
	put(tree, m.GetPointer(), credential)
	text, _ := json.Marshal(tree) // of strings, which does not fail
	return string(text)
}

// put sets the member of an object that a pointer (RFC 6901) leads to. An index is the name
// of a member, too.
func put(object map[string]any, pointer, value string) {
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, step := range steps {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		if i == len(steps)-1 {
			object[step] = value
			return
		}
		next, ok := object[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			object[step] = next
		}
		object = next
	}
}
