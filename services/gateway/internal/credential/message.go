package credential

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Message says how the first message of a client holds a credential.
type Message struct {
	// Pointer is where in the message, which is JSON, the credential is a string; nil: the
	// whole text is the credential.
	Pointer Pointer
	// If is a string that the message has to have; nil: none.
	If *Condition
	// PassOn says whether the backend gets the message.
	PassOn bool
	// Protocols are the sub-protocols of the version: what answers a client.
	Protocols []string
}

// Condition is a string that a message has to have.
type Condition struct {
	Pointer Pointer
	Value   string
}

// Pointer is where in a JSON text a value is (RFC 6901): the names and indices that lead
// there, unescaped.
type Pointer []string

// ParsePointer reads a pointer such as "/a/0/b~1c"; that of "" is nil, the whole text. ok
// is false for what is none.
func ParsePointer(text string) (p Pointer, ok bool) {
	if text == "" {
		return nil, true
	}
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return nil, false
	}
	for step := range strings.SplitSeq(rest, "/") {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(step)
		if strings.Contains(plain, "~") {
			return nil, false
		}
		p = append(p, strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
	}
	return p, true
}

// String returns the pointer as RFC 6901 writes it.
func (p Pointer) String() string {
	var text strings.Builder
	for _, step := range p {
		text.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return text.String()
}

// where describes to a user where in a message the credential is.
func (m *Message) where() string {
	if m == nil || m.Pointer == nil {
		return ""
	}
	text := ", in JSON at " + m.Pointer.String()
	if m.If != nil {
		text += " where " + m.If.Pointer.String() + " is " + strconv.Quote(m.If.Value)
	}
	return text
}

// maxDepth is how deep a message may nest.
const maxDepth = 64

// Find returns the credential in the text of a message, for a scheme of the type. The
// error is ErrMissing where the message has nothing at the pointer or not what is asked
// for, or says that it is malformed: no UTF-8, no JSON, with the same name twice in one
// object, or with something that cannot be a credential.
func (m *Message) Find(t Type, text []byte) (Credential, error) {
	if !utf8.Valid(text) {
		return Credential{}, errMalformed
	}
	value := strings.TrimSpace(string(text))
	if m.Pointer != nil {
		tree, err := parse(value)
		if err != nil {
			return Credential{}, errMalformed
		}
		if m.If != nil && m.If.Pointer.in(tree) != m.If.Value {
			return Credential{}, ErrMissing
		}
		value, _ = m.Pointer.in(tree).(string)
	}
	if value == "" {
		return Credential{}, ErrMissing
	}
	value, err := t.check(value)
	if err != nil {
		return Credential{}, err
	}
	return Credential{Type: t, Value: value}, nil
}

// in returns the value that the pointer leads to, nil for none.
func (p Pointer) in(tree any) any {
	for _, step := range p {
		switch value := tree.(type) {
		case map[string]any:
			tree = value[step]
		case []any:
			i, err := strconv.ParseUint(step, 10, 31)
			if err != nil || int(i) >= len(value) || step != strconv.FormatUint(i, 10) {
				return nil
			}
			tree = value[i]
		default:
			return nil
		}
	}
	return tree
}

var errNotJSON = errors.New("not JSON with distinct names")

// parse reads a JSON text. Which of two members of one name is meant depends on who reads,
// so they are an error.
func parse(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	tree, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return tree, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil || depth > maxDepth {
		return nil, errNotJSON
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, end(d)
	case json.Delim('{'):
		members := map[string]any{}
		for d.More() {
			name, err := d.Token()
			text, ok := name.(string)
			if _, twice := members[text]; err != nil || !ok || twice {
				return nil, errNotJSON
			}
			if members[text], err = parseValue(d, depth+1); err != nil {
				return nil, err
			}
		}
		return members, end(d)
	}
	return token, nil
}

// end reads the end of a list or an object.
func end(d *json.Decoder) error {
	_, err := d.Token()
	return err
}

// Answer returns which of the sub-protocols that a client offers, in its order, is the
// answer before its first message; "" for none.
func (m *Message) Answer(offered []string) string {
	i := slices.IndexFunc(offered, func(name string) bool { return slices.Contains(m.Protocols, name) })
	if i < 0 {
		return ""
	}
	return offered[i]
}
