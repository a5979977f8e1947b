package credential

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// Recognizer tells credentials of this installation from everything else by their
// form: JWTs of the installation's issuer, expired or forged ones too, made secrets, and
// API keys of every format. It is safe for concurrent use.
type Recognizer struct {
	issuer atomic.Pointer[string]
	keys   apikey.Formats
	// shortest is the length of the shortest credential, in bytes.
	shortest int
}

// NewRecognizer returns a recognizer of an issuer's tokens, and of API keys of these
// formats. While the issuer is not known, "", every JWT of a type that Tidegate issues
// counts as one of ours.
func NewRecognizer(issuer string, keys apikey.Formats) *Recognizer {
	r := &Recognizer{keys: keys, shortest: min(madesecret.MinLength, keys.MinLength())}
	r.Learn(issuer)
	return r
}

// Learn sets the issuer.
func (r *Recognizer) Learn(issuer string) { r.issuer.Store(&issuer) }

// IsKey reports whether a value has the form of an API key. What has not needs no look-up.
func (r *Recognizer) IsKey(value string) bool {
	_, ok := r.keys.Of(value)
	return ok
}

// Issuer returns the issuer, "" while it is not known.
func (r *Recognizer) Issuer() string { return *r.issuer.Load() }

// Holds reports whether a whole value is a credential of ours: as it is,
// percent-decoded, or decoded once from base64 of either alphabet, padded or not; bare,
// quoted, or after the name of an authentication scheme such as Bearer, and for Basic
// as the user name or the password. Most values are told by their length or their
// first characters, without allocating.
func (r *Recognizer) Holds(value string) bool {
	if len(value) < r.shortest {
		return false
	}
	if r.holds(value) {
		return true
	}
	decoded, ok := pieces.Unescape(value)
	return ok && len(decoded) < len(value) && r.holds(decoded)
}

// holds is Holds for a value that is not percent-encoded.
func (r *Recognizer) holds(value string) bool {
	value = trim(value)
	if r.is(value) || r.is(r.fromBase64(value)) {
		return true
	}
	scheme, rest := cutScheme(value)
	switch {
	case rest == "":
		return false
	case strings.EqualFold(scheme, "Basic"):
		pair := decodeBase64(rest)
		user, password, _ := strings.Cut(pair, ":")
		if r.is(trim(user)) || r.is(trim(password)) {
			return true
		}
		at := strings.LastIndexByte(pair, ':') // the user name may be a key that has colons
		return at > len(user) && r.is(trim(pair[:at]))
	default:
		return r.is(rest) || r.is(r.fromBase64(rest))
	}
}

// is reports whether s is a credential of ours as it was made.
func (r *Recognizer) is(s string) bool {
	if madesecret.Recognized(s) || strings.HasPrefix(s, jwtPrefix) && r.isToken(s) {
		return true
	}
	return r.IsKey(s)
}

// jwtPrefix begins every JWT: it is `{"` in base64.
const jwtPrefix = "eyJ"

func (r *Recognizer) isToken(s string) bool {
	header, rest, _ := strings.Cut(s, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || !decodes(signature) {
		return false
	}
	if issuer := r.Issuer(); issuer != "" {
		var claims struct {
			Issuer string `json:"iss"`
		}
		return readPart(payload, &claims) && claims.Issuer == issuer
	}
	var head struct {
		Type string `json:"typ"`
	}
	return readPart(header, &head) && slices.Contains([]string{identity.ApplicationType, identity.UserType, identity.BackendIdentityType}, head.Type)
}

// readPart reads a part of a JWT, and reports whether it could.
func readPart(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

func decodes(part string) bool {
	_, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil
}

// trim removes what programs leave around a credential: white space, such as the end
// of the line in a file, and quotes.
func trim(s string) string { return strings.Trim(s, " \t\r\n\"'") }

// kubernetes begins the sub-protocol in which browsers send a token to Kubernetes and
// to what follows it.
const kubernetes = "base64url.bearer.authorization.k8s.io."

// cutScheme cuts the name of an authentication scheme off (RFC 9110 section 11.4).
// In a form, its space is a plus. Both results are "" where there is none.
func cutScheme(value string) (scheme, rest string) {
	if rest, ok := strings.CutPrefix(value, kubernetes); ok {
		return kubernetes, rest
	}
	i := 0
	for i < len(value) && isLetter(value[i]) {
		i++
	}
	if i == 0 || i == len(value) || strings.IndexByte(" \t+", value[i]) < 0 {
		return "", ""
	}
	return value[:i], trim(strings.TrimLeft(value[i:], " \t+"))
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// fromBase64 decodes s if it can be base64 of a credential, which its first
// characters tell, and cuts a scheme off the result; otherwise it returns "".
func (r *Recognizer) fromBase64(s string) string {
	if len(s) < base64.RawStdEncoding.EncodedLen(r.shortest) || !r.beginsAsCredential(s) {
		return ""
	}
	decoded := trim(decodeBase64(s))
	if _, rest := cutScheme(decoded); rest != "" {
		return rest
	}
	return decoded
}

// beginsAsCredential reports whether what s encodes begins with a JWT, a made secret, an
// API key, one of them in quotes, or Bearer.
func (r *Recognizer) beginsAsCredential(s string) bool {
	var encoded [8]byte
	var start [6]byte
	n := copy(encoded[:], s)
	toStandard(encoded[:n])
	n, err := base64.RawStdEncoding.Decode(start[:], encoded[:n])
	if err != nil || n < len(start) {
		return false
	}
	text := strings.TrimLeft(string(start[:]), " \t\r\n\"'")
	return r.keys.Begins(text) || strings.HasPrefix(text, jwtPrefix[:2]) || strings.HasPrefix(text, "tg") || strings.EqualFold(text, "bearer"[:len(text)])
}

// decodeBase64 decodes base64 of either alphabet, or both at once, padded or not. It
// returns "" for anything else.
func decodeBase64(s string) string {
	encoded := []byte(strings.TrimRight(s, "="))
	toStandard(encoded)
	n, err := base64.RawStdEncoding.Decode(encoded, encoded)
	if err != nil {
		return ""
	}
	return string(encoded[:n])
}

// toStandard replaces the characters that the alphabet for addresses has of its own.
func toStandard(b []byte) {
	for i, c := range b {
		switch c {
		case '-':
			b[i] = '+'
		case '_':
			b[i] = '/'
		}
	}
}
