package rest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// maskField is the field of an update that says what is changed.
const maskField = "update_mask"

// Types of messages that a parameter may be.
const (
	fieldMask protoreflect.FullName = "google.protobuf.FieldMask"
	timestamp protoreflect.FullName = "google.protobuf.Timestamp"
	span      protoreflect.FullName = "google.protobuf.Duration"
)

// isParameter reports whether a field can be in a path or, as often as it has values, in a
// query.
func isParameter(fd protoreflect.FieldDescriptor) bool {
	if fd.Cardinality() == protoreflect.Repeated {
		return fd.Kind() == protoreflect.StringKind
	}
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BoolKind, protoreflect.Int32Kind:
		return true
	case protoreflect.MessageKind:
		return slices.Contains([]protoreflect.FullName{fieldMask, timestamp, span}, fd.Message().FullName())
	default:
		return false
	}
}

// checkParameter says what is wrong with the text of a field, or "".
func checkParameter(fd protoreflect.FieldDescriptor, text string) string {
	if !utf8.ValidString(text) {
		return "must be UTF-8"
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return "must be true or false"
		}
	case protoreflect.Int32Kind:
		return checkNumber(fd.Kind(), text)
	case protoreflect.MessageKind:
		return checkMessage(fd.Message().FullName(), text)
	}
	return ""
}

// checkMessage says what is wrong with the text of a message, or "".
func checkMessage(name protoreflect.FullName, text string) string {
	switch name {
	case timestamp:
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return "must be a time, as 2026-01-31T23:59:59Z"
		}
		return ""
	case span:
		if protojson.Unmarshal([]byte(strconv.Quote(text)), &durationpb.Duration{}) != nil {
			return "must be a duration in seconds, as 3600s"
		}
		return ""
	}
	if slices.Contains(strings.Split(text, ","), "") {
		return "must be field names separated by commas"
	}
	return ""
}

// checkNumber says what is wrong with the digits of a field, or "".
func checkNumber(kind protoreflect.Kind, text string) string {
	bits, message := 64, "must be a whole number"
	if kind == protoreflect.Int32Kind || kind == protoreflect.Uint32Kind {
		bits, message = 32, "must be a whole number of 32 bits"
	}
	if kind == protoreflect.Uint32Kind || kind == protoreflect.Uint64Kind {
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil || strconv.FormatUint(n, 10) != text {
			return message + ", not negative"
		}
		return ""
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || strconv.FormatInt(n, 10) != text {
		return message
	}
	return ""
}

// checkQuery returns the query with the fields' own names, and what is wrong
// with it.
func (rt *route) checkQuery(raw string) (url.Values, []fault.Violation, error) {
	sent, err := url.ParseQuery(raw)
	if err != nil {
		return nil, nil, fault.Invalid("", "the query is malformed")
	}
	query := url.Values{}
	var bad []fault.Violation
	for key, values := range sent {
		fd := rt.query[key]
		if fd == nil {
			bad = append(bad, fault.Violation{Field: short(strings.ToValidUTF8(key, "?")), Message: "is not a parameter of this method"})
			continue
		}
		name := string(fd.Name())
		if (len(values) > 1 || query.Has(name)) && !fd.IsList() {
			bad = append(bad, fault.Violation{Field: name, Message: "is given more than once"})
			continue
		}
		for _, value := range values {
			if message := checkParameter(fd, value); message != "" {
				bad = append(bad, fault.Violation{Field: name, Message: message})
				break
			}
			if fd.Kind() == protoreflect.MessageKind && fd.Message().FullName() == fieldMask {
				value = snake(value)
			}
			query.Add(name, value)
		}
	}
	slices.SortFunc(bad, func(a, b fault.Violation) int { return strings.Compare(a.Field, b.Field) })
	return query, bad[:min(len(bad), maxViolations)], nil
}

// snake turns the JSON names of a mask into field names.
func snake(mask string) string {
	var out strings.Builder
	for _, c := range mask {
		if unicode.IsUpper(c) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(c))
	}
	return out.String()
}
