package credential

import (
	"encoding/base64"
	"errors"
	"strings"
)

// pairName is the sub-protocol that stands before one that is a credential.
const pairName = "bearer"

// ErrAlone means that a sub-protocol of Kubernetes' form is the only one: the answer must
// be one that the client offers, and a credential is never echoed.
var ErrAlone = errors.New("a sub-protocol " + kubernetes + "TOKEN needs another sub-protocol beside it, which can be the answer")

// cutProtocol cuts the sub-protocols that hold a credential, of either form, and returns
// the one that there is. answer is "bearer" where that was offered with a credential.
func (h *Handshake) cutProtocol() (value, answer string, err error) {
	var kept []string
	count, encoded := 0, false
	for i := 0; i < len(h.Protocols); i++ {
		switch name := h.Protocols[i]; {
		case strings.HasPrefix(name, kubernetes):
			value, encoded = name[len(kubernetes):], true
			count++
		case name == pairName && i+1 < len(h.Protocols) && !strings.HasPrefix(h.Protocols[i+1], kubernetes):
			i++
			value, answer, encoded = h.Protocols[i], pairName, false
			count++
		default:
			kept = append(kept, name)
		}
	}
	if count == 0 {
		return "", "", ErrMissing
	}
	h.Protocols = kept
	switch {
	case count > 1:
		return "", answer, errMalformed
	case !encoded:
		return value, answer, nil
	case len(kept) == 0:
		return "", "", ErrAlone
	}
	decoded, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return "", "", errMalformed
	}
	return string(decoded), "", nil
}
