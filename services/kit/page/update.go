package page

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Update is what an update request asks for.
type Update struct {
	from  proto.Message
	paths []string // fields to change
	fixed []string // fields that are named and must not change
}

// NewUpdate reads the update mask of a request with the new values in from. may has
// the paths that an update may change: fields of the resource, or with a dot fields
// of those; with an object go all fields below it. The mask may name other fields too,
// because a caller who sends back the whole resource names them all; Apply refuses those whose value is not the current
// one. Name and etag are accepted and ignored.
func NewUpdate(mask *fieldmaskpb.FieldMask, from proto.Message, may ...string) (*Update, error) {
	u := &Update{from: from}
	asked := &fieldmaskpb.FieldMask{}
	fields := from.ProtoReflect().Descriptor().Fields()
	for _, path := range mask.GetPaths() {
		known := fields.ByName(protoreflect.Name(path)) != nil
		switch {
		case !known || slices.Contains(may, path):
			asked.Paths = append(asked.Paths, path)
		case path != "name" && path != "etag":
			u.Fix(path)
		}
	}
	if len(asked.GetPaths()) == 0 && len(mask.GetPaths()) > 0 {
		return u, nil
	}
	var err error
	u.paths, err = readMask(asked, from, may...)
	return u, err
}

// Fix makes Apply refuse an update that would change the field.
func (u *Update) Fix(path string) {
	if !slices.Contains(u.fixed, path) {
		u.fixed = append(u.fixed, path)
	}
}

// Only tells whether the update changes no other fields than those at the paths.
func (u *Update) Only(paths ...string) bool {
	return !slices.ContainsFunc(u.paths, func(path string) bool { return !slices.Contains(paths, path) })
}

// Apply writes the update into the current resource. It refuses a request whose
// etag is not the current one. Its error is a fault.
func (u *Update) Apply(current proto.Message) error {
	to, from := current.ProtoReflect(), u.from.ProtoReflect()
	fields := to.Descriptor().Fields()
	if etag := fields.ByName("etag"); etag != nil {
		if err := checkEtag(from.Get(etag).String(), to.Get(etag).String()); err != nil {
			return err
		}
	}
	for _, path := range u.fixed {
		fd := fields.ByName(protoreflect.Name(path))
		if !to.Get(fd).Equal(from.Get(fd)) {
			resource := strings.ToLower(string(to.Descriptor().Name()))
			return fault.Invalid(resource+"."+path, "cannot be changed by an update")
		}
	}
	for _, path := range u.paths {
		copyField(to, from, path)
	}
	return nil
}

// copyField copies the field at a path, or clears it if it is not set.
func copyField(to, from protoreflect.Message, path string) {
	name, rest, part := strings.Cut(path, ".")
	fd := to.Descriptor().Fields().ByName(protoreflect.Name(name))
	switch {
	case part:
		copyField(to.Mutable(fd).Message(), from.Get(fd).Message(), rest)
	case from.Has(fd):
		to.Set(fd, from.Get(fd))
	default:
		to.Clear(fd)
	}
}
