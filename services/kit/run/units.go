package run

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

// withUnits writes durations with their unit, those in structs, lists and maps too,
// which JSON would have as nanoseconds.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindAny:
		if v := reflect.ValueOf(a.Value.Any()); v.IsValid() && mayHaveDuration(v.Type(), maxDepth) {
			a.Value = slog.AnyValue(readable(v, maxDepth))
		}
	}
	return a
}

// maxDepth is how deep in a value durations are looked for.
const maxDepth = 8

// writesItself reports whether a type says itself how it is logged.
func writesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) ||
		t.Implements(reflect.TypeFor[error]())
}

// mayHaveDuration reports whether a duration can be in a value of the type.
func mayHaveDuration(t reflect.Type, depth int) bool {
	if t == reflect.TypeFor[time.Duration]() {
		return true
	}
	if depth == 0 || writesItself(t) {
		return false
	}
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return mayHaveDuration(t.Elem(), depth-1)
	case reflect.Map:
		return mayHaveDuration(t.Key(), depth-1) || mayHaveDuration(t.Elem(), depth-1)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && mayHaveDuration(f.Type, depth-1) {
				return true
			}
		}
	}
	return false
}

// readable returns a value as JSON has it, but with durations as text.
func readable(v reflect.Value, depth int) any {
	if !v.IsValid() {
		return nil
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String()
	}
	if depth == 0 || writesItself(v.Type()) {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return readable(v.Elem(), depth-1)
	case reflect.Slice, reflect.Array:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = readable(v.Index(i), depth-1)
		}
		return all
	case reflect.Map:
		all := make(map[string]any, v.Len())
		for key, value := range v.Seq2() {
			all[fmt.Sprint(readable(key, depth-1))] = readable(value, depth-1)
		}
		return all
	case reflect.Struct:
		return readableStruct(v, depth)
	}
	return v.Interface()
}

// readableStruct returns the exported fields of a struct by their names in JSON.
func readableStruct(v reflect.Value, depth int) map[string]any {
	fields := make(map[string]any, v.NumField())
	for f, value := range v.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-" || value.IsZero() && strings.Contains(options, "omit"):
		case name != "":
			fields[name] = readable(value, depth-1)
		default:
			fields[f.Name] = readable(value, depth-1)
		}
	}
	return fields
}
