package gen_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	_ "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestCommentsSayTheBounds reads the comments of all fields from the generated
// code: a bound that a rule sets stands there for those who read no rules.
func TestCommentsSayTheBounds(t *testing.T) {
	comments := fieldComments(t)
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			if strings.HasPrefix(string(file.Package()), "tidegate.") {
				checkComments(t, file.Messages().Get(i), comments)
			}
		}
		return true
	})
}

func checkComments(t *testing.T, message protoreflect.MessageDescriptor, comments map[protoreflect.FullName]string) {
	t.Helper()
	for i := range message.Fields().Len() {
		fd := message.Fields().Get(i)
		comment, ok := comments[fd.FullName()]
		if !ok && fd.ContainingOneof() == nil {
			t.Errorf("%s: there is no comment", fd.FullName())
		}
		rules, _ := proto.GetExtension(fd.Options(), validatepb.E_Field).(*validatepb.FieldRules)
		for _, bound := range bounds(rules) {
			word := regexp.MustCompile(`(^|[^0-9])` + regexp.QuoteMeta(bound) + `($|[^0-9])`)
			if !word.MatchString(comment) {
				t.Errorf("%s: the comment %q does not say the bound %s", fd.FullName(), comment, bound)
			}
		}
	}
}

// bounds are the upper bounds of a field, as comments write them.
func bounds(rules *validatepb.FieldRules) []string {
	var all []string
	add := func(set bool, n uint64) {
		switch {
		case !set:
		case n == 1e15:
			all = append(all, "10^15")
		case n == 1<<63-1:
			all = append(all, "2^63-1")
		default:
			all = append(all, strconv.FormatUint(n, 10))
		}
	}
	text, list := rules.GetString(), rules.GetRepeated()
	add(text.HasMaxLen(), text.GetMaxLen())
	add(text.HasMaxBytes(), text.GetMaxBytes())
	add(list.HasMaxItems(), list.GetMaxItems())
	add(rules.GetInt32().HasLte(), uint64(rules.GetInt32().GetLte()))
	add(rules.GetInt64().HasLte(), uint64(rules.GetInt64().GetLte()))
	add(rules.GetUint32().HasLte(), uint64(rules.GetUint32().GetLte()))
	add(rules.GetUint64().HasLte(), rules.GetUint64().GetLte())
	if list.HasItems() {
		all = append(all, bounds(list.GetItems())...)
	}
	return all
}

// fieldComments returns the comment of each field of the generated messages.
func fieldComments(t *testing.T) map[protoreflect.FullName]string {
	t.Helper()
	files, err := filepath.Glob("go/tidegate/*/v1/*.pb.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the generated code = %v, %v, want files", files, err)
	}
	comments := map[protoreflect.FullName]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		service := filepath.Base(filepath.Dir(filepath.Dir(path)))
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if message, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range message.Fields.List {
					name := protoreflect.FullName("tidegate." + service + ".v1." + spec.Name.Name + "." + protoName(field))
					comments[name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
			return true
		})
	}
	return comments
}

// protoName is the name of a generated field in its proto, "" for another.
func protoName(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	_, rest, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("protobuf"), "name=")
	name, _, _ := strings.Cut(rest, ",")
	return name
}
