package validate

import (
	"regexp"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var (
	// idPattern is an id in a rule's pattern, idName one in a resource's.
	idPattern = regexp.MustCompile(`\[[^\]]*\]\{1,64\}`)
	idName    = regexp.MustCompile(`\{[^}]*\}`)
)

// nameOf returns the pattern of the resource whose names a rule's pattern
// admits, as apis/{api} for ^apis/[a-z0-9-]{1,64}$, or "" where there is none.
func nameOf(pattern string) string {
	found := ""
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			r, ok := proto.GetExtension(file.Messages().Get(i).Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
			if !ok {
				continue
			}
			for _, name := range r.GetPattern() {
				if "^"+idName.ReplaceAllLiteralString(name, "*")+"$" == idPattern.ReplaceAllLiteralString(pattern, "*") {
					found = name
				}
			}
		}
		return found == ""
	})
	return found
}
