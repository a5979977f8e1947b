package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// longestFile bounds a file with a resource, in bytes. The largest resource has less.
const longestFile = 1 << 20

// resourceFile is a file that a resource is read from, which -f or --file names.
type resourceFile struct {
	name string // - for standard input
	kind string // what it has, such as "plan": the first part of the fields of requests
	such string // fields that it may have
}

// read reads the resource. Its paths are the fields that the file has and users may
// change, in order.
func (f *resourceFile) read(s *shell, into proto.Message) (paths []string, err error) {
	text, err := f.text(s)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	if paths, err = f.parse(text, into); err != nil {
		return nil, fmt.Errorf("--file: %s: %w", f.name, err)
	}
	s.file = f
	return paths, nil
}

// text returns what is in a file, or in standard input.
func (f *resourceFile) text(s *shell) ([]byte, error) {
	in := io.Reader(s.input())
	if f.name != "-" {
		file, err := os.Open(f.name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, longestFile+1))
	if err == nil && len(text) > longestFile {
		err = fmt.Errorf("%s is larger than 1 MiB", f.name)
	}
	return text, err
}

// protoPosition is what protojson says before what is wrong: a place in JSON that nobody
// wrote.
var protoPosition = regexp.MustCompile(`^proto:[\s\x{a0}]*(?:syntax error )?(?:\(line \d+:\d+\): )?`)

// parse reads a resource that is written in YAML, which JSON is too.
func (f *resourceFile) parse(text []byte, into proto.Message) (paths []string, err error) {
	var document any
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		if several, ok := errors.AsType[*yaml.TypeError](err); ok {
			return nil, errors.New(strings.Join(several.Errors, "; "))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	fields, _ := document.(map[string]any)
	if len(fields) == 0 {
		return nil, fmt.Errorf("has no %s: it needs fields such as %s", f.kind, f.such)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("has more than one document: it may have one %s", f.kind)
	}
	known := into.ProtoReflect().Descriptor().Fields()
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		field := known.ByJSONName(key)
		if field == nil {
			field = known.ByName(protoreflect.Name(key))
		}
		if field == nil {
			return nil, fmt.Errorf("unknown field %q", key)
		}
		asJSON, err := json.Marshal(map[string]any{key: fields[key]})
		if err != nil {
			return nil, fmt.Errorf("%s: has a key that is not text", key)
		}
		one := into.ProtoReflect().New().Interface() // alone, so that the error is known to be its
		if err := protojson.Unmarshal(asJSON, one); err != nil {
			return nil, fmt.Errorf("%s: %s", key, protoPosition.ReplaceAllString(err.Error(), ""))
		}
		if into.ProtoReflect().Has(field) {
			return nil, fmt.Errorf("%s: is there twice, as %s and %s", key, field.Name(), field.JSONName())
		}
		proto.Merge(into, one)
		if changeable(field) {
			paths = append(paths, string(field.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// changeable reports whether users may change a field of a resource: not those that only
// the server sets, nor those that say which resource it is, and which state of it.
func changeable(field protoreflect.FieldDescriptor) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, b := range behaviors {
		switch b {
		case annotations.FieldBehavior_OUTPUT_ONLY, annotations.FieldBehavior_IDENTIFIER, annotations.FieldBehavior_IMMUTABLE:
			return false
		}
	}
	return field.Name() != "etag"
}

// field says where the file has a field of a request, "" where that is not of the file.
func (f *resourceFile) field(path string) string {
	if f == nil {
		return ""
	}
	rest, ok := strings.CutPrefix(path, f.kind+".")
	if !ok {
		return ""
	}
	return "--file: " + f.name + ": " + rest
}
