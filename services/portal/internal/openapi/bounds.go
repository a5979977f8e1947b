package openapi

import (
	"regexp"
	"strconv"
	"strings"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rulesOf are the rules of a field; none are an empty message.
func rulesOf(fd protoreflect.FieldDescriptor) *validatepb.FieldRules {
	rules, _ := proto.GetExtension(fd.Options(), validatepb.E_Field).(*validatepb.FieldRules)
	return rules
}

// boundValue sets the bounds of one value. Of a rule in CEL it knows those that
// compare the whole value with one pattern.
func boundValue(s *openapi3.Schema, rules *validatepb.FieldRules) {
	text := rules.GetString()
	s.MinLength = text.GetMinLen()
	if text.HasMaxLen() {
		s.MaxLength = new(text.GetMaxLen())
	}
	number := func(set bool, n float64) *float64 {
		if !set || s.Type.Is(openapi3.TypeString) { // 64 bits are a string in JSON
			return nil
		}
		return &n
	}
	s.Min = number(rules.GetInt32().HasGte(), float64(rules.GetInt32().GetGte()))
	s.Max = number(rules.GetInt32().HasLte(), float64(rules.GetInt32().GetLte()))
	if rules.GetIgnore() == validatepb.Ignore_IGNORE_IF_ZERO_VALUE {
		return
	}
	for _, rule := range append(rules.GetCel(), predefined(text)...) {
		if pattern := patternOf(rule.GetExpression()); pattern != "" && s.Type.Is(openapi3.TypeString) {
			s.Pattern = pattern
		}
	}
}

// predefined are the rules of tidegate/rules that a field has.
func predefined(rules *validatepb.StringRules) []*validatepb.Rule {
	var all []*validatepb.Rule
	if rules == nil {
		return nil
	}
	rules.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.IsExtension() && fd.Kind() == protoreflect.BoolKind && v.Bool() {
			set, _ := proto.GetExtension(fd.Options(), validatepb.E_Predefined).(*validatepb.PredefinedRules)
			all = append(all, set.GetCel()...)
		}
		return true
	})
	return all
}

// patternOf is the pattern that an expression compares a value with, or "" where it
// is no such expression, or the pattern is none of JavaScript's.
func patternOf(expression string) string {
	m := regexp.MustCompile(`^(?:!rule \|\| )?this\.matches\('([^']*)'\)$`).FindStringSubmatch(expression)
	if m == nil || strings.Contains(m[1], "(?i)") || strings.Contains(m[1], "(?i:") {
		return ""
	}
	pattern, err := strconv.Unquote(`"` + m[1] + `"`) // the escapes of a string in CEL
	if err != nil || strings.Contains(pattern, `\p`) {
		return ""
	}
	return pattern
}
