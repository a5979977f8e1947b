package deflate

import (
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// extension is one element of Sec-WebSocket-Extensions (RFC 6455, section 9.1).
type extension struct {
	name       string
	parameters []parameter
}

type parameter struct {
	name, value string
	hasValue    bool
}

// parse reads the lines of the header. Empty elements of the list are passed over.
func parse(lines []string) (all []extension, err error) {
	for _, line := range lines {
		s := scanner(line)
		for s.skip(); s != ""; s.skip() {
			if s.take(',') {
				continue
			}
			e, ok := s.extension()
			if !ok || s != "" && !s.take(',') {
				return nil, ErrMalformed
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// scanner is what is left of a line.
type scanner string

// skip passes over white space.
func (s *scanner) skip() { *s = scanner(strings.TrimLeft(string(*s), " \t")) }

// take passes over a character and the white space around it, if it is the next one.
func (s *scanner) take(c byte) bool {
	s.skip()
	if *s == "" || (*s)[0] != c {
		return false
	}
	*s = (*s)[1:]
	s.skip()
	return true
}

// extension reads a name and its parameters.
func (s *scanner) extension() (e extension, ok bool) {
	if e.name, ok = s.token(); !ok {
		return e, false
	}
	for s.take(';') {
		var p parameter
		if p.name, ok = s.token(); !ok {
			return e, false
		}
		if p.hasValue = s.take('='); p.hasValue {
			if p.value, ok = s.value(); !ok {
				return e, false
			}
		}
		e.parameters = append(e.parameters, p)
	}
	return e, true
}

// token reads a token.
func (s *scanner) token() (string, bool) {
	end := strings.IndexAny(string(*s), " \t,;=\"")
	if end < 0 {
		end = len(*s)
	}
	token := string((*s)[:end])
	*s = (*s)[end:]
	s.skip()
	return token, head.IsToken(token)
}

// value reads a token, or a quoted string whose text is one.
func (s *scanner) value() (string, bool) {
	if *s == "" || (*s)[0] != '"' {
		return s.token()
	}
	var text strings.Builder
	for i := 1; i < len(*s); i++ {
		switch c := (*s)[i]; c {
		case '"':
			*s = (*s)[i+1:]
			s.skip()
			return text.String(), head.IsToken(text.String())
		case '\\':
			if i++; i < len(*s) {
				text.WriteByte((*s)[i])
			}
		default:
			text.WriteByte(c)
		}
	}
	return "", false
}
