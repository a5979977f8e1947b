package page

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// readMask returns the fields that an update changes, out of those that it may: the
// paths of the mask, all of may for "*", and those that are set in m where there
// is no mask; in the last two cases only whole fields, no parts of one (a.b). A
// path of any other name is a fault.
func readMask(mask *fieldmaskpb.FieldMask, m proto.Message, may ...string) ([]string, error) {
	var paths []string
	if len(mask.GetPaths()) == 0 {
		for _, path := range may {
			if isSet(m, path) {
				paths = append(paths, path)
			}
		}
		return paths, nil
	}
	for _, path := range mask.GetPaths() {
		if path == "*" && len(mask.GetPaths()) == 1 {
			return slices.DeleteFunc(slices.Clone(may), isPart), nil
		}
		if !slices.Contains(may, path) {
			return nil, unknown("update_mask", path, may)
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// isPart reports whether a path names a part of a field.
func isPart(path string) bool { return strings.Contains(path, ".") }

// isSet reports whether a field at the top of m is set.
func isSet(m proto.Message, path string) bool {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName(protoreflect.Name(path))
	return fd != nil && r.Has(fd)
}
