package api

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// update is what an update request asks for.
type update struct {
	from  proto.Message
	paths []string // fields that change
	fixed []string // fields that were named and cannot change
}

// newUpdate reads an update mask. May has the paths that an update may change:
// fields of the resource, and fields of those with a dot. Another field of the
// resource may be named too, because a client that sends back all that it read
// names them all; apply refuses it when its value is not the current one.
func newUpdate(mask *fieldmaskpb.FieldMask, from proto.Message, may ...string) (*update, error) {
	u := &update{from: from}
	asked := &fieldmaskpb.FieldMask{}
	fields := from.ProtoReflect().Descriptor().Fields()
	for _, path := range mask.GetPaths() {
		if !slices.Contains(may, path) && fields.ByName(protoreflect.Name(path)) != nil {
			u.fix(path != "name" && path != "etag", path)
		} else {
			asked.Paths = append(asked.Paths, path)
		}
	}
	if len(asked.GetPaths()) == 0 && len(mask.GetPaths()) > 0 {
		return u, nil
	}
	if !slices.ContainsFunc(asked.GetPaths(), func(path string) bool { return path != "*" }) {
		// The fields as wholes.
		may = slices.DeleteFunc(may, func(path string) bool { return strings.Contains(path, ".") })
	}
	var err error
	u.paths, err = page.Mask(asked, from, may...)
	return u, err
}

// fix adds a field that cannot change, if it was given.
func (u *update) fix(given bool, path string) {
	if given && !slices.Contains(u.fixed, path) {
		u.fixed = append(u.fixed, path)
	}
}

// apply makes the update in the current resource.
func (u *update) apply(current proto.Message) error {
	to, from := current.ProtoReflect(), u.from.ProtoReflect()
	for _, path := range u.fixed {
		fd := to.Descriptor().Fields().ByName(protoreflect.Name(path))
		if !to.Get(fd).Equal(from.Get(fd)) {
			resource := strings.ToLower(string(to.Descriptor().Name()))
			return fault.Invalid(resource+"."+path, "cannot be changed by an update")
		}
	}
	for _, path := range u.paths {
		merge(to, from, path)
	}
	return nil
}

// merge copies one field, set or not.
func merge(to, from protoreflect.Message, path string) {
	name, rest, nested := strings.Cut(path, ".")
	fd := to.Descriptor().Fields().ByName(protoreflect.Name(name))
	switch {
	case nested:
		merge(to.Mutable(fd).Message(), from.Get(fd).Message(), rest)
	case from.Has(fd):
		to.Set(fd, from.Get(fd))
	default:
		to.Clear(fd)
	}
}
