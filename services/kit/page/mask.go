package page

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// readMask returns which of the fields in may an update changes: the paths of the
// mask; for "*" all of may; without a mask those that are set in m. The last two
// name only whole fields, never a part (a.b). A path that is neither in may nor below one
// of them is a fault.
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
		if !slices.Contains(may, path) && !isBelow(m, path, may) {
			return nil, unknown("update_mask", path, may)
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// isBelow reports whether a path names a field of m below one of those in may: who may change
// an object may change a part of it.
func isBelow(m proto.Message, path string, may []string) bool {
	if !slices.ContainsFunc(may, func(of string) bool { return strings.HasPrefix(path, of+".") }) {
		return false
	}
	_, err := fieldmaskpb.New(m, path)
	return err == nil
}

// isPart reports whether a path names a part of a field.
func isPart(path string) bool { return strings.Contains(path, ".") }

// isSet reports whether a field at the top of m is set.
func isSet(m proto.Message, path string) bool {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName(protoreflect.Name(path))
	return fd != nil && r.Has(fd)
}
