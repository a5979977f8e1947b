// Package headerrule writes the rules of headers for backends as users do, on the command
// line and in pages:
//
//	set:NAME=VALUE       backends get this value
//	secret:NAME=VALUE    the same, and nobody is shown it
//	secret:NAME          the secret that is stored stays
//	remove:NAME          backends do not get the header
//	copy:NAME=FROM       backends get what the client sent as FROM
package headerrule

import (
	"errors"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Forms says how rules are written, for messages.
const Forms = "set:NAME=VALUE, secret:NAME=VALUE, secret:NAME (the stored value stays), remove:NAME or copy:NAME=FROM"

// ErrForm means that a text is no rule.
var ErrForm = errors.New("must be " + Forms)

// Parse reads a rule. The error is ErrForm, which has nothing of the text. Whether such a
// rule can be had, the catalog says.
func Parse(text string) (*catalogv1.HeaderRule, error) {
	kind, rest, _ := strings.Cut(text, ":")
	name, value, valued := strings.Cut(rest, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	rule := &catalogv1.HeaderRule{Name: name}
	switch {
	case name == "" || valued && value == "":
		return nil, ErrForm
	case kind == "set" && valued:
		rule.Action = &catalogv1.HeaderRule_Set{Set: value}
	case kind == "secret":
		rule.Action = &catalogv1.HeaderRule_Secret{Secret: &catalogv1.Secret{Value: value}}
	case kind == "remove" && !valued:
		rule.Action = &catalogv1.HeaderRule_Remove{Remove: true}
	case kind == "copy" && valued:
		rule.Action = &catalogv1.HeaderRule_CopyOf{CopyOf: value}
	default:
		return nil, ErrForm
	}
	return rule, nil
}

// Text returns a rule as Parse reads it, a secret without its value; "" for a rule of a kind
// that this program does not know.
func Text(rule *catalogv1.HeaderRule) string {
	switch action := rule.GetAction().(type) {
	case *catalogv1.HeaderRule_Set:
		return "set:" + rule.GetName() + "=" + action.Set
	case *catalogv1.HeaderRule_Secret:
		return "secret:" + rule.GetName()
	case *catalogv1.HeaderRule_Remove:
		return "remove:" + rule.GetName()
	case *catalogv1.HeaderRule_CopyOf:
		return "copy:" + rule.GetName() + "=" + action.CopyOf
	}
	return ""
}
