package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// longestPlanFile bounds a file with a plan, in bytes. The largest plan has less.
const longestPlanFile = 1 << 20

// planFile reads a plan from a file, or from standard input for -. Its mask has the fields
// that the file has and users may change.
func (s *shell) planFile(file string) (*planChange, error) {
	text, err := s.planText(file)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	c, err := readPlan(text)
	if err != nil {
		return nil, fmt.Errorf("--file: %s: %w", file, err)
	}
	c.from = file
	return c, nil
}

// planText returns what is in a file, or in standard input.
func (s *shell) planText(file string) ([]byte, error) {
	in := io.Reader(s.input())
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, longestPlanFile+1))
	if err == nil && len(text) > longestPlanFile {
		err = fmt.Errorf("%s is larger than 1 MiB", file)
	}
	return text, err
}

// protoPosition is what protojson says before what is wrong: a place in JSON that nobody
// wrote.
var protoPosition = regexp.MustCompile(`^proto:[\s\x{a0}]*(?:syntax error )?(?:\(line \d+:\d+\): )?`)

// readPlan reads a plan that is written in YAML, which JSON is too.
func readPlan(text []byte) (*planChange, error) {
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
		return nil, errors.New("has no plan: it needs fields such as display_name and limits")
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one document: it may have one plan")
	}
	asJSON, err := json.Marshal(fields)
	if err != nil {
		return nil, errors.New("has a key that is not text")
	}
	c := &planChange{plan: &catalogv1.Plan{}, mask: &fieldmaskpb.FieldMask{}}
	if err := protojson.Unmarshal(asJSON, c.plan); err != nil {
		return nil, errors.New(protoPosition.ReplaceAllString(err.Error(), ""))
	}
	known := c.plan.ProtoReflect().Descriptor().Fields()
	for key := range fields {
		field := known.ByJSONName(key)
		if field == nil {
			field = known.ByName(protoreflect.Name(key))
		}
		if path := string(field.Name()); slices.Contains(planFields(), path) {
			c.set(path, true)
		}
	}
	slices.Sort(c.mask.GetPaths())
	return c, nil
}

// planFields are the fields of a plan that a user may change.
func planFields() []string {
	return []string{"display_name", "description", "limits", "billing", "price_label", "attributes"}
}
